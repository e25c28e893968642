-- +goose Up

-- The ledger's column `enrollment` holds a notice's id where the purpose is a kind of security notice.
ALTER TABLE mails DROP CONSTRAINT mails_purpose_check, ADD CONSTRAINT mails_purpose_check
    CHECK (purpose IN ('activation', 'notice', 'password-reset', 'code-tried', 'locked', 'enrollment-closed', 'password-changed'));

-- What somebody was told about, one row for each mail: it bounds how often an account is told, and says whom a mail in the
-- ledger was about. The address is in the event only.
CREATE TABLE security_notices (
    id           uuid        PRIMARY KEY,
    tenant       text        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('code-tried', 'locked', 'enrollment-closed', 'password-changed')),
    account      bigint      REFERENCES accounts, -- NULL: it is about a log-in, or about an account that does not exist
    user_id      bigint      REFERENCES users,    -- NULL: it is for whoever reads the address
    requested_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX security_notices_of_account ON security_notices (account, kind, requested_at DESC);
CREATE INDEX security_notices_of_user ON security_notices (user_id, requested_at DESC);
CREATE INDEX security_notices_by_age ON security_notices (requested_at);

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
