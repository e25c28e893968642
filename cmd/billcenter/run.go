package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
)

type runCommand struct {
	services
	logging
	Roles []string `arg:"" name:"role" help:"Roles to run: portal, helpdesk, relay, codes, mailer, progress, funnel, deadlines, or all; helpdesk is one of all where --oidc-issuer is given."`

	PortalAddr     string   `help:"Address of the portal." default:"127.0.0.1:8080"`
	OpsAddr        string   `help:"Address of health checks, metrics and profiles." default:"127.0.0.1:9090"`
	TrustedProxies []string `help:"Networks of the proxies whose X-Forwarded-For is believed." placeholder:"CIDR"`
	DatabasePool   int      `help:"Connections to Postgres that the process holds at most." default:"20"`
	smtpFlags
	staffFlags
}

// smtpFlags say which mail server takes the mails.
type smtpFlags struct {
	SMTPAddr         string `help:"SMTP server, host:port." default:"127.0.0.1:1025" name:"smtp-addr"`
	SMTPSecurity     string `help:"How the connection to it is protected: ${enum}. none is for this machine only." enum:"starttls,tls,none" default:"starttls" name:"smtp-security"`
	SMTPUser         string `help:"User at the SMTP server; none: no log-in." name:"smtp-user"`
	SMTPPasswordFile string `help:"File with the password; never a flag, since arguments can be read by others." type:"path" name:"smtp-password-file" placeholder:"FILE"`
	SMTPHello        string `help:"Name given in EHLO." default:"localhost" name:"smtp-hello"`
}

func (f smtpFlags) options() (mailer.RelayOptions, error) {
	o := mailer.RelayOptions{Address: strings.TrimPrefix(f.SMTPAddr, "smtp://"), Security: mailer.Security(f.SMTPSecurity), Username: f.SMTPUser, HelloName: f.SMTPHello}
	if f.SMTPPasswordFile == "" {
		if f.SMTPUser != "" {
			return o, &usageError{errors.New("--smtp-password-file is missing for --smtp-user")}
		}
		return o, nil
	}
	b, err := os.ReadFile(f.SMTPPasswordFile)
	if err != nil {
		return o, &usageError{fmt.Errorf("--smtp-password-file: %w", err)}
	}
	o.Password = enrollment.Secret(strings.TrimRight(string(b), "\r\n"))
	return o, nil
}

func (c *runCommand) names() ([]string, error) {
	for _, n := range c.Roles {
		if n != "all" && !slices.Contains(roleNames, n) {
			return nil, &usageError{fmt.Errorf("unknown role %q: there are %s, and all", n, strings.Join(roleNames, ", "))}
		}
	}
	if slices.Contains(c.Roles, "all") {
		all := slices.Clone(roleNames)
		if c.OIDCIssuer == "" && !slices.Contains(c.Roles, helpdeskRole) {
			all = slices.DeleteFunc(all, func(n string) bool { return n == helpdeskRole })
		}
		return all, nil
	}
	return c.Roles, nil
}

func (c *runCommand) Run(in *invocation) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	if err := c.complete(); err != nil {
		return err
	}
	log := c.logger(in.stderr)
	p := &parts{log: log, registry: newRegistry()}
	if p.smtp, err = c.options(); err != nil {
		return err
	}
	if slices.Contains(names, helpdeskRole) {
		if p.entrance, err = c.entrance(); err != nil {
			return err
		}
	}
	for _, cidr := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return &usageError{fmt.Errorf("--trusted-proxies: %w", err)}
		}
		p.proxies = append(p.proxies, prefix)
	}
	if p.tenants, err = c.directory(); err != nil {
		return err
	}
	if p.ring, err = c.ring(); err != nil {
		return err
	}
	if p.db, err = c.database(in, c.DatabasePool); err != nil {
		return err
	}
	defer p.db.Close()
	p.store = store.New(p.db, p.ring, p.tenants.Policy)
	if missing, err := pendingMigrations(in, p); err != nil {
		return err
	} else if missing > 0 {
		return fmt.Errorf("the database lacks %d migrations of this version: run `billcenter migrate`", missing)
	}
	if p.bus, err = c.broker(in, strings.Join(names, " "), false, p.ring.DeadLetters(), log); err != nil {
		return err
	}
	defer p.bus.Close()
	var read []string
	for role, consumer := range consumersOf {
		if slices.Contains(names, role) {
			read = append(read, consumer)
		}
	}
	if len(read) > 0 {
		if err := p.bus.Verify(in, read...); err != nil {
			return err
		}
	}
	if slices.Contains(names, "portal") {
		if p.portal, err = listen("--portal-addr", c.PortalAddr); err != nil {
			return err
		}
		defer p.portal.Close()
	}
	if slices.Contains(names, helpdeskRole) {
		if p.staff, err = listen("--staff-addr", c.StaffAddr); err != nil {
			return err
		}
		defer p.staff.Close()
	}
	opsListener, err := listen("--ops-addr", c.OpsAddr)
	if err != nil {
		return err
	}
	p.metrics = consumers.NewMetrics(p.registry)
	p.registry.MustRegister(newBacklogs(p.store, p.bus, log))
	return p.work(in, names, opsListener)
}

// work runs roles and the operator's listener until the process is asked to stop. The listener stops last: it says 503 while
// the others finish.
func (p *parts) work(in *invocation, names []string, opsListener net.Listener) error {
	roles, err := p.roles(names)
	if err != nil {
		return err
	}
	o := &ops{parts: p}
	go func() {
		<-in.Done()
		o.draining.Store(true)
	}()
	roles = append(roles, role{"ops", func(ctx context.Context) error { return o.serve(ctx, opsListener) }})
	p.log.Info("started", "roles", names, "ops", opsListener.Addr().String())
	err = supervise(in, roles, p.log)
	p.log.Info("stopped")
	return err
}

// listen names the flag when an address cannot be had.
func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, taken(flag, addr, err)
	}
	return l, nil
}
