package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Each promise is broken on purpose, past every constraint, and is the one that is named.
func TestABrokenPromiseIsNamed(t *testing.T) {
	const unguarded = `SET LOCAL session_replication_role = replica; ` // no triggers, no foreign keys
	for promise, deed := range map[string]string{
		"a code is held by one":      `DROP INDEX enrollments_hold_their_code; UPDATE enrollments SET account = (SELECT min(account) FROM enrollments), code_hash = sha256('')`,
		"who signs up holds":         `DELETE FROM usernames WHERE enrollment = (SELECT min(enrollment::text)::uuid FROM usernames)`,
		"who is activated has":       `UPDATE enrollments SET state = 'activated', activated_at = now() WHERE state = 'registered'; UPDATE enrollment_moves SET to_state = 'activated', action = 'activate'`,
		"every move continues":       `UPDATE enrollments SET state = 'undeliverable' WHERE state = 'registered'`,
		"a link leads":               `UPDATE enrollments SET email = 'elsewhere@example.com'`,
		"facts about an enrollment":  `UPDATE enrollments SET sequence = 0`,
		"an event of billing":        `DELETE FROM inbox`,
		"every stored code":          `UPDATE invoice_emails SET code_key = 'a key that was lost' WHERE code_hash IS NOT NULL`,
		"every number of the funnel": `INSERT INTO funnel_facts (identity, tenant, account_ref, fact, occurred_at, occurred_ns, stream_sequence) VALUES (gen_random_uuid(), 'mongo', 'a1b2c3d4', 'Invited', now(), 1, 1)`,
		"what is due ends":           `UPDATE enrollments SET expires_at = now() - interval '6 minutes'`,
		"what is announced":          `UPDATE outbox SET created_at = now() - interval '6 minutes'`,
		"a registration becomes":     `UPDATE enrollments SET last_mail_at = now() - interval '16 minutes'`,
		"a mail is not left":         `UPDATE mails SET claimed_until = now() - interval '6 minutes'`,
		"no move is one that":        `UPDATE enrollment_moves SET action = 'expire'`,
	} {
		t.Run(promise, func(t *testing.T) {
			s := stage(t)
			s.pending("A-1")
			e, _ := s.pending("A-2")
			_, err := s.ClaimMail(t.Context(), enrollment.Mail{Tenant: mongo, Enrollment: e, Purpose: enrollment.ActivationMail,
				Generation: 1, Number: 1, GiveUpAt: time.Now().Add(time.Hour)})
			ok(t, err)
			if broken := s.brokenPromises(); len(broken) > 0 {
				t.Fatalf("before: %q", broken)
			}
			s.DB.MustExec(`BEGIN; ` + unguarded + deed + `; COMMIT`)
			broken := s.brokenPromises()
			found := false
			for _, b := range broken {
				found = found || strings.HasPrefix(b, promise)
			}
			if !found {
				t.Errorf("broken: %q, want one that begins with %q", broken, promise)
			}
		})
	}
}

func (s *scene) brokenPromises() []string {
	s.t.Helper()
	promises, err := s.Promises(s.t.Context())
	ok(s.t, err)
	var broken []string
	for _, p := range promises {
		if len(p.Broken) > 0 {
			broken = append(broken, p.Name+": "+strings.Join(p.Broken, ", "))
		}
	}
	return broken
}
