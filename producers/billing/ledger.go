package billing

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ledger is what the sample billing run remembers between starts: the secret that its codes derive from, and what it sent.
type ledger struct {
	path   string
	Secret []byte       `json:"secret"`
	Months []*sentMonth `json:"months"`
}

// sentMonth is one tenant's run of a month.
type sentMonth struct {
	Tenant   string    `json:"tenant"`
	Month    string    `json:"month"` // YYYY-MM
	At       time.Time `json:"at"`    // of the e-mails
	Accounts []string  `json:"accounts"`
}

func (m *sentMonth) sent(account string) bool { return slices.Contains(m.Accounts, account) }

func openLedger(path string) (*ledger, error) {
	l := &ledger{path: path}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		l.Secret = make([]byte, 32)
		rand.Read(l.Secret)
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(l.Secret) < 32 {
		return nil, fmt.Errorf("%s: the secret is missing or short; remove the file to begin anew", path)
	}
	return l, nil
}

// month finds the tenant's run of a month or begins it. Its time is on disk before anything is sent.
func (l *ledger) month(tenant string, at time.Time) (*sentMonth, error) {
	name := at.Format("2006-01")
	for _, m := range l.Months {
		if m.Tenant == tenant && m.Month == name {
			return m, nil
		}
	}
	m := &sentMonth{Tenant: tenant, Month: name, At: at, Accounts: []string{}}
	l.Months = append(l.Months, m)
	return m, l.save()
}

func (l *ledger) markSent(m *sentMonth, account string) error {
	m.Accounts = append(m.Accounts, account)
	return l.save()
}

// save replaces the file as a whole, so that a crash leaves the old one or the new one.
func (l *ledger) save() error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(l.path), filepath.Base(l.path)+".*") // readable by its owner only
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then, unless something failed
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), l.path)
}
