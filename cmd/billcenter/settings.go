package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/tenants"
)

// services are the flags with which a command finds what it works with. What is not given is taken from the `up` that runs
// on the data folder, so that on one machine no command needs a flag.
type services struct {
	DataDir     string `help:"Folder of an 'up' on this machine; what the other flags leave out is taken from it." default:".billcenter" placeholder:"DIR"`
	DatabaseURL string `help:"Postgres, as a URL. Better in the environment: arguments can be read by others on the machine." aliases:"database" placeholder:"URL"`
	NatsURL     string `help:"NATS server, or several with commas." placeholder:"URL"`
	NatsCreds   string `help:"NATS credentials file." type:"path" placeholder:"FILE"`
	NatsCA      string `help:"PEM file of the certificate authority of the NATS server." name:"nats-ca" type:"path" placeholder:"FILE"`
	KeyRing     string `help:"Key ring file; made by 'up', or by 'migrate --new-key-ring'." type:"path" placeholder:"FILE"`
	Tenants     string `help:"Tenants file (YAML). Without it the one tenant is the built-in mongo." type:"path" placeholder:"FILE"`
	PortalURL   string `help:"Base URL of the built-in tenant's portal, for the links in mails; ignored with --tenants." default:"http://localhost:8080" placeholder:"URL"`

	up *running // the `up` that was found in the data folder; nil: none
}

// running is what `up` tells about itself, in its ready file and, for the other commands, in its data folder.
type running struct {
	Portal    string `json:"portal"`
	Staff     string `json:"staff"`
	StaffLink string `json:"staffLink"` // lets staff in, once
	Ops       string `json:"ops"`
	NATS      string `json:"nats"`
	SMTP      string `json:"smtp"`
	Inbox     string `json:"inbox"`
	Database  string `json:"database"`
	PID       int    `json:"pid"`
}

const runningFile = "running.json"

// complete fills in what was not given from the data folder.
func (s *services) complete() error {
	ring := filepath.Join(s.DataDir, "keyring.json")
	if _, err := os.Stat(ring); err == nil && s.KeyRing == "" {
		s.KeyRing = ring
	}
	b, err := os.ReadFile(filepath.Join(s.DataDir, runningFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("what runs on %s: %w", s.DataDir, err)
	}
	var up running
	if err := json.Unmarshal(b, &up); err != nil {
		return fmt.Errorf("what runs on %s: %w", s.DataDir, err)
	}
	s.up = &up
	if s.DatabaseURL == "" {
		s.DatabaseURL = up.Database
	}
	if s.NatsURL == "" {
		s.NatsURL = up.NATS
		s.PortalURL = up.Portal
	}
	return nil
}

func (s *services) directory() (*tenants.Directory, error) {
	if s.Tenants == "" {
		return tenants.Mongotel(s.PortalURL)
	}
	d, err := tenants.Load(s.Tenants)
	if err != nil {
		return nil, &usageError{err}
	}
	return d, nil
}

func (s *services) ring() (*keyring.Ring, error) {
	if s.KeyRing == "" {
		return nil, &usageError{errors.New("--key-ring (BILLCENTER_KEY_RING) is missing: codes, links and dead letters cannot be read without the key ring file")}
	}
	r, err := keyring.Load(s.KeyRing)
	if err != nil {
		return nil, &usageError{err}
	}
	return r, nil
}

func (s *services) database(ctx context.Context, size int) (*sqlx.DB, error) {
	if s.DatabaseURL == "" {
		return nil, &usageError{errors.New("--database-url (BILLCENTER_DATABASE_URL) is missing, and no 'billcenter up' runs on " + s.DataDir)}
	}
	return store.Open(ctx, s.DatabaseURL, size)
}

func (s *services) broker(ctx context.Context, name string, wait bool, sealer bus.Sealer, log *slog.Logger) (*bus.Bus, error) {
	if s.NatsURL == "" {
		return nil, &usageError{errors.New("--nats-url (BILLCENTER_NATS_URL) is missing, and no 'billcenter up' runs on " + s.DataDir)}
	}
	directory, err := s.directory()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range directory.All() {
		ids = append(ids, t.ID)
	}
	return bus.Dial(ctx, bus.Options{
		Topology: bus.DefaultTopology().ForTenants(ids...),
		URL:      s.NatsURL, Name: "billcenter " + name, CredentialsFile: s.NatsCreds, RootCAFile: s.NatsCA,
		WaitForBroker: wait, Sealer: sealer, Log: log,
	})
}

// store opens the store that commands work on.
func (s *services) store(ctx context.Context) (*store.Store, func() error, error) {
	directory, err := s.directory()
	if err != nil {
		return nil, nil, err
	}
	ring, err := s.ring()
	if err != nil {
		return nil, nil, err
	}
	db, err := s.database(ctx, 4)
	if err != nil {
		return nil, nil, err
	}
	return store.New(db, ring, directory.Policy), db.Close, nil
}

// logging are the flags about the log.
type logging struct {
	LogLevel  string `help:"Least level that is logged: ${enum}." enum:"debug,info,warn,error" default:"info"`
	LogFormat string `help:"Form of the log: ${enum}." enum:"json,text" default:"json"`
}

func (l logging) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.LogLevel)); err != nil {
		level = slog.LevelInfo // cannot be: kong checks the enum
	}
	options := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// printJSON writes a value for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
