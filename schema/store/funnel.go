package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
)

// TakeFacts keeps a batch of facts, all or none, and derives the journeys of the accounts that they are about. The same facts
// in any order, batched in any way, any number of times, leave the same journeys. Of two facts with one identity the one that
// is earlier in the stream counts; that the other differs is no error here, since the first is what everyone acted upon.
// Batches take turns, however many workers there are.
func (s *Store) TakeFacts(ctx context.Context, batch []events.Received) error {
	facts, err := factsOf(batch)
	if err != nil {
		return err
	}
	return s.transact(ctx, "take facts", func(t *tx) error {
		turn, err := t.turn(ctx)
		if err != nil {
			return err
		}
		units, err := t.keepFacts(ctx, facts)
		if err != nil || len(units) == 0 {
			return err
		}
		histories, err := t.histories(ctx, units)
		if err != nil {
			return err
		}
		if err := t.restate(ctx, turn, histories, units); err != nil {
			return err
		}
		return t.keepJourneys(ctx, turn.Batch, histories)
	})
}

// received is a fact on its way into its table.
type received struct {
	journey.Unit
	journey.Told
	name           string
	automated      bool
	streamSequence int64
}

// factsOf leaves one of those that say who they are twice.
func factsOf(batch []events.Received) ([]received, error) {
	all := make([]received, 0, len(batch))
	for _, r := range batch {
		f, ok := events.FactOf(r.Message)
		if !ok {
			return nil, &events.Malformed{Fault: events.NoHandler, Field: "type", Why: "is not a fact about an enrollment"}
		}
		opened, _ := r.Message.(*events.ActivationOpened)
		all = append(all, received{
			Unit: journey.Unit{Tenant: r.Tenant, Account: f.AccountRef},
			Told: journey.Told{
				ID: identity(r.Event).String(), At: f.OccurredAt.UnixNano(), Sequence: f.Sequence, Enrollment: f.EnrollmentID,
				Reason: journey.ReasonOf(f.Reason), Properties: journey.PropertiesOf(f.Properties),
			},
			name: r.Definition.Name, automated: opened != nil && opened.AutomationSuspected, streamSequence: int64(r.Sequence),
		})
	}
	slices.SortFunc(all, func(a, b received) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.streamSequence, b.streamSequence))
	})
	return slices.CompactFunc(all, func(a, b received) bool { return a.ID == b.ID }), nil
}

// turn is a batch's place among all others.
type turn struct {
	Batch     int64      `db:"batch"`
	Watermark *time.Time `db:"watermark"`
}

// turn waits for the batches before, and keeps those after waiting until the end of the transaction.
func (t *tx) turn(ctx context.Context) (turn, error) {
	var next turn
	if err := t.GetContext(ctx, &next, `UPDATE funnel_progress SET batch = batch + 1 RETURNING batch, watermark`); err != nil {
		return next, fmt.Errorf("wait for the batch before: %w", err)
	}
	return next, nil
}

