package store_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// The database repeats lists that Go owns; a word that only one of them knows would be found by a customer.
func TestTheConstraintsKnowTheSameWords(t *testing.T) {
	s := stage(t)
	word := regexp.MustCompile(`'([a-z-]+)'::text`)
	for _, tt := range []struct {
		table, column string
		want          []string
	}{
		{"enrollments", "state", texts(enrollment.States[:])},
		{"mails", "purpose", texts(enrollment.Purposes[:])},
		{"security_notices", "kind", slices.Clone(events.NoticeKinds[:])},
		{"audit", "action", texts(enrollment.Deeds[:])},
	} {
		definition := storetest.One[string](t, s.Database, `
			SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c
			WHERE c.conrelid = $1::regclass AND c.conname = $2`, tt.table, tt.table+"_"+tt.column+"_check")
		var got []string
		for _, m := range word.FindAllStringSubmatch(definition, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s.%s (-Go +Postgres):\n%s", tt.table, tt.column, diff)
		}
	}
	holding := storetest.One[string](t, s.Database, `SELECT indexdef FROM pg_indexes WHERE indexname = 'enrollments_hold_their_code'`)
	for _, state := range enrollment.States {
		if holds := state.Live() || state == enrollment.Activated; holds != strings.Contains(holding, "'"+string(state)+"'") {
			t.Errorf("holding the code when %s: %t in Go, not so in %s", state, holds, holding)
		}
	}
}

func texts[S ~string](list []S) []string {
	var texts []string
	for _, each := range list {
		texts = append(texts, string(each))
	}
	return texts
}

// known is what the model knows about an enrollment.
type known struct {
	id                   enrollment.ID
	account, username    int
	addresses            []enrollment.Address // by generation, from 1
	state                enrollment.State
	mailedAt, lastMailAt time.Duration // on the model's clock; mailedAt below 0: not mailed
	expiresAt            time.Duration
	resends              int
}

// model is a small telling of the rules, over a clock that only the test moves.
type model struct {
	*scene
	rt    *rapid.T
	run   uint64 // keeps the accounts and names of one random life apart from those of the others
	clock time.Duration
	lives []*known
}

const (
	hold   = 7 * 24 * time.Hour
	window = 72 * time.Hour
)

func (m *model) due(k *known) bool { return k.state.Live() && m.clock >= k.expiresAt }

func (m *model) holder(holds func(*known) bool) *known {
	for _, k := range m.lives {
		if (k.state.Live() || k.state == enrollment.Activated) && holds(k) {
			return k
		}
	}
	return nil
}

func (m *model) address() enrollment.Address {
	return rapid.SampledFrom([]enrollment.Address{"a@company.example", "b@company.example", "c@gmail.com"}).Draw(m.rt, "address")
}

func (m *model) any() *known {
	if len(m.lives) == 0 {
		m.rt.Skip("nobody has registered")
	}
	return rapid.SampledFrom(m.lives).Draw(m.rt, "enrollment")
}

// expect compares an answer with the model's; "" is a yes.
func (m *model) expect(what string, err error, want enrollment.Reason) {
	no, isRefusal := errors.AsType[*enrollment.Refusal](err)
	switch {
	case err != nil && !isRefusal:
		m.rt.Fatalf("%s: %v", what, err)
	case !isRefusal && want != "", isRefusal && no.Reason != want:
		m.rt.Fatalf("%s: %v, want %q", what, err, want)
	}
}

// readdress is the model of a new address.
func (m *model) readdress(k *known, to enrollment.Address) {
	k.addresses = append(k.addresses, to)
	k.state, k.mailedAt, k.lastMailAt, k.expiresAt = enrollment.Registered, -1, m.clock, m.clock+hold
}

func (m *model) Register(*rapid.T) {
	account, name := rapid.IntRange(0, 2).Draw(m.rt, "account"), rapid.IntRange(0, 2).Draw(m.rt, "username")
	to := m.address()
	a := m.form(mongo, fmt.Sprintf("LIFE-%d-%d", m.run, account), "QX4T-88ZK", named(m.t, fmt.Sprintf("life-%d-%d", m.run, name)))
	a.Email = to
	admitted, err := m.register(a)

	k := m.holder(func(k *known) bool { return k.account == account })
	if k != nil && m.due(k) {
		k.state, k = enrollment.Expired, nil
	}
	if k != nil && k.state == enrollment.Activated {
		m.expect("register", err, enrollment.CodeUsed)
		return
	}
	moves := k != nil && (k.addresses[len(k.addresses)-1] != to || k.state == enrollment.Undeliverable)
	if moves && len(k.addresses) > enrollment.MaxCorrections {
		m.expect("register", err, enrollment.TooManyCorrections)
		return
	}
	if other := m.holder(func(o *known) bool { return o.username == name && o != k }); other != nil {
		if !m.due(other) {
			m.expect("register", err, enrollment.UsernameTaken)
			return
		}
		other.state = enrollment.Expired
	}
	m.expect("register", err, "")
	if admitted.Continued != (k != nil) || k != nil && admitted.Enrollment != k.id {
		m.rt.Fatalf("register: %+v", admitted)
	}
	switch {
	case k == nil:
		k = &known{id: admitted.Enrollment, account: account}
		m.lives = append(m.lives, k)
		m.readdress(k, to)
	case moves:
		m.readdress(k, to)
	case m.clock-k.lastMailAt >= enrollment.MailSpacing && k.resends < enrollment.MaxMails:
		k.resends++
		k.lastMailAt = m.clock
	}
	k.username = name
}

