-- +goose Up

-- Rises whenever all sessions of a user end: a log-in that began before saves no session after it.
ALTER TABLE users ADD COLUMN session_epoch bigint NOT NULL DEFAULT 0;

ALTER TABLE sessions
    ADD COLUMN ref     uuid        NOT NULL DEFAULT gen_random_uuid() UNIQUE, -- by which its owner names it, to end it from elsewhere
    ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();

ALTER TABLE user_activity
    ADD COLUMN about text NOT NULL DEFAULT '', -- whom or which account, where there is one
    DROP CONSTRAINT user_activity_what_check,
    ADD CONSTRAINT user_activity_what_check CHECK (what IN ('signed-in', 'password-changed', 'password-reset', 'account-added', 'signed-out-everywhere',
        'session-ended', 'colleague-removed', 'access-left', 'access-lost'));

-- What a username looks like (Unicode TR 39), so that nobody enrolls as somebody else's twin. It is worked out in Go, by the
-- tables of one Unicode version: NULL or another version means that it has to be worked out (anew), which `migrate` does.
ALTER TABLE usernames
    ADD COLUMN skeleton         text,
    ADD COLUMN skeleton_version text    NOT NULL DEFAULT '',
    ADD COLUMN twin             boolean NOT NULL DEFAULT false; -- held beside its look-alike since before they were compared
-- Nobody takes a name that looks like one that is held; those who have such names keep them.
CREATE UNIQUE INDEX usernames_look_different ON usernames (tenant, skeleton) WHERE NOT twin;
CREATE INDEX usernames_by_skeleton ON usernames (tenant, skeleton) WHERE twin;
CREATE INDEX usernames_by_skeleton_version ON usernames (skeleton_version);

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
