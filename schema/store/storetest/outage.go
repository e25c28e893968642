package storetest

import (
	"fmt"
	"testing"
)

// aside is what the connections are called that outages spare, so that a test can look at what it did.
const aside = "aside"

// Disconnect ends every connection but those of Aside, whatever it is doing, as a restart of the server does.
func (d *Database) Disconnect(t testing.TB) {
	t.Helper()
	if err := disconnect(d.name, aside); err != nil {
		t.Errorf("disconnect %s: %v", d.name, err)
	}
}

// disconnect ends the connections to a database but those of one application.
func disconnect(database, spared string) error {
	_, err := server.admin.Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1 AND application_name <> $2`, database, spared)
	return err
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
	statement := fmt.Sprintf(`ALTER DATABASE %s ALLOW_CONNECTIONS %t`, d.name, connections)
	if _, err := server.admin.Exec(statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}
