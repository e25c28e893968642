-- +goose Up

-- What billing said ------------------------------------------------------------------------------------------------

-- An account exists from the first event that names it on. Nothing about it is overwritten by arrival: what it is called
-- and where its notices go is read from its newest invoice mail.
CREATE TABLE accounts (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant           text        NOT NULL CHECK (tenant ~ '^[a-z0-9-]{1,32}$'),
    account_key      text        NOT NULL CHECK (account_key <> ''), -- without blanks and dashes, case-folded
    ref              text        NOT NULL, -- the keyed hash that facts call it by; kept, so that a new key does not split its history
    codes_retired_at timestamptz,          -- codes first e-mailed before this are dead: too many strangers guessed
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, account_key)
);

-- One row for each event of billing that took effect: what makes a redelivery harmless. The fingerprint is keyed, since
-- a plain hash of the data would let a thief of the table try codes against it.
CREATE TABLE inbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant          text        NOT NULL,
    source          text        NOT NULL,
    event_id        text        NOT NULL,
    type            text        NOT NULL,
    fingerprint     bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    stream_sequence bigint      NOT NULL, -- the message that owes the facts; a copy under another sequence owes none
    received_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, source, event_id)
);

-- Every invoice mail, as it was sent; only ever added to, so that the same events in any order give the same rows. Which
-- code is newest, superseded or expired is read from emailed_at, never written.
CREATE TABLE invoice_emails (
    event            bigint      NOT NULL,    -- of the inbox, written in the same transaction; no foreign keys: they were a third
    account          bigint      NOT NULL,    -- of the cost of a bill run, and no row of either table is ever deleted
    account_number   text        NOT NULL, -- as printed
    company_name     text        NOT NULL DEFAULT '',
    billing_email    text        NOT NULL, -- address of record
    locale           text        NOT NULL DEFAULT '',
    emailed_at       timestamptz NOT NULL,
    code_hash        bytea       CHECK (octet_length(code_hash) = 32), -- HMAC under the pepper; NULL: the mail had no box
    code_folded_hash bytea       CHECK (octet_length(code_folded_hash) = 32), -- look-alikes folded; NULL: folding changes nothing
    code_key         text,        -- which key of the ring
    code_expires_at  timestamptz, -- as the event said; NULL: the tenant's default life
    invoice_number   text        NOT NULL,
    issued_on        date,
    due_on           date,
    currency         text        CHECK (currency ~ '^[A-Z]{3}$'),
    amount_due_minor bigint      CHECK (amount_due_minor >= 0),
    document_url     text        NOT NULL DEFAULT '',
    extra            jsonb,       -- fields that this version does not know, kept
    CHECK ((code_hash IS NULL) = (code_key IS NULL)),
    CHECK (code_hash IS NOT NULL OR (code_folded_hash IS NULL AND code_expires_at IS NULL)),
    CHECK (amount_due_minor IS NULL OR currency IS NOT NULL)
);
CREATE INDEX invoice_emails_of_account ON invoice_emails (account, emailed_at DESC);

CREATE TABLE account_closures (
    event     bigint      PRIMARY KEY REFERENCES inbox,
    account   bigint      NOT NULL REFERENCES accounts,
    closed_at timestamptz NOT NULL,
    reason    text        NOT NULL DEFAULT '',
    extra     jsonb
);
CREATE INDEX account_closures_of_account ON account_closures (account, closed_at DESC);

CREATE TABLE payment_methods (
    event      bigint      PRIMARY KEY REFERENCES inbox,
    account    bigint      NOT NULL REFERENCES accounts,
    changed_at timestamptz NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('card', 'bank-account', 'none')),
    brand      text        NOT NULL DEFAULT '',
    last_four  text        NOT NULL DEFAULT '' CHECK (last_four ~ '^([0-9]{4})?$'), -- more of a number must never be here
    expires_on text        NOT NULL DEFAULT '',
    extra      jsonb
);
CREATE INDEX payment_methods_of_account ON payment_methods (account, changed_at DESC);

