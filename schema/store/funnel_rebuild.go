package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
)

// RebuildFunnel derives every journey anew. read hands over the facts of the stream, from the oldest that it still holds to the
// newest, in batches; it is called when no worker can add facts any more, and may be called again. Facts older than the stream
// are kept as they are, as are those of tenants that are not configured. Restatements and the watermark stay.
//
// A stream that ends before the newest fact has been made anew or restored from a backup: to believe it would lose facts.
func (s *Store) RebuildFunnel(ctx context.Context, read func(take func([]events.Received) error) error) error {
	return s.transact(ctx, "rebuild the funnel", func(t *tx) error {
		if _, err := t.ExecContext(ctx, `SELECT set_config('lock_timeout', '1min', true)`); err != nil {
			return err
		}
		turn, err := t.turn(ctx)
		if err != nil {
			return err
		}
		newest, tenants, err := t.knownFacts(ctx, s)
		if err != nil {
			return err
		}
		last := int64(-1)
		if err := read(func(batch []events.Received) error {
			if len(batch) == 0 {
				return nil
			}
			if last < 0 {
				if err := t.forgetFacts(ctx, tenants, int64(batch[0].Sequence)); err != nil {
					return err
				}
			}
			last = int64(batch[len(batch)-1].Sequence)
			facts, err := factsOf(batch)
			if err != nil {
				return err
			}
			_, err = t.keepFacts(ctx, facts)
			return err
		}); err != nil {
			return err
		}
		if last >= 0 && last < newest {
			return fmt.Errorf("the stream's last fact has sequence %d and the newest one kept has %d: the stream was made anew or restored, nothing is changed", last, newest)
		}
		return t.deriveAll(ctx, turn.Batch)
	})
}

// knownFacts are the newest fact's sequence and the tenants, of those that are configured.
func (t *tx) knownFacts(ctx context.Context, s *Store) (newest int64, tenants []string, err error) {
	var rows []struct {
		Tenant string `db:"tenant"`
		Newest int64  `db:"newest"`
	}
	if err := t.SelectContext(ctx, &rows, `SELECT tenant, max(stream_sequence) AS newest FROM funnel_facts GROUP BY tenant`); err != nil {
		return 0, nil, fmt.Errorf("look for the newest fact: %w", err)
	}
	for _, r := range rows {
		if _, ok := s.policy(r.Tenant); ok {
			newest, tenants = max(newest, r.Newest), append(tenants, r.Tenant)
		}
	}
	return newest, tenants, nil
}

// forgetFacts deletes what the stream still holds.
func (t *tx) forgetFacts(ctx context.Context, tenants []string, first int64) error {
	if _, err := t.ExecContext(ctx, `DELETE FROM funnel_facts WHERE tenant = ANY ($1) AND stream_sequence >= $2`, pq.Array(tenants), first); err != nil {
		return fmt.Errorf("forget facts from sequence %d on: %w", first, err)
	}
	return nil
}

// atOnce is how many rows of facts are in memory while all are derived.
const atOnce = 10_000

// deriveAll derives the journeys of all facts, and empties those that have none left.
func (t *tx) deriveAll(ctx context.Context, batch int64) error {
	if _, err := t.ExecContext(ctx, `DECLARE told NO SCROLL CURSOR FOR SELECT `+factColumns+` FROM funnel_facts ORDER BY tenant, account_ref`); err != nil {
		return fmt.Errorf("read all facts: %w", err)
	}
	for rest := []factRow(nil); ; {
		var rows []factRow
		if err := t.SelectContext(ctx, &rows, fmt.Sprintf(`FETCH %d FROM told`, atOnce)); err != nil {
			return fmt.Errorf("read all facts: %w", err)
		}
		// The last unit may go on in the rows that follow.
		whole := append(rest, rows...)
		rest = nil
		if len(rows) == atOnce {
			last := whole[len(whole)-1]
			cut := slices.IndexFunc(whole, func(r factRow) bool { return r.Tenant == last.Tenant && r.Account == last.Account })
			whole, rest = whole[:cut], slices.Clone(whole[cut:])
		}
		if len(whole) > 0 {
			if err := t.keepJourneys(ctx, batch, gathered(whole)); err != nil {
				return err
			}
		}
		if len(rows) < atOnce {
			break
		}
	}
	if _, err := t.ExecContext(ctx, `
		UPDATE funnel_journeys SET kinds = '{}', at_ns = '{}', enrollments = '{}', reasons = '{}', property = '{}', properties = '[]', facts = 0,
			first_at = NULL, invited_at = NULL, registered_at = NULL, mailed_at = NULL, activated_at = NULL, signed_in_at = NULL,
			invoice_viewed_at = NULL, revision = $1
		WHERE revision <> $1 AND facts > 0`, batch); err != nil {
		return fmt.Errorf("empty journeys without facts: %w", err)
	}
	return nil
}

// JourneysDigest is the same for the same journeys: to hold a rebuild against what was before. It covers everything of a row of
// analytics.journeys and the facts' order, but no revision.
func (s *Store) JourneysDigest(ctx context.Context) (digest string, err error) {
	err = s.transact(ctx, "digest the journeys", func(t *tx) error {
		return t.GetContext(ctx, &digest, `
			SELECT md5(coalesce(string_agg(md5(j::text || a::text), '' ORDER BY tenant, account_ref), ''))
			FROM (SELECT tenant, account_ref, kinds, at_ns, enrollments, reasons, property, properties FROM funnel_journeys) AS j
			JOIN analytics.journeys AS a USING (tenant, account_ref)`)
	})
	return digest, err
}
