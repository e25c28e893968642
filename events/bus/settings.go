package bus

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// A Difference is one setting in which the broker differs from us.
type Difference struct {
	Setting string // as the nats command line and the server name it
	Have    string
	Want    string

	safe bool // may be changed while messages are stored
}

// diffStream compares the settings that decide whether messages are kept,
// refused, repeated or hidden. The operator's are left out: replicas,
// placement, MaxBytes, compression, metadata.
func diffStream(have, want jetstream.StreamConfig) []Difference {
	var d differences
	d.add("subjects", list(have.Subjects), list(want.Subjects), false)
	d.add("retention", have.Retention.String(), want.Retention.String(), false)
	d.add("storage", have.Storage.String(), want.Storage.String(), false)
	d.add("discard", have.Discard.String(), want.Discard.String(), false)
	d.add("max_age", have.MaxAge.String(), want.MaxAge.String(), have.MaxAge != 0 && have.MaxAge < want.MaxAge)
	d.add("max_msgs", number(have.MaxMsgs), number(want.MaxMsgs), false)
	d.add("max_msgs_per_subject", number(have.MaxMsgsPerSubject), number(want.MaxMsgsPerSubject), false)
	d.add("max_msg_size", number(have.MaxMsgSize), number(want.MaxMsgSize), have.MaxMsgSize < want.MaxMsgSize)
	d.add("duplicate_window", have.Duplicates.String(), want.Duplicates.String(), true)
	d.add("allow_atomic", strconv.FormatBool(have.AllowAtomicPublish), strconv.FormatBool(want.AllowAtomicPublish), true)
	d.add("allow_direct", strconv.FormatBool(have.AllowDirect), strconv.FormatBool(want.AllowDirect), true)
	d.add("persist_mode", have.PersistMode.String(), want.PersistMode.String(), false)
	d.add("no_ack", strconv.FormatBool(have.NoAck), strconv.FormatBool(want.NoAck), false)
	d.add("sealed", strconv.FormatBool(have.Sealed), strconv.FormatBool(want.Sealed), false)
	d.add("deny_purge", strconv.FormatBool(have.DenyPurge), strconv.FormatBool(want.DenyPurge), false)
	d.add("deny_delete", strconv.FormatBool(have.DenyDelete), strconv.FormatBool(want.DenyDelete), false)
	d.add("allow_rollup_hdrs", strconv.FormatBool(have.AllowRollup), strconv.FormatBool(want.AllowRollup), false)
	d.add("subject_transform", fmt.Sprint(have.SubjectTransform != nil), "false", false)
	d.add("mirror", fmt.Sprint(have.Mirror != nil), "false", false)
	d.add("description", have.Description, want.Description, true)
	return d
}

// diffConsumer does the same for a consumer.
func diffConsumer(have, want jetstream.ConsumerConfig) []Difference {
	filters := have.FilterSubjects
	if have.FilterSubject != "" {
		filters = []string{have.FilterSubject}
	}
	var d differences
	d.add("durable_name", have.Durable, want.Durable, false)
	d.add("filter_subjects", list(filters), list(want.FilterSubjects), false)
	d.add("deliver_policy", have.DeliverPolicy.String(), want.DeliverPolicy.String(), false)
	d.add("deliver_subject", have.DeliverSubject, want.DeliverSubject, false)
	d.add("ack_policy", have.AckPolicy.String(), want.AckPolicy.String(), false)
	d.add("replay_policy", have.ReplayPolicy.String(), want.ReplayPolicy.String(), false)
	d.add("headers_only", strconv.FormatBool(have.HeadersOnly), strconv.FormatBool(want.HeadersOnly), false)
	d.add("priority_groups", list(have.PriorityGroups), list(want.PriorityGroups), false)
	d.add("inactive_threshold", have.InactiveThreshold.String(), want.InactiveThreshold.String(), false)
	d.add("ack_wait", have.AckWait.String(), want.AckWait.String(), true)
	d.add("backoff", fmt.Sprint(have.BackOff), fmt.Sprint(want.BackOff), true)
	d.add("max_deliver", number(have.MaxDeliver), number(want.MaxDeliver), true)
	d.add("max_ack_pending", number(have.MaxAckPending), number(want.MaxAckPending), true)
	d.add("description", have.Description, want.Description, true)
	return d
}

type differences []Difference

func (d *differences) add(setting, have, want string, safe bool) {
	if have != want {
		*d = append(*d, Difference{Setting: setting, Have: have, Want: want, safe: safe})
	}
}

func onlyUnsafe(all []Difference) []Difference {
	return slices.DeleteFunc(slices.Clone(all), func(d Difference) bool { return d.safe })
}

func withoutDescription(all []Difference) []Difference {
	return slices.DeleteFunc(slices.Clone(all), func(d Difference) bool { return d.Setting == "description" })
}

// list is order-independent: the broker may return subjects in another order.
func list(values []string) string {
	return fmt.Sprint(slices.Sorted(slices.Values(values)))
}

func number[N int | int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }
