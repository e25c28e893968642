-- +goose Up

-- When, and with what kind of browser, the form was sent by which somebody signed up last: the mail tells it to the owner of
-- the mailbox, who may be somebody else. No address is kept. (The default serves a version before this one that still writes.)
ALTER TABLE enrollments
    ADD COLUMN signed_up_at   timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN signed_up_with text        NOT NULL DEFAULT ''; -- "Firefox, Windows"; empty: unknown
UPDATE enrollments SET signed_up_at = registered_at;

-- Why an enrollment ended, as its fact says.
ALTER TABLE enrollment_moves ADD COLUMN reason text NOT NULL DEFAULT '';

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
