// Package local is what Bill Center stands on when there is nothing but one
// machine: a private PostgreSQL, an embedded NATS JetStream broker and an SMTP
// inbox with a page to read it. `billcenter up` and the tests run on it.
//
// Each of the three keeps its state in a folder of its own, survives the kill -9
// of its process, and holds that folder against a second process. They are not
// for production: no replicas, no backups, and no password between them and
// whoever may connect to this machine's loopback addresses.
//
// The package knows nothing of Bill Center's messages, tables or mails. It needs
// a Unix: it switches users, locks files and signals processes.
package local