func (m *model) ended(k *known) enrollment.Reason {
	switch {
	case k.state == enrollment.Activated:
		return enrollment.LinkUsed
	case k.state.Final() || m.due(k):
		return enrollment.LinkExpired
	}
	return ""
}

func (m *model) Correct(*rapid.T) {
	k, to := m.any(), m.address()
	want := m.ended(k)
	moves := k.addresses[len(k.addresses)-1] != to || k.state == enrollment.Undeliverable
	if want == "" && moves && len(k.addresses) > enrollment.MaxCorrections {
		want = enrollment.TooManyCorrections
	}
	m.expect("correct", m.correct(k.id, to, fmt.Sprint("correct", m.next())), want)
	if want == "" && moves {
		m.readdress(k, to)
	}
}

func (m *model) Resend(*rapid.T) {
	k := m.any()
	want := m.ended(k)
	switch {
	case want != "":
	case m.clock-k.lastMailAt < enrollment.MailSpacing:
		want = enrollment.TooSoon
	case k.resends >= enrollment.MaxMails:
		want = enrollment.TooManyMails
	case k.state == enrollment.Undeliverable && len(k.addresses) > enrollment.MaxCorrections:
		want = enrollment.TooManyCorrections
	}
	m.expect("resend", m.resend(k.id, fmt.Sprint("resend", m.next())), want)
	switch {
	case want != "":
	case k.state == enrollment.Undeliverable:
		m.readdress(k, k.addresses[len(k.addresses)-1])
	default:
		k.resends++
		k.lastMailAt = m.clock
	}
}

func (m *model) MailAccepted(*rapid.T) {
	k := m.any()
	generation := rapid.IntRange(1, len(k.addresses)).Draw(m.rt, "generation")
	ok(m.t, m.RecordMailAccepted(context.Background(), mongo, k.id, uint32(generation), time.Now().Add(time.Minute)))
	if generation == len(k.addresses) && k.state.Live() {
		k.state, k.mailedAt, k.expiresAt = enrollment.Mailed, m.clock, m.clock+window
	}
}

func (m *model) MailRefused(*rapid.T) {
	k := m.any()
	generation := rapid.IntRange(1, len(k.addresses)).Draw(m.rt, "generation")
	ok(m.t, m.RecordMailRefused(context.Background(), mongo, k.id, uint32(generation), time.Now().Add(time.Minute)))
	if generation == len(k.addresses) && k.state.Live() {
		k.state = enrollment.Undeliverable
	}
}

func (m *model) Activate(*rapid.T) {
	k := m.any()
	generation := rapid.IntRange(1, len(k.addresses)).Draw(m.rt, "generation")
	link := m.link(mongo, k.id, uint32(generation), k.addresses[generation-1])
	want := enrollment.Reason("")
	switch {
	case k.state == enrollment.Activated:
		want = enrollment.LinkUsed
	case generation < len(k.addresses):
		want = enrollment.LinkSuperseded
	case k.state.Final() || m.due(k):
		want = enrollment.LinkExpired
	}
	_, err := m.Store.Activate(context.Background(), mongo, link, passwordHash)
	m.expect("activate", err, want)
	if want == "" {
		k.state = enrollment.Activated
	}
}

func (m *model) ExpireDue(*rapid.T) {
	_, err := m.Store.ExpireDue(context.Background(), 100)
	ok(m.t, err)
	for _, k := range m.lives {
		if m.due(k) {
			k.state = enrollment.Expired
		}
	}
}

func (m *model) TimePasses(*rapid.T) {
	by := rapid.SampledFrom([]time.Duration{time.Hour, 30 * time.Hour, 80 * time.Hour}).Draw(m.rt, "time")
	if m.clock+by > 40*24*time.Hour {
		m.rt.Skip("the codes are about to expire")
	}
	m.Pass(m.t, by)
	m.clock += by
}

// Invariants holds after every step.
func (m *model) Invariants(*rapid.T) {
	promises, err := m.Promises(context.Background())
	ok(m.t, err)
	for _, p := range promises {
		if !p.InTime && len(p.Broken) > 0 {
			m.rt.Fatalf("broken: %s: %v", p.Name, p.Broken)
		}
	}
	var states []struct {
		ID    enrollment.ID
		State enrollment.State
	}
	ok(m.t, m.DB.Select(&states, `SELECT id, state FROM enrollments`))
	at := map[enrollment.ID]enrollment.State{}
	for _, e := range states {
		at[e.ID] = e.State
	}
	for _, k := range m.lives {
		if at[k.id] != k.state {
			m.rt.Fatalf("enrollment %s is %s, want %s", k.id, at[k.id], k.state)
		}
	}
}

func TestEveryLifeKeepsTheRules(t *testing.T) {
	s := stage(t)
	rapid.Check(t, func(rt *rapid.T) {
		for _, table := range []string{"memberships", "security_notices", "users"} {
			s.DB.MustExec(`DELETE FROM ` + table)
		}
		s.empty()
		m := &model{scene: s, rt: rt, run: s.next()}
		for account := range 3 {
			s.bills(mongo, invoice(fmt.Sprintf("LIFE-%d-%d", m.run, account), "QX4T-88ZK", daysAgo(1)))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"register": m.Register, "again": m.Register, "correct": m.Correct, "resend": m.Resend, "mail accepted": m.MailAccepted,
			"mail refused": m.MailRefused, "activate": m.Activate, "expire": m.ExpireDue, "time passes": m.TimePasses, "": m.Invariants,
		})
	})
}