-- Who enrolls ------------------------------------------------------------------------------------------------------

CREATE TABLE enrollments (
    id                   uuid        PRIMARY KEY,
    tenant               text        NOT NULL,
    account              bigint      NOT NULL REFERENCES accounts,
    code_hash            bytea       NOT NULL CHECK (octet_length(code_hash) = 32), -- the code it reserves, then consumes
    state                text        NOT NULL CHECK (state IN ('registered', 'mailed', 'undeliverable', 'activated', 'expired', 'cancelled')),
    username             text        NOT NULL CHECK (char_length(username) BETWEEN 1 AND 64), -- as typed
    username_key         text        NOT NULL CHECK (username_key <> ''),
    email                text        NOT NULL, -- where the present link went
    locale               text        NOT NULL DEFAULT '',
    generation           integer     NOT NULL DEFAULT 1 CHECK (generation >= 1), -- of the address; older links are dead
    mail_number          integer     NOT NULL DEFAULT 1 CHECK (mail_number >= 1), -- of this generation's newest mail
    corrections          integer     NOT NULL DEFAULT 0 CHECK (corrections BETWEEN 0 AND 3),
    resends              integer     NOT NULL DEFAULT 0 CHECK (resends BETWEEN 0 AND 5),
    request_id           text        NOT NULL DEFAULT '', -- of the form that was accepted last; the same again is the same request
    sequence             bigint      NOT NULL DEFAULT 0,  -- of its newest fact
    invoice_month        text        NOT NULL DEFAULT '', -- of the mail the code came with
    code_age_days        integer     NOT NULL DEFAULT 0,  -- at registration
    registered_at        timestamptz NOT NULL DEFAULT now(),
    last_mail_at         timestamptz NOT NULL DEFAULT now(), -- when a mail was last asked for
    mailed_at            timestamptz, -- when a provider took a mail of this generation
    refused_at           timestamptz, -- when one was refused for good or given up; of the two the later tells
    opened_at            timestamptz, -- the link's page, by a person, this generation
    opened_by_machine_at timestamptz,
    activated_at         timestamptz,
    ended_at             timestamptz,
    expires_at           timestamptz NOT NULL,
    CHECK ((state = 'activated') = (activated_at IS NOT NULL)),
    CHECK ((state IN ('expired', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK (state <> 'mailed' OR mailed_at IS NOT NULL)
);
-- A code is held by one enrollment at a time and consumed once.
CREATE UNIQUE INDEX enrollments_hold_their_code ON enrollments (account, code_hash) WHERE state IN ('registered', 'mailed', 'undeliverable', 'activated');
CREATE INDEX enrollments_of_account ON enrollments (account);
CREATE INDEX enrollments_due ON enrollments (expires_at) WHERE state IN ('registered', 'mailed', 'undeliverable');

-- The address of each generation: a link of an older one is told apart from a damaged one.
CREATE TABLE enrollment_addresses (
    enrollment uuid    NOT NULL REFERENCES enrollments,
    generation integer NOT NULL,
    address    text    NOT NULL,
    PRIMARY KEY (enrollment, generation)
);

-- Every move of an enrollment, for the timeline and the audit.
CREATE TABLE enrollment_moves (
    enrollment uuid        NOT NULL REFERENCES enrollments,
    sequence   bigint      NOT NULL,
    action     text        NOT NULL,
    from_state text,        -- NULL: it began
    to_state   text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (enrollment, sequence)
);

-- Who holds a username, pending or for good; released by deleting the row.
CREATE TABLE usernames (
    tenant       text NOT NULL,
    username_key text NOT NULL,
    enrollment   uuid NOT NULL UNIQUE REFERENCES enrollments,
    PRIMARY KEY (tenant, username_key)
);

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant        text        NOT NULL,
    enrollment    uuid        NOT NULL UNIQUE REFERENCES enrollments, -- one password for one activation
    username      text        NOT NULL,
    username_key  text        NOT NULL,
    email         text        NOT NULL,
    password_hash text        NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, username_key)
);

-- Which accounts a user sees.
CREATE TABLE memberships (
    user_id bigint      NOT NULL REFERENCES users,
    account bigint      NOT NULL REFERENCES accounts,
    since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, account)
);

