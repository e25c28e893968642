package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	netmail "net/mail"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/codes"
	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/consumers/progress"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/producers/deadlines"
	"github.com/mongotel/billcenter/producers/outbox"
	"github.com/mongotel/billcenter/producers/portal"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/tenants"
)

// parts are what roles are wired from.
type parts struct {
	db       *sqlx.DB
	store    *store.Store
	bus      *bus.Bus
	ring     *keyring.Ring
	tenants  *tenants.Directory
	smtp     mailer.RelayOptions
	proxies  []netip.Prefix
	portal   net.Listener
	staff    net.Listener
	entrance entrance
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *consumers.Metrics

	mailPauses []time.Duration // nil: the mailer's own
	maxDelay   time.Duration   // of a retry; 0: the consumers' own
}

// role is one duty of the process: it works until its context ends, then finishes what it has at hand.
type role struct {
	name string
	run  func(context.Context) error
}

// roleNames lists the roles that `run` takes, in the order in which they stop: first nobody new comes in, then what came in
// is handled, then what was committed goes on the wire, and last the funnel has seen it.
var roleNames = []string{"portal", helpdeskRole, "deadlines", "codes", "mailer", "progress", "relay", "funnel"}

// consumersOf are the durable consumers that a role reads; it refuses to run on foreign settings of theirs.
var consumersOf = map[string]string{"codes": bus.ConsumerCodes, "mailer": bus.ConsumerMailer, "progress": bus.ConsumerProgress, "funnel": bus.ConsumerFunnel}

// roles wires the named ones.
func (p *parts) roles(names []string) ([]role, error) {
	facts := consumers.PublishOn(p.bus)
	var all []role
	for _, name := range roleNames {
		if !slices.Contains(names, name) {
			continue
		}
		r := role{name: name}
		switch name {
		case "portal":
			r.run = p.servePortal
		case helpdeskRole:
			office, err := p.office()
			if err != nil {
				return nil, err
			}
			r.run = func(ctx context.Context) error { return p.serveStaff(ctx, office) }
		case "deadlines":
			r.run = (&deadlines.Keeper{Store: p.store, Log: p.log.With("role", name)}).Run
		case "codes":
			r.run = (&codes.Worker{Bus: p.bus, Store: p.store, Facts: facts, Known: p.tenants.Has, MaxDelay: p.maxDelay, Metrics: p.metrics, Log: p.log.With("role", name)}).Run
		case "mailer":
			m, err := p.mailer(facts)
			if err != nil {
				return nil, err
			}
			r.run = p.worker(bus.ConsumerMailer, m.Routes(), mailer.MaxInFlight).Run
		case "progress":
			w := p.worker(bus.ConsumerProgress, progress.New(p.store, p.log.With("role", name)).Routes(), 4)
			w.Otherwise = consumers.Ignore
			r.run = w.Run
		case "funnel":
			r.run = (&funnel.Worker{Bus: p.bus, Store: p.store, Known: p.tenants.Has, MaxDelay: p.maxDelay, Metrics: p.metrics, Log: p.log.With("role", name)}).Run
		case "relay":
			relay := outbox.New(p.store, facts, p.log.With("role", name))
			p.store.OnOutbox(relay.Wake)
			r.run = relay.Run
		}
		all = append(all, r)
	}
	return all, nil
}

func (p *parts) worker(consumer string, routes []consumers.Route, inFlight int) *consumers.Worker {
	return &consumers.Worker{
		Bus: p.bus, Consumer: consumer, Routes: routes, Known: p.tenants.Has, MaxInFlight: inFlight,
		MaxDelay: p.maxDelay, Metrics: p.metrics, Log: p.log.With("role", consumer),
	}
}

func (p *parts) mailer(facts consumers.Publisher) (*mailer.Mailer, error) {
	relay, err := mailer.NewRelay(p.smtp)
	if err != nil {
		return nil, &usageError{err}
	}
	return mailer.New(mailer.Options{
		Ledger: p.store, Transport: relay, Publisher: facts, Tenant: p.letterhead, LinkKey: p.ring.LinkKeys()[0],
		Pauses: p.mailPauses, Log: p.log.With("role", "mailer"),
	})
}

// letterhead is a tenant as its mails show it.
func (p *parts) letterhead(id string) (mailer.Letterhead, bool) {
	t, ok := p.tenants.ByID(id)
	if !ok {
		return mailer.Letterhead{}, false
	}
	return mailer.Letterhead{
		Name: t.Name, BaseURL: t.BaseURL, Color: t.Brand.Primary, From: netmail.Address{Name: t.Mail.FromName, Address: t.Mail.FromAddress},
		ReplyTo: netmail.Address{Name: t.Name, Address: t.Support.Email},
		Support: mailer.Support{Phone: strings.Join(t.Support.Phones, ", "), ShortCode: t.Support.ShortDial, Email: t.Support.Email, Hours: t.Support.HoursFor},
		Zone:    t.TimeZone, Locales: t.Locales,
	}, true
}

// httpStop is how long requests at hand may take when the process is asked to stop.
const httpStop = 8 * time.Second

func (p *parts) servePortal(ctx context.Context) error {
	log := p.log.With("role", "portal")
	site := portal.New(portal.Options{Store: p.store, Tenants: p.tenants, Keys: p.ring, Log: log, TrustedProxies: p.proxies})
	return serve(ctx, portal.Server(site, log), p.portal)
}

// serve answers until ctx ends, then finishes the requests at hand.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStop)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		return errors.Join(fmt.Errorf("finish the requests on %s: %w", l.Addr(), err), s.Close())
	}
	return nil
}

// supervise runs the roles until ctx ends or one of them fails, then stops them in their order, each after the one before
// it has finished. A role that ends by itself is a failure.
func supervise(ctx context.Context, roles []role, log *slog.Logger) error {
	type end struct {
		name string
		err  error
	}
	ends := make(chan end, len(roles))
	stops := make([]context.CancelFunc, len(roles))
	done := make([]chan struct{}, len(roles))
	var mu sync.Mutex
	var failed error
	for i, r := range roles {
		rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stops[i], done[i] = cancel, make(chan struct{})
		go func() {
			defer close(done[i])
			err := r.run(rctx)
			if err == nil && rctx.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, fmt.Errorf("role %s: %w", r.name, err))
				mu.Unlock()
				log.Error("role failed", "role", r.name, "error", err)
			}
			ends <- end{r.name, err}
		}()
	}
	running := true
	for running {
		select {
		case <-ctx.Done():
			running = false
		case e := <-ends:
			running = e.err == nil
		}
	}
	log.Info("stopping")
	for i := range roles {
		stops[i]()
		<-done[i]
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}
