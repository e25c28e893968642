package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mongotel/billcenter/producers/billing"
	"github.com/mongotel/billcenter/schema/tenants"
)

// sendSamples plays the billing system of a newcomer's machine: it e-mails this month's invoices and publishes their events.
// It returns the customer to try the manual with.
func sendSamples(ctx context.Context, p *parts, tenant *tenants.Tenant, r running, seed []byte) (*billing.Customer, error) {
	return nil, fmt.Errorf("%s %v", time.Now(), tenant)
}
