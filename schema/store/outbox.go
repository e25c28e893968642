package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
)

type outboxRow struct {
	ID      int64  `db:"id"`
	Subject string `db:"subject"`
	MsgID   string `db:"msg_id"`
	Body    string `db:"body"`
}

// Carry hands the oldest committed announcements, at most limit, to publish and deletes them once it returns nil: whatever is
// killed when, a row is published at least once, under the id that it was written with. Any number of relays may carry at
// once; rows that another one holds are skipped, and so are those of the queues in besides (see Queue). It reports how many rows it
// carried.
//
// This is the one transaction that something is published in: the row must not be gone before the broker has the message.
func (s *Store) Carry(ctx context.Context, limit int, besides []string, publish func(context.Context, []events.Encoded) error) (int, error) {
	carried := 0
	err := s.transact(ctx, "carry the outbox", func(t *tx) error {
		var rows []outboxRow
		// MATERIALIZED: as a subquery it may run once for each row, and each time lock and delete the next ones past the limit.
		if err := t.SelectContext(ctx, &rows, `
			WITH oldest AS MATERIALIZED (
				SELECT id FROM outbox WHERE split_part(subject, '.', 1) || '.' || split_part(subject, '.', 2) <> ALL ($2)
				ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
			DELETE FROM outbox AS o USING oldest WHERE o.id = oldest.id
			RETURNING o.id, o.subject, o.msg_id, o.body`, limit, pq.Array(append([]string{}, besides...))); err != nil {
			return err
		}
		carried = len(rows)
		if carried == 0 {
			return nil
		}
		slices.SortFunc(rows, func(a, b outboxRow) int { return cmp.Compare(a.ID, b.ID) })
		batch := make([]events.Encoded, len(rows))
		for i, r := range rows {
			batch[i] = events.Encoded{Subject: r.Subject, MsgID: r.MsgID, Header: events.StructuredHeader(), Body: []byte(r.Body)}
		}
		return publish(ctx, batch)
	})
	if err != nil {
		return 0, err
	}
	return carried, nil
}

// Backlog is how many announcements wait, and since when the oldest does.
func (s *Store) Backlog(ctx context.Context) (rows int, oldest time.Duration, err error) {
	err = s.transact(ctx, "look at the outbox", func(t *tx) error {
		var b struct {
			Rows   int      `db:"rows"`
			Oldest *float64 `db:"oldest"`
		}
		if err := t.GetContext(ctx, &b, `SELECT count(*) AS rows, extract(epoch FROM $1 - min(created_at))::float8 AS oldest FROM outbox`, t.now); err != nil {
			return err
		}
		rows, oldest = b.Rows, 0
		if b.Oldest != nil {
			oldest = time.Duration(*b.Oldest * float64(time.Second))
		}
		return nil
	})
	return rows, oldest, err
}
