package store_test

import (
	"context"
	"os"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// before returns a database of its own as the first n migrations leave it, and a function that applies the rest.
func before(t *testing.T, n int64) (db *sqlx.DB, migrate func()) {
	t.Helper()
	d := storetest.New(t)
	d.Aside.MustExec(`CREATE SCHEMA earlier`)
	db, err := store.Open(t.Context(), d.URL+"&search_path=earlier", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p, err := goose.NewProvider(goose.DialectPostgres, db.DB, os.DirFS("../migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return db, func() {
		t.Helper()
		if _, err := schema.Migrate(context.Background(), db.DB); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEventsKeptBeforeTheirIdentityWasHashedAreStillKnown(t *testing.T) {
	db, migrate := before(t, 1)
	var batch []events.Received
	for i, id := range []string{"e-1", "Ünï-ç✓", "with blank and 'quote'"} {
		r := event(t, mongo, "//b", id, uint64(i+10), invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
		batch = append(batch, r)
		// A fingerprint of another key ring: what is known by its identity, but not by its content, is told apart.
		db.MustExec(`INSERT INTO inbox (tenant, source, event_id, type, fingerprint, stream_sequence) VALUES ($1, $2, $3, $4, $5, $6)`,
			r.Tenant, r.Source, r.ID, string(r.Definition.Type), make([]byte, 32), i+1)
	}
	migrate()
	receipts, err := store.New(db, storetest.Ring(t), storetest.Policy).TakeBilling(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range receipts {
		if r.Fault == nil || r.Fault.Field != "id" {
			t.Errorf("%s: %+v, want it to be known", batch[i].ID, r)
		}
	}
}

func TestAPendingSignUpOfBeforeWasSentWhenItWasRegistered(t *testing.T) {
	db, migrate := before(t, 5)
	db.MustExec(`INSERT INTO accounts (tenant, account_key, ref) VALUES ('mongo', '1004827', 'ref')`)
	db.MustExec(`
		INSERT INTO enrollments (id, tenant, account, code_hash, state, username, username_key, email, registered_at, expires_at)
		SELECT gen_random_uuid(), 'mongo', id, decode(repeat('00', 32), 'hex'), 'registered', 'ada', 'ada', 'ada@company.example', '2026-11-20 08:00Z', '2026-11-27 08:00Z'
		FROM accounts`)
	migrate()
	var same bool
	if err := db.Get(&same, `SELECT signed_up_at = registered_at AND signed_up_with = '' FROM enrollments`); err != nil || !same {
		t.Errorf("%t, %v", same, err)
	}
}

func TestTheAuditTrailOutlivesItsNewDeeds(t *testing.T) {
	db, migrate := before(t, 5)
	const line = `INSERT INTO audit (actor, action, subject, reason) VALUES ('idp|7', $1, '100482-7', 'caller asked for it')`
	db.MustExec(line, "unlock")
	if _, err := db.Exec(line, "view-as"); err == nil {
		t.Error("the deed was known before")
	}
	migrate()
	for _, d := range enrollment.Deeds {
		db.MustExec(line, string(d))
	}
	if _, err := db.Exec(line, "shout-at"); err == nil {
		t.Error("takes a deed that is none")
	}
	trail, err := store.New(db, storetest.Ring(t), storetest.Policy).Audit(t.Context(), "idp|7", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(enrollment.Deeds) + 1; len(trail) != n || trail[n-1].Deed != enrollment.Unlocked {
		t.Errorf("the trail has %d lines, want %d, the first of them kept: %+v", len(trail), n, trail)
	}
}
