-- +goose Up

-- Who asks for mails by the dozen waits, too: for a forgotten password, and for a new code.
ALTER TABLE attempts DROP CONSTRAINT attempts_scope_check, ADD CONSTRAINT attempts_scope_check
    CHECK (scope IN ('code-source-account', 'code-source', 'code-account', 'login-source-user', 'login-source', 'forgot-source', 'new-code-source'));

-- The ledger's column `enrollment` holds a reset's id where the purpose is one.
ALTER TABLE mails DROP CONSTRAINT mails_purpose_check, ADD CONSTRAINT mails_purpose_check
    CHECK (purpose IN ('activation', 'notice', 'password-reset'));

-- Wishes for a new password. A link is derived from the row and never stored; it works once, until expires_at.
CREATE TABLE password_resets (
    id           uuid        PRIMARY KEY,
    tenant       text        NOT NULL,
    user_id      bigint      REFERENCES users, -- NULL: nobody is known by what was typed; written all the same, so that both take as long
    address      text        NOT NULL,         -- where the link went; a part of what signs it
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    voided_at    timestamptz, -- the password was set in another way meanwhile
    CHECK (used_at IS NULL OR voided_at IS NULL),
    CHECK (user_id IS NOT NULL OR (used_at IS NULL AND voided_at IS NULL))
);
CREATE INDEX password_resets_of_user ON password_resets (user_id, requested_at DESC);
CREATE INDEX password_resets_by_age ON password_resets (requested_at);

CREATE INDEX users_by_email ON users (tenant, lower(email));
CREATE INDEX memberships_of_account ON memberships (account);

-- What a user did with the log-in, shown on the security page so that a stranger's doing is noticed.
CREATE TABLE user_activity (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint      NOT NULL REFERENCES users,
    what    text        NOT NULL CHECK (what IN ('signed-in', 'password-changed', 'password-reset', 'account-added', 'signed-out-everywhere')),
    source  text        NOT NULL DEFAULT '', -- the address or network that it came from, as tries are counted
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX user_activity_of_user ON user_activity (user_id, at DESC);
CREATE INDEX user_activity_by_age ON user_activity (at);

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
