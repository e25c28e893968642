package conformance

import "context"

// crowdSize is the largest atomic batch that the broker takes.
const crowdSize = 1000

// crowd is the case about everything at once.
func crowd() []Case {
	return []Case{{
		Name: "thousand-mixed", Sent: "1000 events in one batch: most good, some copies, some faults of every kind", alone: true,
		Expected: "every one accounted for: one Invited for each code, a dead letter for each fault, BILLING empty", play: playCrowd,
	}}
}

// playCrowd deals out what to send in a pattern of 50: 33 new codes, 4 mails without one, 2 closed accounts, 2 payment
// methods, 4 copies of events before them, 5 faults.
func playCrowd(ctx context.Context, t *trial) {
	known := t.mailed()
	if _, ok := t.deliver(ctx, t.message(&known)); !ok {
		return
	}
	var batch []Message
	var coded []invoice
	var reasons []string
	faults := flaws()
	accounts := make([]account, 50)
	for i := range accounts {
		accounts[i] = t.account()
	}
	for n := range crowdSize {
		a := accounts[n/20] // 20 events each
		i := t.mailedTo(a)
		switch kind := n % 50; {
		case kind < 33:
			batch = append(batch, t.message(&i))
			coded = append(coded, i)
		case kind < 37:
			i.code = ""
			batch = append(batch, t.message(&i))
		case kind < 39:
			batch = append(batch, t.closed(t.eventID(), t.account()))
		case kind < 41:
			batch = append(batch, t.paymentMethod(t.eventID(), a))
		case kind < 45:
			again := coded[len(coded)-kind+40] // the last, the one before, ...
			batch = append(batch, t.binary(&again, "application/json"))
		case kind < 48:
			f := faults[len(reasons)%len(faults)] // each in its turn
			batch = append(batch, f.message(t.run, &i))
			reasons = append(reasons, f.reason)
		case kind == 48:
			i.id = known.id // of the batch itself it would be chance which comes first
			batch = append(batch, t.message(&i))
			reasons = append(reasons, "id-reused")
		default:
			batch = append(batch, t.stray(&i))
			reasons = append(reasons, dead("tenant-unknown", true))
		}
	}
	s, ok := t.deliver(ctx, batch...)
	if !ok {
		return
	}
	t.buried(s, reasons...)
	t.invitedOnce(append(coded, known)...)
}
