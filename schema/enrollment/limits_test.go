package enrollment_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestWaitsDoubleUpToAQuarterOfAnHour(t *testing.T) {
	for level, want := range map[int]time.Duration{
		-1: 0, 0: 0,
		1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 4: 4 * time.Minute, 5: 8 * time.Minute,
		6: 15 * time.Minute, 7: 15 * time.Minute, 1 << 30: 15 * time.Minute,
	} {
		if got := enrollment.Wait(level); got != want {
			t.Errorf("Wait(%d) = %s, want %s", level, got, want)
		}
	}
}

func TestSourceKey(t *testing.T) {
	for _, tt := range []struct {
		name, source, key string
	}{
		{"an IPv4 address is itself", "203.0.113.7", "203.0.113.7/32"},
		{"mapped into IPv6 it is the same", "::ffff:203.0.113.7", "203.0.113.7/32"},
		{"an IPv6 address is its /64", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"a neighbour in it is the same", "2001:db8:1:2::1", "2001:db8:1:2::/64"},
		{"a zone does not count", "fe80::1%eth0", "fe80::/64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := enrollment.SourceKey(netip.MustParseAddr(tt.source)); got != tt.key {
				t.Errorf("SourceKey = %s, want %s", got, tt.key)
			}
		})
	}
	if got := enrollment.SourceKey(netip.Addr{}); got != "unknown" {
		t.Errorf("SourceKey of no address = %q", got)
	}
}