// keepFacts adds what is new, and says which of it was, by unit. A unit that lost a fact is among them.
func (t *tx) keepFacts(ctx context.Context, facts []received) (map[journey.Unit][]string, error) {
	n := len(facts)
	c := struct {
		identities, tenants, accounts, enrollments, names, at, reasons, locales, months, classes []string

		automated                    []bool
		sequences, ns, ages, streams []int64
	}{}
	for _, s := range []*[]string{&c.identities, &c.tenants, &c.accounts, &c.enrollments, &c.names, &c.at, &c.reasons, &c.locales, &c.months, &c.classes} {
		*s = make([]string, 0, n)
	}
	byID := make(map[string]journey.Unit, n)
	for _, f := range facts {
		age := int64(-1)
		if f.Properties.CodeAgeDays != "" {
			age, _ = strconv.ParseInt(f.Properties.CodeAgeDays, 10, 32) // a whole number, by what made it
		}
		c.identities, c.tenants, c.accounts = append(c.identities, f.ID), append(c.tenants, f.Tenant), append(c.accounts, f.Account)
		c.enrollments, c.names, c.automated = append(c.enrollments, f.Enrollment), append(c.names, f.name), append(c.automated, f.automated)
		c.sequences, c.at, c.ns = append(c.sequences, f.Sequence), append(c.at, instant(f.At)), append(c.ns, f.At)
		c.reasons, c.locales = append(c.reasons, f.Reason.String()), append(c.locales, f.Properties.Locale)
		c.months, c.classes = append(c.months, f.Properties.InvoiceMonth), append(c.classes, f.Properties.MailDomainClass)
		c.ages, c.streams = append(c.ages, age), append(c.streams, f.streamSequence)
		byID[f.ID] = f.Unit
	}
	// One statement, so one moment: before is what the facts said until now. One that is replaced may leave another account.
	rows, err := t.QueryContext(ctx, `
		WITH before AS (SELECT identity, account_ref FROM funnel_facts WHERE identity = ANY ($1::uuid[])),
		kept AS (
		INSERT INTO funnel_facts AS f (identity, tenant, account_ref, enrollment, fact, automated, sequence, occurred_at, occurred_ns,
			reason, locale, invoice_month, code_age_days, mail_domain_class, stream_sequence)
		SELECT identity, tenant, account_ref, NULLIF(enrollment, '')::uuid, fact, automated, sequence, occurred_at::timestamptz, occurred_ns,
			reason, locale, invoice_month, NULLIF(code_age_days, -1), mail_domain_class, stream_sequence
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bigint[], $8::text[], $9::bigint[],
			$10::text[], $11::text[], $12::text[], $13::integer[], $14::text[], $15::bigint[])
			AS n (identity, tenant, account_ref, enrollment, fact, automated, sequence, occurred_at, occurred_ns,
				reason, locale, invoice_month, code_age_days, mail_domain_class, stream_sequence)
		ON CONFLICT (identity) DO UPDATE SET account_ref = excluded.account_ref, enrollment = excluded.enrollment, fact = excluded.fact,
			automated = excluded.automated, sequence = excluded.sequence, occurred_at = excluded.occurred_at, occurred_ns = excluded.occurred_ns,
			reason = excluded.reason, locale = excluded.locale, invoice_month = excluded.invoice_month, code_age_days = excluded.code_age_days,
			mail_domain_class = excluded.mail_domain_class, stream_sequence = excluded.stream_sequence
		WHERE excluded.stream_sequence < f.stream_sequence
		RETURNING identity)
		SELECT identity, coalesce(before.account_ref, '') FROM kept LEFT JOIN before USING (identity)`,
		pq.Array(c.identities), pq.Array(c.tenants), pq.Array(c.accounts), pq.Array(c.enrollments), pq.Array(c.names), pq.Array(c.automated),
		pq.Array(c.sequences), pq.Array(c.at), pq.Array(c.ns), pq.Array(c.reasons), pq.Array(c.locales), pq.Array(c.months), pq.Array(c.ages),
		pq.Array(c.classes), pq.Array(c.streams))
	if err != nil {
		return nil, fmt.Errorf("keep facts: %w", err)
	}
	defer rows.Close()
	units := map[journey.Unit][]string{}
	for rows.Next() {
		var id, before string
		if err := rows.Scan(&id, &before); err != nil {
			return nil, fmt.Errorf("keep facts: %w", err)
		}
		u := byID[id]
		units[u] = append(units[u], id)
		if left := (journey.Unit{Tenant: u.Tenant, Account: before}); before != "" && units[left] == nil {
			units[left] = []string{}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("keep facts: %w", err)
	}
	return units, nil
}

// instant is a time as PostgreSQL keeps it: what is finer than a microsecond is cut off, never rounded into the next period.
func instant(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// history is everything that was told about a unit.
type history struct {
	journey.Unit
	told []journey.Told
}

const factColumns = `tenant, account_ref, identity, occurred_ns, sequence, coalesce(enrollment::text, '') AS enrollment, fact, automated,
	reason, locale, invoice_month, coalesce(code_age_days::text, '') AS code_age_days, mail_domain_class, stream_sequence`

type factRow struct {
	Tenant         string    `db:"tenant"`
	Account        string    `db:"account_ref"`
	Identity       uuid.UUID `db:"identity"`
	At             int64     `db:"occurred_ns"`
	Sequence       int64     `db:"sequence"`
	Enrollment     string    `db:"enrollment"`
	Fact           string    `db:"fact"`
	Automated      bool      `db:"automated"`
	Reason         string    `db:"reason"`
	Locale         string    `db:"locale"`
	Month          string    `db:"invoice_month"`
	CodeAge        string    `db:"code_age_days"`
	Class          string    `db:"mail_domain_class"`
	StreamSequence int64     `db:"stream_sequence"`
}

func (r factRow) told() journey.Told {
	return journey.Told{
		ID: r.Identity.String(), At: r.At, Sequence: r.Sequence, Enrollment: r.Enrollment,
		Kind: journey.KindOf(r.Fact, r.Automated), Reason: journey.ReasonOf(r.Reason),
		Properties: journey.Properties{Locale: r.Locale, InvoiceMonth: r.Month, CodeAgeDays: r.CodeAge, MailDomainClass: r.Class},
	}
}

// histories reads everything about the units; of one that lost its only fact that is nothing.
func (t *tx) histories(ctx context.Context, units map[journey.Unit][]string) ([]history, error) {
	tenants, accounts, without := make([]string, 0, len(units)), make([]string, 0, len(units)), map[journey.Unit]bool{}
	for u := range units {
		without[u] = true
		tenants, accounts = append(tenants, u.Tenant), append(accounts, u.Account)
	}
	var rows []factRow
	if err := t.SelectContext(ctx, &rows, `
		SELECT `+factColumns+`
		FROM funnel_facts JOIN unnest($1::text[], $2::text[]) AS u (tenant, account_ref) USING (tenant, account_ref)
		ORDER BY tenant, account_ref`, pq.Array(tenants), pq.Array(accounts)); err != nil {
		return nil, fmt.Errorf("read histories: %w", err)
	}
	all := gathered(rows)
	for _, h := range all {
		delete(without, h.Unit)
	}
	for u := range without {
		all = append(all, history{Unit: u})
	}
	return all, nil
}

// gathered puts rows that follow each other and are about one unit together.
func gathered(rows []factRow) []history {
	var all []history
	for _, r := range rows {
		u := journey.Unit{Tenant: r.Tenant, Account: r.Account}
		if len(all) == 0 || all[len(all)-1].Unit != u {
			all = append(all, history{Unit: u})
		}
		last := &all[len(all)-1]
		last.told = append(last.told, r.told())
	}
	return all
}

// keepJourneys derives journeys and writes them over those that were.
func (t *tx) keepJourneys(ctx context.Context, batch int64, histories []history) error {
	n := len(histories)
	columns := make([][]string, 15) // as in the statement below
	for i := range columns {
		columns[i] = make([]string, n)
	}
	facts := make([]int64, n)
	for i, h := range histories {
		j := journey.Of(h.Unit, h.told)
		row := append([]string{j.Tenant, j.Account}, arraysOf(j)...)
		first := int64(0)
		if len(j.Facts) > 0 {
			first = j.Facts[0].At
		}
		row = append(row, instant(first))
		for _, at := range j.Way() {
			row = append(row, instant(at))
		}
		for c, v := range row {
			columns[c][i] = v
		}
		facts[i] = int64(len(j.Facts))
	}
	args := make([]any, 0, len(columns)+2)
	for _, c := range columns {
		args = append(args, pq.Array(c))
	}
	args = append(args, pq.Array(facts), batch)
	if _, err := t.ExecContext(ctx, `
		INSERT INTO funnel_journeys (tenant, account_ref, kinds, at_ns, enrollments, reasons, property, properties,
			first_at, invited_at, registered_at, mailed_at, activated_at, signed_in_at, invoice_viewed_at, facts, revision)
		SELECT tenant, account_ref, kinds::smallint[], at_ns::bigint[], enrollments::smallint[], reasons::text[], property::smallint[], properties::jsonb,
			NULLIF(first_at, '')::timestamptz, NULLIF(invited_at, '')::timestamptz, NULLIF(registered_at, '')::timestamptz,
			NULLIF(mailed_at, '')::timestamptz, NULLIF(activated_at, '')::timestamptz, NULLIF(signed_in_at, '')::timestamptz,
			NULLIF(invoice_viewed_at, '')::timestamptz, facts, $17
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
			$11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::integer[])
			AS n (tenant, account_ref, kinds, at_ns, enrollments, reasons, property, properties,
				first_at, invited_at, registered_at, mailed_at, activated_at, signed_in_at, invoice_viewed_at, facts)
		ON CONFLICT (tenant, account_ref) DO UPDATE SET kinds = excluded.kinds, at_ns = excluded.at_ns, enrollments = excluded.enrollments,
			reasons = excluded.reasons, property = excluded.property, properties = excluded.properties, first_at = excluded.first_at,
			invited_at = excluded.invited_at, registered_at = excluded.registered_at, mailed_at = excluded.mailed_at,
			activated_at = excluded.activated_at, signed_in_at = excluded.signed_in_at, invoice_viewed_at = excluded.invoice_viewed_at,
			facts = excluded.facts, revision = excluded.revision`, args...); err != nil {
		return fmt.Errorf("keep journeys: %w", err)
	}
	return nil
}

// arraysOf are a journey's parallel arrays, and its properties as JSON.
func arraysOf(j journey.Journey) []string {
	var kinds, at, enrollments, reasons, property strings.Builder
	places := map[*journey.Properties]int{}
	properties := []*journey.Properties{}
	for i, f := range j.Facts {
		if places[f.Properties] == 0 {
			properties = append(properties, f.Properties)
			places[f.Properties] = len(properties)
		}
		separator := ","
		if i == 0 {
			separator = ""
		}
		for _, e := range []struct {
			into  *strings.Builder
			value string
		}{
			{&kinds, strconv.Itoa(int(f.Kind))}, {&at, strconv.FormatInt(f.At, 10)}, {&enrollments, strconv.Itoa(int(f.Enrollment))},
			{&reasons, strconv.Quote(f.Reason.String())}, {&property, strconv.Itoa(places[f.Properties])},
		} {
			e.into.WriteString(separator)
			e.into.WriteString(e.value)
		}
	}
	text, err := json.Marshal(properties)
	if err != nil {
		panic(err) // four strings
	}
	all := make([]string, 0, 6)
	for _, b := range []*strings.Builder{&kinds, &at, &enrollments, &reasons, &property} {
		all = append(all, "{"+b.String()+"}")
	}
	return append(all, string(text))
}

// quarter of an hour: every day of every time zone begins with one.
const quarter = int64(15 * time.Minute)

// restate notes which entries the facts that came late may have changed: those at or before it, which it may have brought
// further or broken; itself, where it is one; and where it takes their place, those after it. A journey without an Invited is
// entered by its first step, as reports in any order see it.
func (t *tx) restate(ctx context.Context, turn turn, histories []history, fresh map[journey.Unit][]string) error {
	if turn.Watermark == nil {
		return nil
	}
	watermark := turn.Watermark.UnixNano()
	type entry struct {
		tenant string
		at     int64
	}
	restated := map[entry]bool{}
	for _, h := range histories {
		for _, late := range h.told {
			if late.At > watermark || !slices.Contains(fresh[h.Unit], late.ID) {
				continue
			}
			for _, at := range entriesOf(h.told, late) {
				if at <= watermark {
					restated[entry{h.Tenant, at - at%quarter}] = true
				}
			}
		}
	}
	if len(restated) == 0 {
		return nil
	}
	var tenants []string
	var at []int64
	for e := range restated {
		tenants, at = append(tenants, e.tenant), append(at, e.at)
	}
	if _, err := t.ExecContext(ctx, `
		INSERT INTO funnel_restatements (tenant, entered_ns, watermark, at, batch)
		SELECT tenant, entered_ns, $3, now(), $4 FROM unnest($1::text[], $2::bigint[]) AS e (tenant, entered_ns)`,
		pq.Array(tenants), pq.Array(at), *turn.Watermark, turn.Batch); err != nil {
		return fmt.Errorf("note restatements: %w", err)
	}
	return nil
}

// entriesOf are the times of the entries that a late fact may have changed.
func entriesOf(told []journey.Told, late journey.Told) []int64 {
	var entries []int64
	earlier := false // an entry
	next := int64(0) // the first step after it: it was the entry of reports in any order
	for _, f := range told {
		switch {
		case f.ID == late.ID:
		case f.Kind == journey.Invited && (f.At <= late.At || late.Kind == journey.Invited):
			entries = append(entries, f.At)
			earlier = earlier || f.At <= late.At
		case f.Kind.Step() && f.At > late.At && (next == 0 || f.At < next):
			next = f.At
		}
	}
	if late.Kind == journey.Invited || !earlier {
		entries = append(entries, late.At)
	}
	if late.Kind.Step() && !earlier && next != 0 {
		entries = append(entries, next)
	}
	return entries
}
