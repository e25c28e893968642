package portal

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// source says whose tries are counted: the peer's, unless the peer is one of our proxies. Then it is the right-most
// address in X-Forwarded-For that is not a proxy of ours; everything left of that one can be invented by the client.
// An unreadable peer gives the zero Addr.
func source(r *http.Request, proxies []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	from := plain(peer.Addr())
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !contains(proxies, from) {
			return from
		}
		before, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			return from
		}
		from = before
	}
	return from
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parseHop reads an address with or without a port; proxies write both.
func parseHop(s string) (netip.Addr, error) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return plain(withPort.Addr()), nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return plain(a), err
}

// plain makes one address of the forms that one client can have.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
