// Package nats is the configuration of the production broker: the server
// (nats.conf) and who may do what on it (accounts.conf). README.md says who gets
// what, how a tenant is added and how a password is changed. The package has no
// code; it holds the files for natstest, which starts a broker with them, and its
// test tries every permission.
package nats

import "embed"

// Files are nats.conf, accounts.conf, and secrets.example.conf, which lists what
// secrets.conf must define.
//
//go:embed *.conf
var Files embed.FS
