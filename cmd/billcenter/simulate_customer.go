package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// stage is where customers are played: one tenant's portal and the inbox that its mails go to.
type stage struct {
	base   string // of the tenant's pages
	portal string // host:port that they are served on; empty: as base says
	mails  *mailbox
	slots  chan struct{} // customers at work at once
	hurry  bool          // nobody waits for the minute between two mails
	taken  string        // a username that somebody has
}

// player is one customer at work.
type player struct {
	*stage
	simulation.Customer
	account  string
	codes    []string // as e-mailed, the oldest first
	address  netip.Addr
	username string
	email    string
	password string
	*browser
}

// play leads the customer where the fate says. Every answer is checked: a customer who was refused for another reason, or
// not at all, would make the truth a lie.
func (s *stage) play(ctx context.Context, p *player) error {
	p.stage, p.password = s, rand.Text()
	p.browser = newBrowser(s.base, s.portal, p.address, personsAgent)
	defer p.browser.close()
	if err := p.way(ctx); err != nil {
		return fmt.Errorf("account %s (%s): %w", p.account, p.Fate, err)
	}
	return nil
}

func (p *player) way(ctx context.Context) error {
	switch p.Fate {
	case simulation.NeverCame:
		return nil
	case simulation.GaveUpAtOnce:
		return p.errs(ctx, 1)
	case simulation.WrongCodes:
		return p.errs(ctx, 3)
	case simulation.MadeToWait:
		return p.waits(ctx)
	case simulation.ExpiredCode, simulation.SupersededCode:
		return refused(p.signUp(ctx, p.account, p.codes[0], p.email, p.username))
	case simulation.UsernameClash:
		return refused(p.signUp(ctx, p.account, p.codes[0], p.email, p.taken))
	case simulation.Bounced:
		return p.bounces(ctx)
	}
	if err := p.detour(ctx); err != nil {
		return err
	}
	return p.follow(ctx)
}

// detour leads to where a mail is in the inbox.
func (p *player) detour(ctx context.Context) error {
	switch p.Fate {
	case simulation.WrongCodeFirst:
		if err := p.errs(ctx, 1); err != nil {
			return err
		}
	case simulation.Corrected:
		right := p.email
		if err := p.bounces(ctx); err != nil {
			return err
		}
		return p.corrects(ctx, right)
	case simulation.TwoColleagues:
		if err := p.registers(ctx, p.codes[0], "colleague."+p.email, p.username+".colleague"); err != nil {
			return err
		}
		return p.registers(ctx, p.codes[1], p.email, p.username)
	}
	if err := p.registers(ctx, p.codes[0], p.email, p.username); err != nil {
		return err
	}
	switch p.Fate {
	case simulation.CorrectedInVain:
		return p.corrects(ctx, "second."+p.email)
	case simulation.RegisteredTwice:
		p.email = "second." + p.email
		return p.registers(ctx, p.codes[0], p.email, p.username)
	case simulation.AskedAgain:
		return p.asksAgain(ctx)
	}
	return nil
}

// follow is what the customer does with the mail, as far as the fate goes.
func (p *player) follow(ctx context.Context) error {
	switch p.Fate {
	case simulation.NeverOpened, simulation.CorrectedInVain:
		return nil
	}
	link, err := p.mails.link(ctx, p.email, 1)
	if err != nil {
		return err
	}
	if p.Fate == simulation.MachineOnly || p.Fate == simulation.MachineFirst {
		scanner := newBrowser(p.stage.base, p.portal, p.address, scannerAgent)
		defer scanner.close()
		if _, err := scanner.open(ctx, link); err != nil {
			return err
		}
		if p.Fate == simulation.MachineOnly {
			return nil
		}
	}
	if p.Fate == simulation.NoPassword { // two that differ, and no third try
		s, err := p.send(ctx, link, link, map[string]string{"password": p.password, "password_confirmation": rand.Text()})
		return refused(s, err)
	}
	s, err := p.send(ctx, link, link, map[string]string{"password": p.password, "password_confirmation": p.password})
	if err := led("/login", s, err); err != nil || p.Fate == simulation.NeverSignedIn {
		return err
	}
	return p.uses(ctx)
}

