package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/schema/journey"
)

// AdvanceWatermark notes that every fact that was published before a time, and every message up to a sequence, is counted.
// It never goes back.
func (s *Store) AdvanceWatermark(ctx context.Context, to time.Time, sequence uint64) error {
	return s.transact(ctx, "advance the funnel's watermark", func(t *tx) error {
		_, err := t.ExecContext(ctx, `
			UPDATE funnel_progress SET watermark = greatest(watermark, $1), last_sequence = greatest(last_sequence, $2)
			WHERE watermark IS NULL OR watermark < $1 OR last_sequence < $2`, to.Truncate(time.Microsecond), int64(sequence)) // rounded up it would promise more
		return err
	})
}

// FunnelState is how far the journeys have come, and what late facts restated, oldest first. Whoever reads the journeys too
// asks for the state before them: then they hold all that the watermark promises.
func (s *Store) FunnelState(ctx context.Context) (watermark *time.Time, restatements []journey.Restatement, err error) {
	err = s.transact(ctx, "tell the funnel's state", func(t *tx) error {
		if err := t.GetContext(ctx, &watermark, `SELECT watermark FROM funnel_progress`); err != nil {
			return err
		}
		var rows []struct {
			Tenant    string    `db:"tenant"`
			Entered   int64     `db:"entered_ns"`
			Watermark time.Time `db:"watermark"`
			At        time.Time `db:"at"`
			Batch     int64     `db:"batch"`
		}
		if err := t.SelectContext(ctx, &rows, `SELECT tenant, entered_ns, watermark, at, batch FROM funnel_restatements ORDER BY batch, tenant, entered_ns`); err != nil {
			return err
		}
		restatements = make([]journey.Restatement, len(rows))
		for i, r := range rows {
			restatements[i] = journey.Restatement{
				Tenant: r.Tenant, Entered: time.Unix(0, r.Entered).UTC(), Watermark: r.Watermark.UTC(), At: r.At.UTC(), Batch: r.Batch,
			}
		}
		return nil
	})
	if watermark != nil {
		*watermark = watermark.UTC()
	}
	return watermark, restatements, err
}

// FactsOf are the facts about an account, in its journey's order.
func (s *Store) FactsOf(ctx context.Context, tenant, accountRef string) ([]journey.Recorded, error) {
	var facts []journey.Recorded
	err := s.transact(ctx, "trace a journey", func(t *tx) error {
		var rows []factRow
		if err := t.SelectContext(ctx, &rows, `SELECT `+factColumns+` FROM funnel_facts WHERE tenant = $1 AND account_ref = $2`, tenant, accountRef); err != nil {
			return err
		}
		facts = make([]journey.Recorded, len(rows))
		for i, r := range rows {
			facts[i] = journey.Recorded{Told: r.told(), Name: r.Fact, StreamSequence: uint64(r.StreamSequence)}
		}
		slices.SortFunc(facts, func(a, b journey.Recorded) int { return a.Told.Compare(b.Told) })
		return nil
	})
	return facts, err
}

