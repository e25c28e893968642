-- +goose Up

-- The funnel: what happened to whom ---------------------------------------------------------------------------------

-- Every fact once, in whatever order it came. Which of two messages with one identity counts is decided by their place in
-- the stream, never by arrival, so that a rebuild gives the same rows.
CREATE TABLE funnel_facts (
    identity          uuid        PRIMARY KEY, -- hash of tenant, source and id, as in the inbox
    tenant            text        NOT NULL,
    account_ref       text        NOT NULL,
    enrollment        uuid,                 -- NULL: it is about the account
    fact              text        NOT NULL, -- Go name of the event type; no CHECK: a later version's are kept too
    automated         boolean     NOT NULL DEFAULT false, -- an opening that looks like a machine's
    sequence          bigint      NOT NULL DEFAULT 0 CHECK (sequence >= 0), -- per enrollment; 0: not said
    occurred_at       timestamptz NOT NULL, -- for analysts: only microseconds
    occurred_ns       bigint      NOT NULL, -- the exact time, in nanoseconds since 1970
    reason            text        NOT NULL DEFAULT '',
    locale            text        NOT NULL DEFAULT '',
    invoice_month     text        NOT NULL DEFAULT '',
    code_age_days     integer     CHECK (code_age_days >= 0),
    mail_domain_class text        NOT NULL DEFAULT '',
    stream_sequence   bigint      NOT NULL
);
CREATE INDEX funnel_facts_of_unit ON funnel_facts (tenant, account_ref);

-- One row for each account, derived from its whole history whenever a fact is added to it. The arrays are parallel, one
-- element for each fact, in the journey's order. Rows are never deleted: one without facts tells readers who follow the
-- revisions that a rebuild left nothing of it.
CREATE TABLE funnel_journeys (
    tenant            text       NOT NULL,
    account_ref       text       NOT NULL,
    kinds             smallint[] NOT NULL, -- journey.Kind
    at_ns             bigint[]   NOT NULL,
    enrollments       smallint[] NOT NULL, -- which of the account's, by first appearance from 1; 0: about the account
    reasons           text[]     NOT NULL,
    property          smallint[] NOT NULL, -- place in properties, from 1
    properties        jsonb      NOT NULL, -- those that differ, by first appearance
    facts             integer    NOT NULL,
    first_at          timestamptz, -- the earliest fact of any kind
    invited_at        timestamptz, -- from here on the way: each step at or after the one before; NULL: not reached
    registered_at     timestamptz,
    mailed_at         timestamptz,
    activated_at      timestamptz,
    signed_in_at      timestamptz,
    invoice_viewed_at timestamptz,
    revision          bigint     NOT NULL, -- of the batch that derived it; rises in the order of commits
    PRIMARY KEY (tenant, account_ref),
    CHECK (facts = cardinality(kinds) AND facts = cardinality(at_ns) AND facts = cardinality(enrollments)
        AND facts = cardinality(reasons) AND facts = cardinality(property))
);
CREATE INDEX funnel_journeys_by_revision ON funnel_journeys (revision);

-- One row. Whoever adds facts locks it first, so that batches take turns and revisions rise in the order of commits.
CREATE TABLE funnel_progress (
    one           boolean     PRIMARY KEY DEFAULT true CHECK (one),
    batch         bigint      NOT NULL DEFAULT 0,
    watermark     timestamptz, -- every fact published before is counted; NULL: no worker has run
    last_sequence bigint      NOT NULL DEFAULT 0
);
INSERT INTO funnel_progress DEFAULT VALUES;

-- Facts that came after their time had been told as final, by the entries that they may have changed. Entries are told by
-- the quarter of an hour that they fall in, which every time zone's days begin with: a bill run that is published late
-- leaves some rows a batch instead of one for each customer.
CREATE TABLE funnel_restatements (
    tenant     text        NOT NULL,
    entered_ns bigint      NOT NULL,
    watermark  timestamptz NOT NULL, -- when the fact came
    at         timestamptz NOT NULL DEFAULT now(),
    batch      bigint      NOT NULL, -- facts that came together
    PRIMARY KEY (batch, tenant, entered_ns)
);

