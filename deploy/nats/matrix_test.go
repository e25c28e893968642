package nats_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// The users, in the order of the table's columns.
const (
	mongo     = "billing-mongo"
	acme      = "billing-acme"
	mailer    = "mailer"
	mailteam  = "mailteam"
	analytics = "analytics"
	core      = "core"
	helpdesk  = "helpdesk"
	operator  = "operator"
	sys       = "sys"
)

var users = []string{mongo, acme, mailer, mailteam, analytics, core, helpdesk, operator, sys}

// topology is what `billcenter migrate` makes of two tenants.
func topology() bus.Topology { return bus.DefaultTopology().ForTenants("mongo", "acme") }

// A row is what a user may do or not: all the subjects, or none of them.
type row struct {
	does     string // a line of the README's table
	subjects []string
	may      []string
	store    bool // they are events, and whoever may publish them has a PubAck
}

// matrix is the whole of it: every subject of the contract for both tenants, every
// call of the JetStream API on every stream and consumer, and what is neither.
func matrix() []row {
	outcomes := []string{"activation-mailed", "activation-mail-failed"}
	isOutcome := func(d events.Definition) bool { return slices.Contains(outcomes, d.Event) }
	rows := []row{
		{
			does:  "publish `billing.mongo.>`",
			store: true, subjects: append(subjectsOf(events.Billing, nil, "mongo"), "billing.mongo.new", "billing.mongo.a.b.c"),
			may: []string{mongo, helpdesk, operator},
		}, {
			does:  "publish `billing.acme.>`",
			store: true, subjects: append(subjectsOf(events.Billing, nil, "acme"), "billing.acme.new", "billing.acme.a.b.c"),
			may: []string{acme, helpdesk, operator},
		}, {
			does:  "publish `billing.>` of any other tenant",
			store: true, subjects: append(subjectsOf(events.Billing, nil, "other"), "billing.mongo-2.new", "billing.acm.new"),
			may: []string{helpdesk, operator},
		}, {
			does:  "publish `mail.*.>`",
			store: true, subjects: subjectsOf(events.Mail, nil, "mongo", "acme"),
			may: []string{core, helpdesk, operator},
		}, {
			does:  "publish `enrollment.*.activation-mailed` and `…-mail-failed`",
			store: true, subjects: subjectsOf(events.Enrollment, isOutcome, "mongo", "acme"),
			may: []string{mailer, mailteam, core, helpdesk, operator},
		}, {
			does:  "publish every other `enrollment.*.>`",
			store: true, subjects: subjectsOf(events.Enrollment, func(d events.Definition) bool { return !isOutcome(d) }, "mongo", "acme"),
			may: []string{core, helpdesk, operator},
		}, {
			does:  "publish `requests.*.>`",
			store: true, subjects: subjectsOf(events.Requests, nil, "mongo", "acme"),
			may: []string{core, operator},
		}, {
			does:  "publish `deadletter.mailer.*`",
			store: true, subjects: []string{"deadletter.mailer.mongo", "deadletter.mailer._"},
			may: []string{mailer, core, operator},
		}, {
			does:  "publish every other `deadletter.*.*`",
			store: true, subjects: []string{"deadletter.codes.mongo", "deadletter.progress.acme", "deadletter.funnel._", "deadletter.analytics.mongo"},
			may: []string{core, operator},
		},
	}
	for _, s := range topology() {
		for _, c := range s.Consumers {
			// The second form of an acknowledgement also fits a pattern that others
			// might be given, `$JS.ACK.*.*.MAIL.mailer.>`.
			readers := map[string][]string{
				bus.ConsumerCodes:            {core},
				bus.ConsumerMailer:           {mailer, mailteam, core},
				bus.ConsumerProgress:         {core},
				bus.ConsumerFunnel:           {core},
				bus.ConsumerAnalytics:        {analytics},
				bus.BillingConsumer("mongo"): {mongo},
				bus.BillingConsumer("acme"):  {acme},
			}[c.Name]
			rows = append(rows, row{
				does: fmt.Sprintf("read and acknowledge `%s` as `%s`", s.Name, c.Name),
				subjects: []string{
					"$JS.API.CONSUMER.MSG.NEXT." + s.Name + "." + c.Name,
					"$JS.ACK." + s.Name + "." + c.Name + ".1.999999.999999.1.0",
					"$JS.ACK." + s.Name + "." + c.Name + ".MAIL.mailer.1.999999.1",
				},
				may: append(readers, operator),
			}, row{
				does:     fmt.Sprintf("look at `%s`", c.Name),
				subjects: []string{"$JS.API.CONSUMER.INFO." + s.Name + "." + c.Name},
				may:      append(slices.DeleteFunc(slices.Clone(readers), func(u string) bool { return u == core }), core, operator),
			})
		}
	}
	return append(rows,
		row{
			does:     "look at `DEADLETTER`",
			subjects: []string{"$JS.API.STREAM.INFO.DEADLETTER"},
			may:      []string{core, helpdesk, operator},
		}, row{
			does:     "look at another stream",
			subjects: slices.DeleteFunc(eachStream("$JS.API.STREAM.INFO.%s"), aboutDeadLetters),
			may:      []string{core, operator},
		}, row{
			does:     "read and delete dead letters",
			subjects: []string{"$JS.API.DIRECT.GET.DEADLETTER", "$JS.API.STREAM.MSG.DELETE.DEADLETTER"},
			may:      []string{helpdesk, operator},
		}, row{
			does:     "purge `BILLING`",
			subjects: []string{"$JS.API.STREAM.PURGE.BILLING"},
			may:      []string{core, operator},
		}, row{
			does:     "purge another stream",
			subjects: slices.DeleteFunc(eachStream("$JS.API.STREAM.PURGE.%s"), func(s string) bool { return strings.HasSuffix(s, ".BILLING") }),
			may:      []string{operator},
		}, row{
			does: "read a stream without a consumer in any other way",
			subjects: append(slices.DeleteFunc(eachStream("$JS.API.DIRECT.GET.%s"), aboutDeadLetters),
				eachStream("$JS.API.STREAM.MSG.GET.%s", "$JS.API.DIRECT.GET.%s.x.mongo.y", "$JS.API.STREAM.SNAPSHOT.%s")...),
			may: []string{operator},
		}, row{
			does: "create, change or delete a stream or another message",
			subjects: append(slices.DeleteFunc(eachStream("$JS.API.STREAM.MSG.DELETE.%s"), aboutDeadLetters), append(eachStream("$JS.API.STREAM.CREATE.%s",
				"$JS.API.STREAM.UPDATE.%s", "$JS.API.STREAM.DELETE.%s", "$JS.API.STREAM.RESTORE.%s"), "$JS.API.STREAM.CREATE.OTHER")...),
			may: []string{operator},
		}, row{
			does: "create, change or delete a consumer",
			subjects: append(eachStream("$JS.API.CONSUMER.CREATE.%s", "$JS.API.CONSUMER.CREATE.%s.x", "$JS.API.CONSUMER.CREATE.%s.x.y.>", "$JS.API.CONSUMER.DURABLE.CREATE.%s.x"),
				eachConsumer("$JS.API.CONSUMER.CREATE.%s.%s", "$JS.API.CONSUMER.DELETE.%s.%s", "$JS.API.CONSUMER.PAUSE.%s.%s",
					"$JS.API.CONSUMER.UNPIN.%s.%s", "$JS.API.CONSUMER.RESET.%s.%s")...),
			may: []string{operator},
		}, row{
			does: "list streams or consumers, ask for the account",
			subjects: append(eachStream("$JS.API.CONSUMER.NAMES.%s", "$JS.API.CONSUMER.LIST.%s"),
				"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST"),
			may: []string{operator},
		}, row{
			does:     "ask the server, `$SYS.REQ.>`",
			subjects: []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.CORE.INFO"},
			may:      []string{sys},
		}, row{
			does: "publish anything else",
			subjects: []string{
				"billing.mongo", "mail", "enrollment.mongo", "requests.mongo", "deadletter", "other.mongo.event",
				"_INBOX.somebody.else", "_R_.somebody.else", "$SRV.PING", "$JS.FC.BILLING.codes.x", "$JS.EVENT.ADVISORY.API", "$SYS.ACCOUNT.CORE.CONNECT",
				"$JS.ACK.hub.hash.MAIL.mailer.1.999999.999999.1.0.x",
				"$JS.API.CONSUMER.MSG.NEXT.MAIL.other", "$JS.API.CONSUMER.MSG.NEXT.BILLING.mailer",
			},
		})
}

