package events

// Received is one of billing's events on its way from the stream to where it is kept: checked, and with the sequence of the
// message that brought it.
type Received struct {
	Event
	Message  Message // Event's data, decoded and valid
	Sequence uint64  // of the message in its stream
}

// Receipt says what became of a Received.
type Receipt struct {
	Duplicate  bool       // the same event was kept before; nothing changed
	FactsDue   bool       // this message owes the facts about the event: it brought it first
	AccountRef string     // what facts call the account
	Fault      *Malformed // it was not kept and never will be; nil otherwise
}

// Source names one of our publishers and its tenant, as CloudEvents' source.
func Source(tenant, publisher string) string { return "//" + tenant + ".billcenter.net/" + publisher }
