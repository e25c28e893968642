package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { Main(m) }

// A test gets what the one before it had, and cannot tell.
func TestAReturnedDatabaseIsAsNew(t *testing.T) {
	rows := func(d *Database) map[string]int {
		all := map[string]int{}
		var tables []string
		if err := d.DB.Select(&tables, `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`); err != nil {
			t.Fatal(err)
		}
		for _, name := range tables {
			all[name] = One[int](t, d, `SELECT count(*) FROM `+name)
		}
		return all
	}
	var fresh map[string]int
	var first string
	t.Run("first", func(t *testing.T) {
		d := New(t)
		fresh, first = rows(d), d.name
		d.DB.MustExec(`INSERT INTO audit (actor, action, subject, reason) VALUES ('ada', 'sign-in', 'herself', '')`)
		d.DB.MustExec(`DELETE FROM funnel_progress`)
		d.Down(t)
	})
	t.Run("second", func(t *testing.T) {
		d := New(t)
		if d.name != first {
			t.Fatalf("got %s, want %s again", d.name, first)
		}
		if diff := cmp.Diff(fresh, rows(d)); diff != "" {
			t.Errorf("rows (-new +returned):\n%s", diff)
		}
		d.DB.MustExec(`ALTER TABLE audit DISABLE TRIGGER ALL`)
	})
	t.Run("third", func(t *testing.T) {
		if d := New(t); d.name == first {
			t.Error("a database with a changed structure is given to the next test")
		}
	})
}
