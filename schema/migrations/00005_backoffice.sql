-- +goose Up

-- Who of the staff is at work. There are no users here: who somebody is, and what they may do, the identity provider said
-- when they came in.
CREATE TABLE staff_sessions (
    token_hash   bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32), -- the cookie's value is not here
    subject      text        NOT NULL CHECK (subject <> ''), -- as the provider calls the person: never given to another one
    name         text        NOT NULL DEFAULT '',            -- as people call them
    roles        text[]      NOT NULL,
    signed_in_at timestamptz NOT NULL DEFAULT now(),
    idle         interval    NOT NULL, -- without a request for that long, it is over
    idle_until   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL, -- whatever happens
    CHECK (expires_at >= signed_in_at)
);
CREATE INDEX staff_sessions_due ON staff_sessions (expires_at);

-- Who did what to whom, and why: written in the transaction of the deed, never changed and never deleted.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text        NOT NULL CHECK (actor <> ''),
    actor_name text        NOT NULL DEFAULT '',
    action     text        NOT NULL CHECK (action IN ('sign-in', 'send-again', 'correct-address', 'unlock', 'retire-code', 'cancel',
                               'sign-out-everywhere', 'replay-dead-letter', 'drop-dead-letter')),
    tenant     text        NOT NULL DEFAULT '', -- empty: it is about the back office itself, or about a message of none
    account    bigint      REFERENCES accounts,
    enrollment uuid        REFERENCES enrollments,
    subject    text        NOT NULL, -- to whom or what, as staff call it: an account number, a username, a dead letter
    reason     text        NOT NULL CHECK (char_length(reason) <= 500),
    detail     text        NOT NULL DEFAULT '', -- what came of it
    -- Nobody is asked for a reason to come in.
    CHECK (action = 'sign-in' OR char_length(reason) >= 5)
);
CREATE INDEX audit_of_account ON audit (account, at DESC);

-- +goose StatementBegin
CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only added to';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to();

-- What staff search by. An address of record is found by way of the
-- number on its invoice only: an index on it would cost every bill run.
CREATE INDEX enrollments_by_username ON enrollments (tenant, username_key);
CREATE INDEX enrollments_by_email ON enrollments (tenant, lower(email));
CREATE INDEX invoice_emails_by_invoice ON invoice_emails (invoice_number);
CREATE INDEX mails_by_age ON mails (last_try_at DESC);

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
