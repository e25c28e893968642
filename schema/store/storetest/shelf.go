package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/schema/store"
)

// A shelf holds the databases that are free. To empty one takes a tenth of what it takes to copy the template.
type shelf struct {
	mu       sync.Mutex
	made     int
	free     []string
	pristine string // the template's structure
}

// take gives a free database, or a new one.
func (s *shelf) take() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // one copy of the template at a time is all that Postgres makes
	if n := len(s.free); n > 0 {
		name := s.free[n-1]
		s.free = s.free[:n-1]
		return name, nil
	}
	s.made++
	name := fmt.Sprintf("test_%d", s.made)
	if _, err := server.admin.Exec(`CREATE DATABASE ` + name + ` TEMPLATE template`); err != nil {
		return "", fmt.Errorf("clone the database: %w", err)
	}
	return name, nil
}

// putBack empties a database for the next test. One whose structure a test has changed stays away.
func (s *shelf) putBack(name string) error {
	if _, err := server.admin.Exec(`ALTER DATABASE ` + name + ` ALLOW_CONNECTIONS true`); err != nil {
		return err
	}
	if err := disconnect(name, ""); err != nil { // who still works for the test must not write into the next one
		return err
	}
	db, err := store.Open(context.Background(), server.pg.URL(name), 1)
	if err != nil {
		return err
	}
	defer db.Close()
	is, err := structure(db)
	if err != nil || is != s.pristine {
		return err
	}
	if err := empty(db); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, name)
	return nil
}

// structure is different where tables, columns, constraints or triggers are. A copy of the template has its very object numbers.
func structure(db *sqlx.DB) (string, error) {
	var s string
	err := db.Get(&s, `
		SELECT md5(string_agg(o, ' ' ORDER BY o)) FROM (
			SELECT concat_ws(' ', 'class', oid, relacl, relchecks, relnatts) FROM pg_class WHERE oid >= 16384 UNION ALL
			SELECT concat_ws(' ', 'constraint', oid) FROM pg_constraint WHERE oid >= 16384 UNION ALL
			SELECT concat_ws(' ', 'trigger', oid, tgenabled) FROM pg_trigger WHERE oid >= 16384) AS objects(o)`)
	return s, err
}

// empty takes away every row but those that the migrations put there.
func empty(db *sqlx.DB) error {
	var all []struct {
		Name string
		Kind string
	}
	if err := db.Select(&all, `
		SELECT quote_ident(relname) AS name, relkind AS kind FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') AND relname NOT LIKE 'goose%'`); err != nil {
		return err
	}
	var clean strings.Builder
	clean.WriteString(`SET LOCAL session_replication_role = replica;`) // no foreign keys in the way, and no triggers that forbid
	for _, o := range all {
		if o.Kind == "S" {
			fmt.Fprintf(&clean, `SELECT setval('%s', 1, false);`, o.Name)
		} else {
			fmt.Fprintf(&clean, `DELETE FROM %s;`, o.Name)
		}
	}
	clean.WriteString(`INSERT INTO funnel_progress DEFAULT VALUES;`)
	tx, err := db.Beginx()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec(clean.String()); err != nil {
		return err
	}
	return tx.Commit()
}