// uses signs in, looks at the invoices unless the fate says otherwise, and leaves.
func (p *player) uses(ctx context.Context) error {
	views, times := true, 1
	switch p.Fate {
	case simulation.ViewedNothing:
		views = false
	case simulation.CameBackForNone:
		views, times = false, 2
	}
	for range times {
		s, err := p.send(ctx, "/login", "/login", map[string]string{"username": p.username, "password": p.password})
		if err := led("/account", s, err); err != nil {
			return err
		}
		if views {
			s, err = p.send(ctx, "/account", "/logout", nil)
		} else { // the button stands on the page that shows the invoices
			s, err = p.ask(ctx, http.MethodPost, "/logout", url.Values{})
		}
		if err := led("/login", s, err); err != nil {
			return err
		}
	}
	return nil
}

// signUp fills in the form.
func (p *player) signUp(ctx context.Context, account, code, email, username string) (screen, error) {
	return p.send(ctx, "/signup", "/signup", map[string]string{
		"account_number": account, "registration_code": code, "email": email, "username": username,
	})
}

// registers signs up and waits until the mail is accepted: who read it sooner could activate before the funnel's third step.
func (p *player) registers(ctx context.Context, code, email, username string) error {
	s, err := p.signUp(ctx, p.account, code, email, username)
	if err := led("/signup/check-email", s, err); err != nil {
		return err
	}
	return p.waitFor(ctx, "We sent it to")
}

// bounces registers with an address that no mail reaches (RFC 2606) and waits until the page knows.
func (p *player) bounces(ctx context.Context) error {
	p.email = strings.TrimSuffix(p.email, "example") + "invalid"
	s, err := p.signUp(ctx, p.account, p.codes[0], p.email, p.username)
	if err := led("/signup/check-email", s, err); err != nil {
		return err
	}
	return p.waitFor(ctx, "Our e-mail did not reach you")
}

func (p *player) corrects(ctx context.Context, email string) error {
	p.email = email
	s, err := p.send(ctx, "/signup/check-email", "/signup/email", map[string]string{"email": email})
	if err := led("/signup/check-email", s, err); err != nil {
		return err
	}
	return p.waitFor(ctx, "We sent it to")
}

// asksAgain waits for the minute that lies between two mails, without keeping others from going on. Who is in a hurry asks
// too soon, is told so, and finds the first mail.
func (p *player) asksAgain(ctx context.Context) error {
	if !p.hurry {
		<-p.slots
		err := pause(ctx, enrollment.MailSpacing+time.Second)
		p.slots <- struct{}{}
		if err != nil {
			return err
		}
	}
	s, err := p.send(ctx, "/signup/check-email", "/signup/resend", nil)
	if p.hurry {
		return toldToWait(s, err)
	}
	if err := led("/signup/check-email", s, err); err != nil {
		return err
	}
	_, err = p.mails.link(ctx, p.email, 2)
	return err
}

// errs types codes that nobody was sent.
func (p *player) errs(ctx context.Context, times int) error {
	for range times {
		if err := refused(p.signUp(ctx, p.account, rand.Text()[:12], p.email, p.username)); err != nil {
			return err
		}
	}
	return nil
}

// waits comes from an address that is one wrong try away from having to wait, after somebody had tried accounts that do not
// exist. The wait is the account's only other fact: with more tries of its own it would be the wrong codes' fault.
func (p *player) waits(ctx context.Context) error {
	for i := range enrollment.WrongTriesOnTenant - 1 {
		nobody := p.account + "-" + strconv.Itoa(i/(enrollment.WrongTriesOnAccount-1))
		if err := refused(p.signUp(ctx, nobody, rand.Text()[:12], p.email, p.username)); err != nil {
			return err
		}
	}
	if err := p.errs(ctx, 1); err != nil {
		return err
	}
	s, err := p.signUp(ctx, p.account, p.codes[0], p.email, p.username)
	return toldToWait(s, err)
}

// waitFor reloads the page about the mail until it says something.
func (p *player) waitFor(ctx context.Context, words string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		s, err := p.open(ctx, "/signup/check-email")
		if err != nil || s.says(words) {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the page about the mail does not say %q: %w", words, err)
		}
	}
}

// led checks that an answer leads to a page.
func led(to string, s screen, err error) error {
	if err == nil && (s.status != http.StatusSeeOther || s.location != to) {
		return fmt.Errorf("was answered %d instead of being led to %s", s.status, to)
	}
	return err
}

// refused checks that an answer shows the form again.
func refused(s screen, err error) error {
	if err == nil && s.status != http.StatusUnprocessableEntity {
		return fmt.Errorf("was answered %d instead of being refused", s.status)
	}
	return err
}

// toldToWait checks that an answer asks for patience.
func toldToWait(s screen, err error) error {
	if err == nil && (s.status != http.StatusTooManyRequests || s.wait == "") {
		return fmt.Errorf("was answered %d instead of being told to wait", s.status)
	}
	return err
}
