package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
)

// fills puts n announcements into the outbox.
func (s *scene) fills(n int) {
	s.t.Helper()
	_, err := s.DB.Exec(`INSERT INTO outbox (subject, msg_id, body) SELECT 'enrollment.mongo.registered', 'source#' || n, '{}' FROM generate_series(1, $1) AS n`, n)
	ok(s.t, err)
}

func (s *scene) waiting() []string {
	s.t.Helper()
	ids := []string{}
	ok(s.t, s.DB.Select(&ids, `SELECT msg_id FROM outbox ORDER BY id`))
	return ids
}

func ids(batch []events.Encoded) []string {
	ids := make([]string, len(batch))
	for i, e := range batch {
		ids[i] = e.MsgID
	}
	return ids
}

func TestARowIsDeletedOnceItIsPublished(t *testing.T) {
	s := stage(t)
	s.pending("100482-7") // a fact and a mail
	all := s.waiting()
	down := errors.New("the broker is away")
	var tried, published []string
	n, err := s.Carry(t.Context(), 10, nil, func(_ context.Context, batch []events.Encoded) error {
		tried = ids(batch)
		return down
	})
	if !errors.Is(err, down) || n != 0 {
		t.Errorf("carried %d, error %v", n, err)
	}
	if diff := cmp.Diff(all, s.waiting()); diff != "" {
		t.Errorf("after a failure (-before +now):\n%s", diff)
	}
	n, err = s.Carry(t.Context(), 10, nil, func(_ context.Context, batch []events.Encoded) error {
		published = ids(batch)
		for _, e := range batch {
			if _, err := events.Decode(e.Subject, e.Header, e.Body); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil || n != 2 || !slices.Equal(tried, published) || !slices.Equal(all, published) {
		t.Errorf("carried %d, %v: tried %v, published %v of %v", n, err, tried, published, all)
	}
	if left := s.waiting(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	n, err = s.Carry(t.Context(), 10, nil, func(context.Context, []events.Encoded) error {
		t.Error("published an empty batch")
		return nil
	})
	if n != 0 || err != nil {
		t.Errorf("carried %d, %v", n, err)
	}
}

func TestTheOldestAreCarriedFirstAndNoMoreThanAsked(t *testing.T) {
	s := stage(t)
	s.fills(1)
	s.DB.MustExec(`ANALYZE outbox`) // the planner expects one row and would run a subquery again for each
	s.DB.MustExec(`DELETE FROM outbox`)
	s.fills(5)
	all := s.waiting()
	for _, want := range [][]string{all[:2], all[2:4], all[4:]} {
		var got []string
		n, err := s.Carry(t.Context(), 2, nil, func(_ context.Context, batch []events.Encoded) error { got = ids(batch); return nil })
		ok(t, err)
		if diff := cmp.Diff(want, got); diff != "" || n != len(want) {
			t.Errorf("carried %d (-want +got):\n%s", n, diff)
		}
	}
}

func TestTwoRelaysCarryDifferentRows(t *testing.T) {
	s := stage(t)
	s.fills(6)
	all := s.waiting()
	var first, second, third []string
	_, err := s.Carry(t.Context(), 3, nil, func(ctx context.Context, batch []events.Encoded) error {
		first = ids(batch)
		_, err := s.Carry(ctx, 10, nil, func(_ context.Context, batch []events.Encoded) error { second = ids(batch); return nil })
		return err
	})
	ok(t, err)
	if !slices.Equal(first, all[:3]) || !slices.Equal(second, all[3:]) {
		t.Errorf("carried %v and %v of %v", first, second, all)
	}

	// What a relay that fails had in its hands goes to the next one.
	s.fills(2)
	_, err = s.Carry(t.Context(), 1, nil, func(context.Context, []events.Encoded) error { return errors.New("killed") })
	if err == nil {
		t.Error("no error")
	}
	_, err = s.Carry(t.Context(), 10, nil, func(_ context.Context, batch []events.Encoded) error { third = ids(batch); return nil })
	ok(t, err)
	if len(third) != 2 {
		t.Errorf("carried %v, want both", third)
	}
}

func TestTheBacklogTellsHowLongTheOldestWaits(t *testing.T) {
	s := stage(t)
	if rows, oldest, err := s.Backlog(t.Context()); rows != 0 || oldest != 0 || err != nil {
		t.Errorf("%d rows, %s, %v", rows, oldest, err)
	}
	s.fills(2)
	s.Pass(t, time.Hour)
	s.fills(1)
	if rows, oldest, err := s.Backlog(t.Context()); rows != 3 || oldest < time.Hour || oldest > time.Hour+time.Minute || err != nil {
		t.Errorf("%d rows, %s, %v", rows, oldest, err)
	}
}