CREATE TABLE sessions (
    token_hash text        PRIMARY KEY, -- the cookie's value is not here
    tenant     text        NOT NULL,
    user_id    bigint      REFERENCES users, -- NULL: nobody logged in yet
    data       bytea       NOT NULL,
    ended      boolean     NOT NULL DEFAULT false, -- logged out: the row bars a late request from saving it again
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_due ON sessions (expires_at);

-- Who guesses ------------------------------------------------------------------------------------------------------

-- Wrong tries by who made them or on what. A row is locked before anything is compared, so that many tries at once are
-- still counted one by one.
CREATE TABLE attempts (
    tenant     text        NOT NULL,
    scope      text        NOT NULL CHECK (scope IN ('code-source-account', 'code-source', 'code-account', 'login-source-user', 'login-source')),
    key        text        NOT NULL,
    wrong      integer     NOT NULL DEFAULT 0,
    level      integer     NOT NULL DEFAULT 0, -- how many waits there were; the next is twice as long
    since      timestamptz NOT NULL DEFAULT now(), -- of the first wrong try that counts
    wait_until timestamptz, -- fixed when set; more tries do not move it
    touched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, scope, key)
);
CREATE INDEX attempts_idle ON attempts (touched_at);

-- Registrations that were told no, for the timeline; account is NULL when there is none by that number.
CREATE TABLE refusals (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant  text        NOT NULL,
    account bigint      REFERENCES accounts,
    reason  text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refusals_of_account ON refusals (account, at DESC);
CREATE INDEX refusals_by_age ON refusals (at);

-- New codes asked of billing: at most 1 a day and 4 in 30 days for an account.
CREATE TABLE code_reissues (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account      bigint      NOT NULL REFERENCES accounts,
    cause        text        NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX code_reissues_of_account ON code_reissues (account, requested_at DESC);

-- What goes out ----------------------------------------------------------------------------------------------------

-- Committed with the change it announces; the relay deletes a row once the broker has its message.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject    text        NOT NULL,
    msg_id     text        NOT NULL, -- made with the row, so that a second publication is known as one
    body       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- The mail worker's ledger: claimed before a mail is sent, settled after.
CREATE TABLE mails (
    tenant        text        NOT NULL,
    enrollment    uuid        NOT NULL, -- no foreign key: the bus may be ahead of a restored database
    purpose       text        NOT NULL CHECK (purpose IN ('activation', 'notice')),
    generation    integer     NOT NULL,
    number        integer     NOT NULL,
    state         text        NOT NULL CHECK (state IN ('sending', 'waiting', 'accepted', 'failed')),
    uncertain     integer     NOT NULL DEFAULT 0 CHECK (uncertain BETWEEN 0 AND 3), -- sends whose answer never came
    message_id    text        NOT NULL,
    claimed_until timestamptz NOT NULL, -- another worker may take over after it
    first_try_at  timestamptz NOT NULL DEFAULT now(),
    last_try_at   timestamptz NOT NULL DEFAULT now(),
    settled_at    timestamptz,
    failure       text        NOT NULL DEFAULT '',
    smtp_status   integer     NOT NULL DEFAULT 0,
    reply         text        NOT NULL DEFAULT '', -- enhanced status; never the provider's words
    sequence      bigint      NOT NULL DEFAULT 0,  -- of the fact about it
    PRIMARY KEY (enrollment, purpose, generation, number),
    CHECK ((state IN ('accepted', 'failed')) = (settled_at IS NOT NULL)),
    CHECK ((state = 'failed') = (failure <> ''))
);

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
