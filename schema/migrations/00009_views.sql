-- +goose Up

ALTER TABLE audit DROP CONSTRAINT audit_action_check, ADD CONSTRAINT audit_action_check
    CHECK (action IN ('sign-in', 'send-again', 'correct-address', 'unlock', 'retire-code', 'cancel', 'sign-out-everywhere',
        'replay-dead-letter', 'drop-dead-letter', 'verify-caller', 'view-as', 'view-page', 'view-end'));

-- How staff made sure who is on the line. It holds for one sitting of one person and one account: it goes with the session,
-- and the audit trail keeps that it was.
CREATE TABLE caller_checks (
    session    bytea       NOT NULL REFERENCES staff_sessions ON DELETE CASCADE,
    account    bigint      NOT NULL REFERENCES accounts,
    how        text        NOT NULL CHECK (how IN ('called-back', 'account-pin', 'last-invoice', 'in-person')), -- "not verified" is no row
    checked_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (session, account),
    CHECK (expires_at <= checked_at + interval '30 minutes')
);

-- Staff who look at the pages of a customer. The audit trail has it all, too; this is what is open, and what the customer
-- is told. No foreign key on the session: a view outlives it until its end was written down.
CREATE TABLE views (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session    bytea       NOT NULL CHECK (octet_length(session) = 32),
    actor      text        NOT NULL CHECK (actor <> ''),
    actor_name text        NOT NULL DEFAULT '',
    tenant     text        NOT NULL,
    account    bigint      NOT NULL REFERENCES accounts, -- for which the caller was verified
    user_id    bigint      NOT NULL REFERENCES users,
    reason     text        NOT NULL CHECK (char_length(reason) BETWEEN 5 AND 500),
    began_at   timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    -- Nobody looks for longer, whatever the program says.
    CHECK (expires_at <= began_at + interval '15 minutes')
);
CREATE UNIQUE INDEX views_open ON views (session) WHERE ended_at IS NULL; -- one customer at a time
CREATE INDEX views_due ON views (expires_at) WHERE ended_at IS NULL;
CREATE INDEX views_of_user ON views (user_id, began_at DESC);

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
