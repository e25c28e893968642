package local

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// keptData is a data folder that the tests share one after the other, since initdb
// takes most of a test's time. Whoever counts rows starts with none.
func keptData(t *testing.T) string {
	t.Helper()
	dataDir := filepath.Join(os.Getenv(folderVariable), "postgres")
	p := startPostgres(t, PostgresOptions{DataDir: dataDir})
	query(t, p.URL(""), `DROP TABLE IF EXISTS starts`)
	stopPostgres(t, p)
	return dataDir
}

func startPostgres(t *testing.T, opts PostgresOptions) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func stopPostgres(t *testing.T, p *Postgres) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
}

// query runs statements and returns the first value of the last one's rows.
func query(t *testing.T, url, statements string) (value string) {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(statements)
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; more = rows.NextResultSet() {
		for rows.Next() {
			if err := rows.Scan(&value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return value
}

// addRow adds a row to a table of its own and says how many there are now.
func addRow(t *testing.T, url string) (rows string) {
	t.Helper()
	return query(t, url, `CREATE TABLE IF NOT EXISTS starts (); INSERT INTO starts DEFAULT VALUES; SELECT count(*) FROM starts`)
}

func TestPostgresKeepsItsDataBetweenRuns(t *testing.T) {
	dataDir := keptData(t)
	for _, run := range []string{"1", "2"} {
		p := startPostgres(t, PostgresOptions{DataDir: dataDir})
		if rows := addRow(t, p.URL("")); rows != run {
			t.Fatalf("run %s finds %s rows", run, rows)
		}
		stopPostgres(t, p)
		select {
		case <-p.Done():
		default:
			t.Error("Done is open after Stop")
		}
		if err := p.Err(); err != nil {
			t.Errorf("Err after Stop: %v", err)
		}
	}
	left, err := filepath.Glob(dataDir + ".*")
	if err != nil || len(left) != 1 || left[0] != dataDir+".lock" {
		t.Errorf("beside the data stand %q after Stop, want the lock file only", left)
	}
}

func TestPostgresIsSafeUnlessThrownAway(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts PostgresOptions
		want map[string]string
	}{
		{
			"a kept database writes through and takes 100 connections, on a socket only",
			PostgresOptions{},
			map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "100", "shared_buffers": "128MB", "listen_addresses": ""},
		},
		{
			"a thrown-away one does not write through, and settings come last",
			PostgresOptions{Throwaway: true, Settings: map[string]string{"max_connections": "7", "full_page_writes": "on"}},
			map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "on", "max_connections": "7"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.DataDir = keptData(t)
			p := startPostgres(t, tt.opts)
			for name, want := range tt.want {
				if got := query(t, p.URL(""), `SHOW `+name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestPostgresURLServesPsqlAndOtherDatabases(t *testing.T) {
	// So long a path does not fit into the name of a socket.
	folder := filepath.Join(t.TempDir(), strings.Repeat("long ", 30))
	p := startPostgres(t, PostgresOptions{DataDir: filepath.Join(folder, "postgres"), Throwaway: true, Database: "it's", User: "bob"})

	psql := exec.Command(p.binaries.path("psql"), p.URL(""), "-XAtc", "SELECT current_database() || ' ' || current_user")
	out, err := psql.CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "it's bob" {
		t.Errorf("psql says %q, %v", got, err)
	}
	addRow(t, p.URL("postgres"))
}

func TestPostgresSurvivesTheKillOfItsProcess(t *testing.T) {
	dataDir := keptData(t)
	killed := startHolder(t, os.Args[0], dataDir, nil)
	addRow(t, killed.url(t))
	killed.kill(t)

	p := startPostgres(t, PostgresOptions{DataDir: dataDir})
	if rows := addRow(t, p.URL("")); rows != "2" {
		t.Errorf("%s rows after the kill, want 2", rows)
	}
}

func TestPostgresReportsItsOwnEnd(t *testing.T) {
	p, err := StartPostgres(t.Context(), PostgresOptions{DataDir: keptData(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Err() == nil {
		t.Error("Err is nil after the server was killed")
	}
	if p.Stop() == nil {
		t.Error("Stop says nothing of the server's early end")
	}
}

func TestPostgresDoesNotStealTheFolderOfALivingProcess(t *testing.T) {
	dataDir := keptData(t)
	first := startPostgres(t, PostgresOptions{DataDir: dataDir})

	_, err := StartPostgres(t.Context(), PostgresOptions{DataDir: dataDir})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second start: %v, want a refusal", err)
	}
	addRow(t, first.URL(""))
}

func TestPostgresNeverDeletesWhatItDidNotMake(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string // beside or in the data folder
		want string // in the error
	}{
		{"data of another major version is refused", "postgres/PG_VERSION", "was made by PostgreSQL 9, but only"},
		{"a folder with other things in it is refused", "postgres/invoices.csv", "never deleted"},
		{"a folder named like ours for initdb is refused", "postgres.initdb/invoices.csv", "not deleted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, tt.file)
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("9\n"), 0o600); err != nil {
				t.Fatal(err)
			}

			_, err := StartPostgres(t.Context(), PostgresOptions{DataDir: filepath.Join(folder, "postgres")})

			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if content, err := os.ReadFile(file); string(content) != "9\n" {
				t.Errorf("%s holds %q afterwards, %v", tt.file, content, err)
			}
		})
	}
}

// TestPostgresRecoversFromAKilledInitdb kills a process whose initdb has got as far
// as a folder that looks like a cluster.
func TestPostgresRecoversFromAKilledInitdb(t *testing.T) {
	installed, err := findPostgres(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	bin, dataDir := filepath.Join(folder, "bin"), filepath.Join(folder, "postgres")
	script := "#!/bin/sh\nmkdir \"$2\" && echo " + installed.major() + " > \"$2\"/PG_VERSION && exec sleep 600\n"
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "initdb"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(installed.path("postgres"), filepath.Join(bin, "postgres")); err != nil {
		t.Fatal(err)
	}
	killed := startHolder(t, os.Args[0], dataDir, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, postgresBinVariable+"="+bin)
	})
	until(t, "initdb has begun", func() bool {
		found, err := filepath.Glob(filepath.Join(folder, "*", "*", "PG_VERSION"))
		return err == nil && len(found) > 0
	})
	killed.kill(t)

	p := startPostgres(t, PostgresOptions{DataDir: dataDir, Throwaway: true})
	addRow(t, p.URL(""))
	if _, err := os.Stat(dataDir + ".initdb"); !os.IsNotExist(err) {
		t.Errorf("the half-made cluster is still there: %v", err)
	}
}

// TestPostgresPassesByAForeignProcessNumber leaves the file of a killed server in
// the folder, with the number of another program's process.
func TestPostgresPassesByAForeignProcessNumber(t *testing.T) {
	dataDir := keptData(t)
	p := startPostgres(t, PostgresOptions{DataDir: dataDir})
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	stopPostgres(t, p)

	stranger := exec.Command("sleep", "600")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	_, rest, _ := strings.Cut(string(content), "\n")
	stale := fmt.Sprintf("%d\n%s", stranger.Process.Pid, rest)
	if err := os.WriteFile(filepath.Join(dataDir, "postmaster.pid"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.identity.own(filepath.Join(dataDir, "postmaster.pid")); err != nil {
		t.Fatal(err)
	}

	addRow(t, startPostgres(t, PostgresOptions{DataDir: dataDir}).URL(""))
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the foreign process: %v, want it to live on", err)
	}
}

func TestMissingPostgresSaysHowToInstallIt(t *testing.T) {
	for _, want := range []string{"apt-get install postgresql", "brew install postgresql@17", "or give a database URL"} {
		if !strings.Contains(errNoPostgres.Error(), want) {
			t.Errorf("%q does not say %q", errNoPostgres, want)
		}
	}

	t.Setenv(postgresBinVariable, t.TempDir())
	_, err := StartPostgres(context.Background(), PostgresOptions{DataDir: filepath.Join(t.TempDir(), "postgres")})
	if err == nil || !strings.Contains(err.Error(), postgresBinVariable) {
		t.Errorf("a folder without binaries: %v, want an error that names %s", err, postgresBinVariable)
	}
}

func TestCompareVersions(t *testing.T) {
	rising := []string{"9.6.24", "14.9", "15.2", "15.10", "18beta1"}
	for i, a := range rising {
		for j, b := range rising {
			if got := compareVersions(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("compareVersions(%s, %s) = %d", a, b, got)
			}
		}
	}
	if got := (installation{version: "18beta1"}).major(); got != "18" {
		t.Errorf("major of 18beta1 is %s", got)
	}
}
