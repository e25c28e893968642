package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// sampleTenant is whose billing run the demo plays.
const sampleTenant = "mongo"

// samples plays the billing system of a newcomer's machine: it e-mails this month's invoices and publishes their events. It
// returns the customer to follow the manual with; nil without a demo.
func (c *upCommand) samples(ctx context.Context, m *machine, r running) (*billing.Customer, error) {
	tenant, ok := m.tenants.ByID(sampleTenant)
	if c.NoDemo || !ok {
		return nil, nil
	}
	customers, err := billing.SampleRun{
		Tenant: tenant.ID, Source: events.Source(tenant.ID, "billing"), Ledger: filepath.Join(c.DataDir, "billing.json"),
		Publish: publisherOn(m.bus), Telecom: tenant.Name, PortalURL: tenant.BaseURL,
		SupportPhone: strings.Join(tenant.Support.Phones, ", "), SupportEmail: tenant.Support.Email, SMTPAddr: m.smtp.Address,
	}.Send(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	for _, c := range customers {
		if err := m.known(ctx, tenant.ID, c.AccountNumber); err != nil {
			return nil, err
		}
	}
	return &customers[0], nil
}

// known waits until an account's events are stored: whoever reads the sample mail can sign up at once.
func (m *machine) known(ctx context.Context, tenant, account string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		d, err := m.store.Dossier(ctx, tenant, account)
		if err != nil && !errors.Is(err, enrollment.ErrUnknown) {
			return err
		}
		if d.CompanyName != "" { // the invoice's, not another event's
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the sample invoice of account %s is not stored: %w", account, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