-- What analysts see ------------------------------------------------------------------------------------------------------

CREATE SCHEMA IF NOT EXISTS analytics;
COMMENT ON SCHEMA analytics IS 'Read-only views for analysis, free of personal data. Each view and column has a comment.';

CREATE OR REPLACE VIEW analytics.facts AS
    SELECT identity AS fact_id, tenant, account_ref, enrollment AS enrollment_id, fact, automated, sequence, occurred_at, occurred_ns,
        reason, locale, invoice_month, code_age_days, mail_domain_class, stream_sequence
    FROM funnel_facts;
COMMENT ON VIEW analytics.facts IS 'Every fact about an enrollment, once, however often it was published.';
COMMENT ON COLUMN analytics.facts.fact_id IS 'What the fact is known by: a hash of the tenant and of the event''s source and id.';
COMMENT ON COLUMN analytics.facts.tenant IS 'Whose customer it is about.';
COMMENT ON COLUMN analytics.facts.account_ref IS 'The account, as a keyed hash of its number; the same in every fact about it.';
COMMENT ON COLUMN analytics.facts.enrollment_id IS 'The registration it is about; NULL: it is about the account.';
COMMENT ON COLUMN analytics.facts.fact IS 'What happened: the name of the event type, such as Invited or Registered.';
COMMENT ON COLUMN analytics.facts.automated IS 'True for an ActivationOpened that looks like a mail scanner''s.';
COMMENT ON COLUMN analytics.facts.sequence IS 'Order within the enrollment, rising, with gaps; 0: not said.';
COMMENT ON COLUMN analytics.facts.occurred_at IS 'When it happened, in microseconds; the rest is cut off.';
COMMENT ON COLUMN analytics.facts.occurred_ns IS 'When it happened, exactly: nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN analytics.facts.reason IS 'Why something was refused or failed, from a closed list; empty: it was not.';
COMMENT ON COLUMN analytics.facts.locale IS 'Language of the customer, such as en-US; empty: not said.';
COMMENT ON COLUMN analytics.facts.invoice_month IS 'Month of the invoice that the code came with, YYYY-MM; empty: not said.';
COMMENT ON COLUMN analytics.facts.code_age_days IS 'Whole days from the e-mailing of the code; NULL: not said.';
COMMENT ON COLUMN analytics.facts.mail_domain_class IS 'Class of the mail domain, such as company or freemail, never the domain; empty: not said.';
COMMENT ON COLUMN analytics.facts.stream_sequence IS 'Sequence of the message in the stream ENROLLMENT.';

CREATE OR REPLACE VIEW analytics.journeys AS
    SELECT j.tenant, j.account_ref, j.facts, j.first_at, j.invited_at, j.registered_at, j.mailed_at, j.activated_at, j.signed_in_at, j.invoice_viewed_at,
        e.properties ->> 'locale' AS locale, e.properties ->> 'invoiceMonth' AS invoice_month,
        (e.properties ->> 'codeAgeDays')::integer AS code_age_days, e.properties ->> 'mailDomainClass' AS mail_domain_class
    FROM funnel_journeys AS j
    CROSS JOIN LATERAL (SELECT j.properties -> (j.property[array_position(j.kinds, 1::smallint)] - 1)) AS e (properties) -- 1: Invited
    WHERE j.facts > 0;