// JourneysSince visits the journeys that were derived after a revision, 0 for all, and returns the latest revision. They are
// those of one moment, and visited in the order of their revisions; one without facts has been emptied by a rebuild. Their
// Properties are shared. Memory does not grow with their number, and an error of visit ends it.
func (s *Store) JourneysSince(ctx context.Context, revision int64, visit func(journey.Journey) error) (last int64, err error) {
	err = s.transact(ctx, "read journeys", func(t *tx) error {
		last = revision
		rows, err := t.QueryContext(ctx, `
			SELECT revision, tenant, account_ref, kinds, at_ns, enrollments, reasons, property, properties
			FROM funnel_journeys WHERE revision > $1 ORDER BY revision`, revision) // one statement, so one moment
		if err != nil {
			return err
		}
		defer rows.Close()
		read := journeyReader{tenants: map[string]string{}, properties: map[string][]*journey.Properties{}, reasons: map[string][]journey.Reason{}, known: map[journey.Properties]*journey.Properties{}}
		for rows.Next() {
			var j journey.Journey
			if j, last, err = read.one(rows); err != nil {
				return err
			}
			if err := visit(j); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return last, err
}

// journeyReader turns rows into journeys. A million of them share few properties and few lists of reasons, so texts that were
// read once are known again by sight.
type journeyReader struct {
	tenants    map[string]string
	properties map[string][]*journey.Properties // by a row's JSON
	known      map[journey.Properties]*journey.Properties
	reasons    map[string][]journey.Reason // by a row's array

	tenant, account, kinds, at, enrollments, reason, property, jsons sql.RawBytes
}

// mostKnown bounds what is kept to be known again.
const mostKnown = 100_000

func (r *journeyReader) one(rows *sql.Rows) (j journey.Journey, revision int64, err error) {
	if err := rows.Scan(&revision, &r.tenant, &r.account, &r.kinds, &r.at, &r.enrollments, &r.reason, &r.property, &r.jsons); err != nil {
		return j, 0, err
	}
	tenant, ok := r.tenants[string(r.tenant)]
	if !ok {
		tenant = string(r.tenant)
		r.tenants[tenant] = tenant
	}
	j.Unit = journey.Unit{Tenant: tenant, Account: string(r.account)}
	reasons, err := r.reasonsOf()
	if err != nil {
		return j, 0, fmt.Errorf("journey %s of %s: %w", j.Account, j.Tenant, err)
	}
	properties, err := r.propertiesOf()
	if err != nil {
		return j, 0, fmt.Errorf("journey %s of %s: %w", j.Account, j.Tenant, err)
	}
	j.Facts = make([]journey.Fact, len(reasons))
	columns := [...]numbers{{text: r.kinds}, {text: r.at}, {text: r.enrollments}, {text: r.property}}
	for i := range j.Facts {
		place := columns[3].next()
		if place < 1 || int(place) > len(properties) {
			return j, 0, fmt.Errorf("journey %s of %s: fact %d has property %d of %d", j.Account, j.Tenant, i+1, place, len(properties))
		}
		j.Facts[i] = journey.Fact{
			Kind: journey.Kind(columns[0].next()), At: columns[1].next(), Enrollment: int16(columns[2].next()), Reason: reasons[i], Properties: properties[place-1],
		}
	}
	return j, revision, nil
}

func (r *journeyReader) reasonsOf() ([]journey.Reason, error) {
	if known, ok := r.reasons[string(r.reason)]; ok {
		return known, nil
	}
	var texts pq.StringArray
	if err := texts.Scan([]byte(r.reason)); err != nil {
		return nil, fmt.Errorf("reasons: %w", err)
	}
	reasons := make([]journey.Reason, len(texts))
	for i, t := range texts {
		reasons[i] = journey.ReasonOf(t)
	}
	if len(r.reasons) < mostKnown {
		r.reasons[string(r.reason)] = reasons
	}
	return reasons, nil
}

func (r *journeyReader) propertiesOf() ([]*journey.Properties, error) {
	if known, ok := r.properties[string(r.jsons)]; ok {
		return known, nil
	}
	var values []journey.Properties
	if err := json.Unmarshal(r.jsons, &values); err != nil {
		return nil, fmt.Errorf("properties: %w", err)
	}
	pointers := make([]*journey.Properties, len(values))
	for i, v := range values {
		p, ok := r.known[v]
		if !ok {
			p = &v
			if len(r.known) < mostKnown {
				r.known[v] = p
			}
		}
		pointers[i] = p
	}
	if len(r.properties) < mostKnown {
		r.properties[string(r.jsons)] = pointers
	}
	return pointers, nil
}

// numbers reads an array of whole numbers that are not negative, as PostgreSQL writes it: {1,2,3}.
type numbers struct {
	text []byte
	i    int
}

func (n *numbers) next() (v int64) {
	for n.i++; n.i < len(n.text) && n.text[n.i] >= '0' && n.text[n.i] <= '9'; n.i++ {
		v = 10*v + int64(n.text[n.i]-'0')
	}
	return v
}
