package localtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports below those that systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere): a server that
// comes back after a kill finds its port still free.
const firstPort, lastPort = 15_000, 32_000

// FreePort finds a TCP port of the loopback address that a server can have again after a restart.
func FreePort(t testing.TB) int {
	t.Helper()
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatalf("no free port from %d to %d: %v", firstPort, lastPort, err)
	return 0
}