COMMENT ON VIEW analytics.journeys IS 'One row for each account that a fact is about: how far it came from its first Invited on, without a window. Reports with windows and orders: billcenter funnel.';
COMMENT ON COLUMN analytics.journeys.tenant IS 'Whose customer it is.';
COMMENT ON COLUMN analytics.journeys.account_ref IS 'The account, as a keyed hash of its number.';
COMMENT ON COLUMN analytics.journeys.facts IS 'Number of facts about it, in analytics.facts.';
COMMENT ON COLUMN analytics.journeys.first_at IS 'Its earliest fact of any kind.';
COMMENT ON COLUMN analytics.journeys.invited_at IS 'The first e-mail with a registration code; NULL: none is known.';
COMMENT ON COLUMN analytics.journeys.registered_at IS 'The first registration at or after it; NULL, here and below: not reached.';
COMMENT ON COLUMN analytics.journeys.mailed_at IS 'A provider accepted the activation mail, at or after the registration. Of several enrollments the one that got furthest is shown.';
COMMENT ON COLUMN analytics.journeys.activated_at IS 'A password was chosen, at or after that.';
COMMENT ON COLUMN analytics.journeys.signed_in_at IS 'The first log-in at or after the activation.';
COMMENT ON COLUMN analytics.journeys.invoice_viewed_at IS 'Invoices were looked at, at or after that log-in.';
COMMENT ON COLUMN analytics.journeys.locale IS 'As the first Invited says; NULL, here and below: it does not, or there is none.';
COMMENT ON COLUMN analytics.journeys.invoice_month IS 'As the first Invited says, YYYY-MM.';
COMMENT ON COLUMN analytics.journeys.code_age_days IS 'As the first Invited says, in whole days.';
COMMENT ON COLUMN analytics.journeys.mail_domain_class IS 'As the first Invited says.';

CREATE OR REPLACE VIEW analytics.restatements AS
    SELECT tenant, timestamptz 'epoch' + (entered_ns / 1000) * interval '1 microsecond' AS entered_at, watermark, at, batch FROM funnel_restatements;
COMMENT ON VIEW analytics.restatements IS 'Facts that came late: which entries'' periods they may have changed after those were final.';
COMMENT ON COLUMN analytics.restatements.tenant IS 'Whose customer it was.';
COMMENT ON COLUMN analytics.restatements.entered_at IS 'Beginning of the quarter of an hour of an entry that may have changed.';
COMMENT ON COLUMN analytics.restatements.watermark IS 'The watermark when the fact came; a period was final if its end and the window lie before it.';
COMMENT ON COLUMN analytics.restatements.at IS 'When the fact came.';
COMMENT ON COLUMN analytics.restatements.batch IS 'Facts with one number came together and restate a period once.';

CREATE OR REPLACE VIEW analytics.freshness AS
    SELECT watermark, now() - watermark AS behind, last_sequence FROM funnel_progress;
COMMENT ON VIEW analytics.freshness IS 'How far the other views have come. One row.';
COMMENT ON COLUMN analytics.freshness.watermark IS 'Every fact that was published before is counted; NULL: nothing was read yet.';
COMMENT ON COLUMN analytics.freshness.behind IS 'How long ago that is; a minute more than nothing is usual.';
COMMENT ON COLUMN analytics.freshness.last_sequence IS 'Sequence in the stream ENROLLMENT up to which everything is counted.';

-- The role sees these views and nothing else. Roles belong to the whole server: another database may have made it, or be
-- making it now, and a managed server may forbid it, which must not stand in the way of the migration.
-- +goose StatementBegin
DO $$
BEGIN
    BEGIN
        CREATE ROLE billcenter_analyst NOLOGIN;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN
            NULL;
        WHEN insufficient_privilege THEN
            RAISE NOTICE 'role billcenter_analyst not created: this user may not create roles; create it, then GRANT USAGE ON SCHEMA analytics and SELECT ON ALL TABLES IN SCHEMA analytics to it';
    END;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'billcenter_analyst') THEN
        GRANT USAGE ON SCHEMA analytics TO billcenter_analyst;
        GRANT SELECT ON analytics.facts, analytics.journeys, analytics.restatements, analytics.freshness TO billcenter_analyst;
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
-- Migrations only add: going back is restoring a backup.
SELECT 1;