func subjectsOf(domain events.Domain, only func(events.Definition) bool, tenants ...string) []string {
	var all []string
	for _, d := range events.Catalog() {
		if d.Domain != domain || only != nil && !only(d) {
			continue
		}
		for _, tenant := range tenants {
			all = append(all, d.Subject(tenant))
		}
	}
	return all
}

func aboutDeadLetters(subject string) bool {
	return strings.HasSuffix(subject, "."+bus.StreamDeadLetter)
}

func eachStream(patterns ...string) []string {
	var all []string
	for _, s := range topology() {
		for _, p := range patterns {
			all = append(all, fmt.Sprintf(p, s.Name))
		}
	}
	return all
}

func eachConsumer(patterns ...string) []string {
	var all []string
	for _, s := range topology() {
		for _, c := range s.Consumers {
			for _, p := range patterns {
				all = append(all, fmt.Sprintf(p, s.Name, c.Name))
			}
		}
	}
	return all
}

// table is the matrix as the README shows it.
func table() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, u := range users {
		b.WriteString(" `" + u + "` |")
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(users)) + "\n")
	for _, r := range matrix() {
		b.WriteString("| " + r.does + " |")
		for _, u := range users {
			if slices.Contains(r.may, u) {
				b.WriteString(" yes |")
			} else {
				b.WriteString(" · |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
