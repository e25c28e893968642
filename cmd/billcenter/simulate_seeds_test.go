//go:build ci

package main

import "testing"

func TestTheFunnelSaysTheTruthAboutMoreSimulatedCustomers(t *testing.T) {
	t.Parallel()
	simulates(t, "2", "3")
}

func TestTheFunnelSaysTheTruthAboutFactsOfMoreSimulatedCustomers(t *testing.T) {
	t.Parallel()
	tells(t, 3)
}
