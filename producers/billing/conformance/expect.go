package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// invitedFor lists the Invited facts of an invoice: those of its instant.
func (w *witness) invitedFor(i invoice) []fact {
	var all []fact
	for _, f := range w.facts {
		if f.Definition.Name == "Invited" && f.said.OccurredAt.Equal(i.emailedAt) {
			all = append(all, f)
		}
	}
	return all
}

// invitedOnce expects exactly one Invited for each invoice. It comes after settle: what is not there then does not come.
func (t *trial) invitedOnce(all ...invoice) bool {
	ok := true
	t.asSeen(func() {
		counts := map[int]int{}
		for _, i := range all {
			found := t.invitedFor(i)
			counts[len(found)]++
			for _, f := range found {
				if f.fault != nil {
					ok = false
					t.fault("the fact is not valid: %v", f.fault)
				}
			}
		}
		if counts[1] == len(all) {
			t.saw("%s", plural(len(all), "Invited", "Invited"))
			return
		}
		ok = false
		for _, n := range slices.Sorted(maps.Keys(counts)) {
			if n != 1 {
				t.fault("%d Invited for %s", n, plural(counts[n], "e-mailed code", "e-mailed codes"))
			}
		}
	})
	return ok
}

// notInvited expects that no fact tells of the invoice.
func (t *trial) notInvited(i invoice) {
	t.asSeen(func() {
		if n := len(t.invitedFor(i)); n > 0 {
			t.fault("%d Invited for what must not be taken", n)
		}
	})
}

// accountRef is what facts call the account of an invoice that was taken; empty: unknown.
func (t *trial) accountRef(i invoice) (ref string) {
	t.asSeen(func() {
		if found := t.invitedFor(i); len(found) > 0 {
			ref = found[0].said.AccountRef
		}
	})
	return ref
}

// lettersOf lists the dead letters of what was sent.
func (w *witness) lettersOf(s sent) []DeadLetter {
	var all []DeadLetter
	for _, l := range w.letters {
		if l.Sequence > s.after && l.Sequence <= s.upTo {
			all = append(all, l)
		}
	}
	return all
}

// dead is a dead letter's reason as the kit writes it down.
func dead(reason string, parked bool) string {
	if parked {
		return reason + " (parked)"
	}
	return reason
}

// buried expects dead letters for these reasons and no others. It comes after settle.
func (t *trial) buried(s sent, reasons ...string) []DeadLetter {
	var letters []DeadLetter
	t.asSeen(func() { letters = t.lettersOf(s) })
	var got []string
	for _, l := range letters {
		got = append(got, dead(l.Reason, l.Parked))
	}
	t.ownLetters.Add(int64(len(letters)))
	slices.Sort(got)
	want := slices.Sorted(slices.Values(reasons))
	switch {
	case slices.Equal(want, got) && len(got) > 0:
		t.saw("dead letter: %s", tally(got))
	case slices.Equal(want, got):
	case len(want) == 0:
		t.fault("dead letter: %s", tally(got))
	case len(got) == 0:
		t.fault("no dead letter, expected %s", tally(want))
	default:
		t.fault("dead letters: %s, expected %s", tally(got), tally(want))
	}
	return letters
}

// taken expects that nothing of what was sent became a dead letter.
func (t *trial) taken(s sent) { t.buried(s) }

// tally writes a sorted list with how often each stands in it.
func tally(sorted []string) string {
	var parts []string
	for i := 0; i < len(sorted); {
		n := 1
		for i+n < len(sorted) && sorted[i+n] == sorted[i] {
			n++
		}
		if n == 1 {
			parts = append(parts, sorted[i])
		} else {
			parts = append(parts, fmt.Sprintf("%d × %s", n, sorted[i]))
		}
		i += n
	}
	return strings.Join(parts, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// takes is the play of a case whose messages are all taken, with one fact for each invoice with a code.
func takes(messages func(t *trial) ([]Message, []invoice)) func(context.Context, *trial) {
	return func(ctx context.Context, t *trial) {
		batch, coded := messages(t)
		s, ok := t.deliver(ctx, batch...)
		if !ok {
			return
		}
		t.taken(s)
		if len(coded) > 0 {
			t.invitedOnce(coded...)
		} else if len(t.faults) == 0 {
			t.saw("taken")
		}
	}
}

// buries is the play of a case whose message becomes a dead letter while the good one behind it is taken.
func buries(reason string, parked bool, message func(r *run, i *invoice) Message) func(context.Context, *trial) {
	return func(ctx context.Context, t *trial) {
		bad, good := t.mailed(), t.mailed()
		s, ok := t.deliver(ctx, message(t.run, &bad), t.message(&good))
		if !ok {
			return
		}
		t.buried(s, dead(reason, parked))
		t.notInvited(bad)
		t.invitedOnce(good)
	}
}
