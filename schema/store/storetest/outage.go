package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/schema/store"
)

// aside is what the connections are called that outages spare, so that a test can look at what it did.
const aside = "aside"

// Disconnect ends every connection but those of Aside, whatever it is doing, as a restart of the server does.
func (d *Database) Disconnect(t testing.TB) {
	t.Helper()
	d.asAdmin(t, func(admin *sqlx.DB, name string) {
		if _, err := admin.Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1 AND application_name <> $2`, name, aside); err != nil {
			t.Errorf("disconnect %s: %v", name, err)
		}
	})
}

// Down takes the database away, as an outage does: connections end and no new ones are accepted, until Up.
func (d *Database) Down(t testing.TB) {
	t.Helper()
	d.accept(t, false)
	d.Disconnect(t)
}

// Up brings back what Down took away.
func (d *Database) Up(t testing.TB) {
	t.Helper()
	d.accept(t, true)
}

func (d *Database) accept(t testing.TB, connections bool) {
	t.Helper()
	d.asAdmin(t, func(admin *sqlx.DB, name string) {
		statement := fmt.Sprintf(`ALTER DATABASE %s ALLOW_CONNECTIONS %t`, name, connections)
		if _, err := admin.Exec(statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	})
}

// asAdmin works from another database of the same server.
func (d *Database) asAdmin(t testing.TB, work func(admin *sqlx.DB, name string)) {
	t.Helper()
	admin, err := store.Open(context.Background(), server.pg.URL("postgres"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	work(admin, d.name)
}
