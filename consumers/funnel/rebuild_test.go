package funnel_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers/funnel"
)

func TestARebuildGivesByteEqualRows(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := crowd(t, 80)
	for i, o := range all[:200] {
		all = append(all, again(o, i))
	}
	broken := again(all[0], -1)
	broken.Data = bytes.ReplaceAll(broken.Data, []byte(`{`), []byte(`[`))
	all = append(all, broken)
	rand.New(rand.NewPCG(3, 3)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	s.publishes(all...)
	stop := s.run(s.worker())
	eventually(t, "all is taken", s.read)
	stop()
	rows, watermark := s.rows(), s.watermark()
	s.db.Aside.MustExec(`UPDATE funnel_journeys SET registered_at = NULL WHERE account_ref LIKE '%3'`)

	got, err := funnel.Rebuild(t.Context(), s.Bus, s.db, isMongo)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, s.rows()); diff != "" {
		t.Errorf("journeys (-before +after):\n%s", diff)
	}
	if got.Before == got.After || got.After != s.digest() || got.Facts != len(all)-1 || got.Skipped != 1 {
		t.Errorf("told %+v of a rebuild that mended journeys", got)
	}
	if got, err = funnel.Rebuild(t.Context(), s.Bus, s.db, isMongo); err != nil || got.Before != got.After {
		t.Errorf("told %+v of a rebuild that changed nothing, %v", got, err)
	}
	if !s.watermark().Equal(watermark) {
		t.Error("the watermark moved")
	}
}

func TestARebuildWhileTheWorkerRuns(t *testing.T) {
	t.Parallel()
	all := crowd(t, 100)
	want, digest := inOrder(t, all)
	s := open(t)
	s.publishes(all[:len(all)/2]...)
	s.run(s.worker())
	rebuilt := make(chan error, 1)
	go func() {
		for range 5 {
			if _, err := funnel.Rebuild(context.Background(), s.Bus, s.db, isMongo); err != nil {
				rebuilt <- err
				return
			}
		}
		rebuilt <- nil
	}()
	for batch := range slices.Chunk(all[len(all)/2:], 20) {
		s.publishes(batch...)
	}
	if err := <-rebuilt; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is taken", s.read)
	if diff := cmp.Diff(want, s.rows()); diff != "" {
		t.Errorf("journeys (-want +got):\n%s", diff)
	}
	if s.digest() != digest {
		t.Error("the journeys' facts differ")
	}
}
