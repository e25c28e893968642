package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/producers/helpdesk"
	"github.com/mongotel/billcenter/producers/portal"
	"github.com/mongotel/billcenter/schema/enrollment"
)

const helpdeskRole = "helpdesk"

// entrance is how staff come in: by a provider, or by a link that works once.
type entrance struct {
	oidc *helpdesk.OIDC
	link string
}

// newLink makes the token of a link.
func newLink() entrance { return entrance{link: rand.Text()} }

// staffFlags say where the back office is and who vouches for its staff.
type staffFlags struct {
	StaffAddr            string `help:"Address of the back office." default:"127.0.0.1:8090"`
	StaffURL             string `help:"How staff reach the back office; its /oidc/callback is the redirect URI at the provider." name:"staff-url" placeholder:"URL"`
	OIDCIssuer           string `help:"OpenID provider of the staff; without it there is no back office." name:"oidc-issuer" placeholder:"URL"`
	OIDCClientID         string `help:"What the provider calls the back office." name:"oidc-client-id" placeholder:"ID"`
	OIDCClientSecretFile string `help:"File with the client's secret; none: a public client." type:"path" name:"oidc-client-secret-file" placeholder:"FILE"`
	OIDCRolesClaim       string `help:"Claim that holds the roles agent, supervisor, analyst, operator; dots lead into objects." name:"oidc-roles-claim" default:"roles"`
}

func (f staffFlags) entrance() (entrance, error) {
	for _, missing := range []struct{ flag, value string }{{"--oidc-issuer", f.OIDCIssuer}, {"--oidc-client-id", f.OIDCClientID}, {"--staff-url", f.StaffURL}} {
		if missing.value == "" {
			return entrance{}, &usageError{fmt.Errorf("%s is missing: the back office lets in nobody for whom no provider vouches", missing.flag)}
		}
	}
	o := &helpdesk.OIDC{BaseURL: strings.TrimSuffix(f.StaffURL, "/"), Issuer: f.OIDCIssuer, ClientID: f.OIDCClientID, RolesClaim: f.OIDCRolesClaim}
	if f.OIDCClientSecretFile != "" {
		b, err := os.ReadFile(f.OIDCClientSecretFile)
		if err != nil {
			return entrance{}, &usageError{fmt.Errorf("--oidc-client-secret-file: %w", err)}
		}
		o.ClientSecret = enrollment.Secret(strings.TrimRight(string(b), "\r\n"))
	}
	return entrance{oidc: o}, nil
}

// office wires the back office.
func (p *parts) office() (*backOffice, error) {
	log := p.log.With("role", helpdeskRole)
	var ids []string
	for _, t := range p.tenants.All() {
		ids = append(ids, t.ID)
	}
	reports := funnel.New(p.store, zonesOf(p.tenants))
	pages := funnel.NewPages(reports, funnel.PagesOptions{Layout: helpdesk.Layout(), Tenants: ids, Log: log})
	site, err := helpdesk.New(helpdesk.Options{
		Store: p.store, Letters: letters{p.bus}, Tenants: ids, Customers: portal.NewViewer(portal.Options{Store: p.store, Tenants: p.tenants, Log: log}), Funnel: pages, Log: log, Link: p.entrance.link, OIDC: p.entrance.oidc,
	})
	if err != nil {
		return nil, &usageError{fmt.Errorf("--staff-url: %w", err)}
	}
	return &backOffice{site, reports}, nil
}

// backOffice is its pages and what they read from.
type backOffice struct {
	site    http.Handler
	reports *funnel.Funnel
}

// manyJourneys take some 30 MB of memory.
const manyJourneys = 100_000

func (p *parts) serveStaff(ctx context.Context, office *backOffice) error {
	log := p.log.With("role", helpdeskRole)
	go func() { // so that not the first who looks waits for every journey to be read
		if err := office.reports.Refresh(ctx); err != nil && ctx.Err() == nil {
			log.Warn("read the journeys ahead", "error", err)
		}
		if os.Getenv("GOGC") == "" && office.reports.Size() > manyJourneys {
			debug.SetGCPercent(100) // what main allows is meant for a few megabytes
		}
	}()
	return serve(ctx, portal.Server(office.site, log), p.staff)
}

// letters are the broker's dead letters as the back office sees them.
type letters struct{ bus *bus.Bus }

func (l letters) All(ctx context.Context) ([]helpdesk.Letter, error) {
	var all []helpdesk.Letter
	for d, err := range l.bus.DeadLetters(ctx, bus.DeadLetterFilter{}) {
		if err != nil && d.ID == 0 {
			return nil, err
		}
		if err != nil {
			d.Reason = "unreadable" // shown, so that it can be dropped
		}
		all = append(all, letterOf(d))
	}
	slices.Reverse(all)
	return all, nil
}

func (l letters) Letter(ctx context.Context, id uint64) (helpdesk.Letter, error) {
	d, err := l.bus.DeadLetter(ctx, id)
	return letterOf(d), noLetter(err)
}

func (l letters) Replay(ctx context.Context, id uint64) error { return noLetter(l.bus.Replay(ctx, id)) }
func (l letters) Drop(ctx context.Context, id uint64) error   { return noLetter(l.bus.Drop(ctx, id)) }

func noLetter(err error) error {
	if errors.Is(err, bus.ErrNoDeadLetter) {
		return helpdesk.ErrNoLetter
	}
	return err
}

func letterOf(d bus.DeadLetter) helpdesk.Letter {
	return helpdesk.Letter{
		ID: d.ID, Consumer: d.Consumer, Tenant: d.Tenant, Subject: d.Subject, Source: d.Source, EventID: d.EventID, Type: d.Type, Reason: d.Reason, Detail: d.Detail,
		Stream: d.Stream, Sequence: d.Sequence, Deliveries: d.Deliveries, Parked: d.Parked, StoredAt: d.StoredAt, DeadAt: d.DeadAt,
	}
}
