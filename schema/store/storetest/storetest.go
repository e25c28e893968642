// Package storetest gives each test a real database of its own, migrated, with a store on it and a clock that can be moved.
// One throw-away Postgres serves the tests of one binary, in memory where there is room; without Postgres' binaries a test fails
// and says what to install.
package storetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/deploy/local/localtest"
	"github.com/mongotel/billcenter/schema"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
)

// Database is what a test works on.
type Database struct {
	*store.Store
	DB    *sqlx.DB // the store's connections
	Aside *sqlx.DB // the test's own, which outages spare
	URL   string
	Ring  *keyring.Ring

	name string
}

// Tenants that the store of a test knows: Mongo has the default policy, in Zeros leading zeros are optional.
const (
	Mongo = "mongo"
	Zeros = "zeros"
)

// Policy tells the policies of the tenants above.
func Policy(tenant string) (enrollment.Policy, bool) {
	p := enrollment.DefaultPolicy()
	p.LeadingZerosOptional = tenant == Zeros
	return p, tenant == Mongo || tenant == Zeros
}

// server is the binary's Postgres, started by the first test that needs it.
var server struct {
	sync.Once
	pg     *local.Postgres
	admin  *sqlx.DB // on a database that no test uses
	folder string
	err    error
	shelf  shelf
}

// Main runs a package's tests and takes their Postgres away afterwards: TestMain calls it.
func Main(m *testing.M) {
	if err := localtest.UseMemory(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if server.admin != nil {
		server.admin.Close()
	}
	if server.pg != nil {
		if err := server.pg.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the tests' Postgres:", err)
			code = 1
		}
	}
	if err := os.RemoveAll(server.folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func start() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "billcenter-test-")
	if err != nil {
		return err
	}
	server.folder = dir
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres may run as another user
		return err
	}
	server.pg, err = local.StartPostgres(ctx, local.PostgresOptions{DataDir: filepath.Join(dir, "postgres"), Database: "template", Throwaway: true})
	if err != nil {
		return err
	}
	if server.admin, err = store.Open(ctx, server.pg.URL("postgres"), 4); err != nil {
		return err
	}
	db, err := store.Open(ctx, server.pg.URL("template"), 2)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := schema.Migrate(ctx, db.DB); err != nil {
		return err
	}
	server.shelf.pristine, err = structure(db)
	return err
}

// New gives a test a database that is as the migrations leave it.
func New(t testing.TB) *Database {
	t.Helper()
	server.Do(func() { server.err = start() })
	if server.err != nil {
		t.Fatal(server.err)
	}
	name, err := server.shelf.take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the pools below are closed
		if err := server.shelf.putBack(name); err != nil {
			t.Errorf("clean the database up for the next test: %v", err)
		}
	})
	url := server.pg.URL(name)
	db := connect(t, url)
	ring := Ring(t)
	return &Database{
		Store: store.New(db, ring, Policy), DB: db, Aside: connect(t, url+"&application_name="+aside), URL: url, Ring: ring, name: name,
	}
}

// connect opens a pool that is closed with the test.
func connect(t testing.TB, url string) *sqlx.DB {
	t.Helper()
	db, err := store.Open(context.Background(), url, 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Ring makes a key ring for a test.
func Ring(t testing.TB) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// Pass lets time pass: every instant in the database moves into the past by d, so what was due in an hour is overdue.
func (d *Database) Pass(t testing.TB, by time.Duration) {
	t.Helper()
	var tables []struct {
		Name  string `db:"table_name"`
		Moves string `db:"moves"`
	}
	if err := d.DB.Select(&tables, `
		SELECT table_name, string_agg(format('%1$I = %1$I - make_interval(secs => $1)', column_name), ', ') AS moves FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type = 'timestamp with time zone' GROUP BY table_name ORDER BY table_name`); err != nil {
		t.Fatal(err)
	}
	// The audit trail's trigger lets nobody change it, time excepted.
	trail := func(verb string) { d.DB.MustExec(`ALTER TABLE audit ` + verb + ` TRIGGER audit_is_only_added_to`) }
	trail("DISABLE")
	defer trail("ENABLE")
	for _, table := range tables { // a row's instants at once, or a CHECK that compares them would object
		if _, err := d.DB.Exec(fmt.Sprintf(`UPDATE %q SET %s`, table.Name, table.Moves), by.Seconds()); err != nil {
			t.Fatalf("let time pass in %s: %v", table.Name, err)
		}
	}
}

// One returns a query's single value, for assertions about what is stored.
func One[T any](t testing.TB, d *Database, query string, args ...any) T {
	t.Helper()
	var v T
	if err := d.Aside.Get(&v, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}
