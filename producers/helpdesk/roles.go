package helpdesk

import "slices"

// Role is what somebody of the staff is employed for, as the identity provider says. One person may have several.
type Role string

const (
	Agent      Role = "agent"      // talks to customers
	Supervisor Role = "supervisor" // the same, and reads what agents did
	Analyst    Role = "analyst"    // reads numbers and the contract; sees nobody's data
	Operator   Role = "operator"   // keeps the messages going
)

// Roles lists every role. A claim's other words are none of ours and are ignored.
var Roles = [...]Role{Agent, Supervisor, Analyst, Operator}

// duty is what a page or an action needs.
type duty string

const (
	readContract duty = "read the contract of the events"
	readFunnel   duty = "read the funnel"
	readLetters  duty = "read dead letters" // they carry no personal data
	workLetters  duty = "replay and drop dead letters"
	readMails    duty = "read the mail log"
	lookUp       duty = "look customers up"
	act          duty = "act for customers"
	readAudit    duty = "read the audit trail"
)

// allowed is the whole table of who may do what. What is not here is refused.
var allowed = map[Role][]duty{
	Agent:      {readContract, readMails, lookUp, act},
	Supervisor: {readContract, readFunnel, readLetters, readMails, lookUp, act, readAudit},
	Analyst:    {readContract, readFunnel, readLetters},
	Operator:   {readContract, readFunnel, readLetters, workLetters, readMails},
}

// may reports whether one of the roles has the duty.
func may(roles []string, d duty) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(allowed[Role(r)], d) })
}

// who lists the roles that have a duty, to tell whom to ask.
func who(d duty) []Role {
	var roles []Role
	for _, r := range Roles {
		if slices.Contains(allowed[r], d) {
			roles = append(roles, r)
		}
	}
	return roles
}

// known are the roles among a claim's words.
func known(claimed []string) []string {
	var roles []string
	for _, r := range Roles {
		if slices.Contains(claimed, string(r)) {
			roles = append(roles, string(r))
		}
	}
	return roles
}
