// Package enrollment holds the rules of a customer's way into the portal: the states of an enrollment and what may move
// it, what makes two account numbers, codes or usernames the same, which passwords are good enough, how long a guesser
// waits, and what is refused and why. It is pure: no I/O, no clock of its own, nothing of ours imported, so that a rule
// can be read and tested on one screen.
package enrollment

import (
	"fmt"

	"github.com/google/uuid"
)

// ID names one enrollment: one customer's attempt, from the registration form to its end. It is no secret.
type ID = uuid.UUID

// State is where an enrollment stands. The database repeats the list in a CHECK; a test compares the two.
type State string

const (
	Registered    State = "registered"    // the code is reserved; a mail is on its way
	Mailed        State = "mailed"        // a mail provider took the activation mail
	Undeliverable State = "undeliverable" // the mail was refused for good; the address can be corrected
	Activated     State = "activated"     // final: a password was chosen, the code is consumed
	Expired       State = "expired"       // final: the time ran out; code and username are free again
	Cancelled     State = "cancelled"     // final: somebody ended it; code and username are free again
)

// States lists every state, in the order a life runs through them.
var States = [...]State{Registered, Mailed, Undeliverable, Activated, Expired, Cancelled}

// Live reports whether the enrollment still holds its code and username without having used them up.
func (s State) Live() bool { return s == Registered || s == Mailed || s == Undeliverable }

// Final reports whether nothing can move the enrollment any more.
func (s State) Final() bool { return s == Activated || s == Expired || s == Cancelled }

// Action is what can happen to an enrollment.
type Action string

const (
	AcceptMail     Action = "accept-mail"     // a provider took the mail
	RefuseMail     Action = "refuse-mail"     // a provider refused it for good
	CorrectAddress Action = "correct-address" // the customer gave another address
	Activate       Action = "activate"        // the link's page got a password
	Expire         Action = "expire"          // the database's clock passed the deadline
	Cancel         Action = "cancel"          // staff, a closed account, or "this was not me"
)

// Actions lists every action.
var Actions = [...]Action{AcceptMail, RefuseMail, CorrectAddress, Activate, Expire, Cancel}

// moves is the whole machine. What is not here is refused.
var moves = map[Action]map[State]State{
	AcceptMail:     {Registered: Mailed, Mailed: Mailed, Undeliverable: Mailed}, // the latest outcome tells, in whatever order they arrive
	RefuseMail:     {Registered: Undeliverable, Mailed: Undeliverable},
	CorrectAddress: {Registered: Registered, Mailed: Registered, Undeliverable: Registered},
	Activate:       {Registered: Activated, Mailed: Activated, Undeliverable: Activated}, // who holds the link has the mail, whatever its sender was told
	Expire:         {Registered: Expired, Mailed: Expired, Undeliverable: Expired},
	Cancel:         {Registered: Cancelled, Mailed: Cancelled, Undeliverable: Cancelled},
}

// After returns the state that the action leads to, or an *ImpossibleMove.
func (s State) After(a Action) (State, error) {
	if next, ok := moves[a][s]; ok {
		return next, nil
	}
	return s, &ImpossibleMove{From: s, Action: a}
}

// From lists the states that the action is allowed in, in the order of States: the WHERE of the UPDATE that makes it true.
func From(a Action) []State {
	var from []State
	for _, s := range States {
		if _, ok := moves[a][s]; ok {
			from = append(from, s)
		}
	}
	return from
}

// ImpossibleMove says that an enrollment's state does not allow an action: the usual end of a race that somebody else won.
type ImpossibleMove struct {
	From   State
	Action Action
}

func (e *ImpossibleMove) Error() string {
	return fmt.Sprintf("enrollment: %s is not possible when %s", e.Action, e.From)
}
