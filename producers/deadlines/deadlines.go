// Package deadlines says what time says: enrollments whose window has passed expire and release their code and username,
// those of accounts that billing closed are cancelled, staff's views of a customer's pages end, and what is kept only for a
// while is forgotten. The database's clock decides; this package only asks it to, now and then.
package deadlines

import (
	"context"
	"log/slog"
	"time"
)

// Store carries out what is due by its own clock.
type Store interface {
	ExpireDue(ctx context.Context, limit int) (int, error)
	CancelClosed(ctx context.Context, limit int) (int, error)
	EndViews(ctx context.Context, limit int) (int, error)
	Forget(ctx context.Context) (int, error)
}

// Keeper looks for what is due. Any number of keepers may run: each takes what no other holds.
type Keeper struct {
	Store Store
	Log   *slog.Logger
	// Every is the pause between two looks; 0: a second. An expired enrollment is treated as such before it is looked at, so
	// the pause decides only when the fact is told.
	Every time.Duration
}

const (
	batchSize   = 500
	forgetEvery = 10 * time.Minute
	workTime    = 15 * time.Second
)

// Run looks until ctx ends. An outage of the database is waited for.
func (k *Keeper) Run(ctx context.Context) error {
	every := k.Every
	if every <= 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var forgotten time.Time
	for {
		k.end(ctx, "enrollments", "expired", k.Store.ExpireDue)
		k.end(ctx, "enrollments", "cancelled", k.Store.CancelClosed)
		k.end(ctx, "views", "ended", k.Store.EndViews)
		if time.Since(forgotten) >= forgetEvery && k.forget(ctx) {
			forgotten = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// end has the store end what is due, batch by batch, until nothing is left to.
func (k *Keeper) end(ctx context.Context, what, how string, verb func(context.Context, int) (int, error)) {
	for ctx.Err() == nil {
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTime)
		n, err := verb(work, batchSize)
		cancel()
		if err != nil {
			k.Log.WarnContext(ctx, what+" not "+how+" yet", "error", err)
			return
		}
		if n > 0 {
			k.Log.InfoContext(ctx, what+" "+how, "count", n)
		}
		if n < batchSize {
			return
		}
	}
}

// forget reports whether it succeeded.
func (k *Keeper) forget(ctx context.Context) bool {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTime)
	defer cancel()
	if _, err := k.Store.Forget(work); err != nil {
		k.Log.WarnContext(ctx, "what is over is not forgotten yet", "error", err)
		return false
	}
	return true
}
