package portal

import (
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestSource(t *testing.T) {
	ours := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name      string
		proxies   []netip.Prefix
		peer      string
		forwarded []string
		want      string
	}{
		{"a direct client is the peer", nil, "203.0.113.7:4711", nil, "203.0.113.7"},
		{"a client cannot claim another address", nil, "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		{"not even where there are proxies, when it is none of them", ours, "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		{"a proxy of ours is believed", ours, "10.0.0.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"but only for the address that it saw itself", ours, "10.0.0.1:80", []string{"192.0.2.99, 198.51.100.1"}, "198.51.100.1"},
		{"a chain of our proxies is followed", ours, "10.0.0.1:80", []string{"192.0.2.99, 198.51.100.1, 10.0.0.3", "10.0.0.2"}, "198.51.100.1"},
		{"a proxy that says nothing is itself the source", ours, "10.0.0.1:80", nil, "10.0.0.1"},
		{"a proxy that says rubbish is itself the source", ours, "10.0.0.1:80", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		{"ports are dropped", ours, "10.0.0.1:80", []string{"198.51.100.1:55555"}, "198.51.100.1"},
		{"brackets are dropped", ours, "[fd00::1]:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"an IPv4 address mapped into IPv6 is the IPv4 address", nil, "[::ffff:203.0.113.7]:4711", nil, "203.0.113.7"},
		{"a peer without an address is nobody", nil, "@", nil, "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			if got := source(r, c.proxies).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAutomated(t *testing.T) {
	const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"
	const safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.0 Mobile/15E148 Safari/604.1"
	for _, c := range []struct {
		name   string
		header map[string]string
		want   bool
	}{
		{"Chrome, clicked", map[string]string{"User-Agent": chrome, "Accept-Language": "en-US", "Sec-Fetch-Mode": "navigate"}, false},
		{"an old Safari, which sends no Sec-Fetch-Mode", map[string]string{"User-Agent": safari, "Accept-Language": "en-US"}, false},
		{"Chrome, fetching ahead", map[string]string{"User-Agent": chrome, "Accept-Language": "en-US", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch;prerender"}, true},
		{"a program that calls itself Chrome", map[string]string{"User-Agent": chrome, "Accept-Language": "en-US"}, true},
		{"a program that speaks no language", map[string]string{"User-Agent": safari}, true},
		{"a library", map[string]string{"User-Agent": "Go-http-client/1.1", "Accept-Language": "en-US"}, true},
		{"a preview in a chat", map[string]string{"User-Agent": "Mozilla/5.0 (compatible; Slackbot-LinkExpanding 1.0)", "Accept-Language": "en-US"}, true},
		{"a page's script", map[string]string{"User-Agent": chrome, "Accept-Language": "en-US", "Sec-Fetch-Mode": "cors"}, true},
		{"nothing said at all", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/activate/x", nil)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			if got := automated(r, true); got != c.want {
				t.Errorf("automated: %v, want %v", got, c.want)
			}
		})
	}
}
