package portal

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// usersPage is the Body of the page that lists who sees the customer's accounts.
type usersPage struct {
	enrollment.Customer
	Notice string
}

// removePage is the Body of the page that asks once more, and for the password, before somebody's access ends.
type removePage struct {
	Account enrollment.Holding
	User    string
	Self    bool
	Fields  []field
	Answer  answer
}

// Last reports whether there is nobody else, so that the access stays.
func (p removePage) Last() bool { return len(p.Account.Users) == 1 }

// whereSeveral is for pages that a tenant with one user for each account does not have.
func (p *portal) whereSeveral(h customerPage) handler {
	return p.forCustomers(p.ifSeveral(h))
}

func (p *portal) ifSeveral(h customerPage) customerPage {
	return func(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
		if !tenantIn(r.Context()).Policy.SeveralUsers {
			p.notFound(w, r)
			return nil
		}
		return h(w, r, c)
	}
}

func (p *portal) users(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	return p.show(w, r, http.StatusOK, view{
		Name: "users", Title: voiceIn(r.Context()).say("Who can see your accounts"), Body: usersPage{Customer: c, Notice: p.takeNotice(r)},
	})
}

// removePath leads to the page that asks before somebody's access ends.
func removePath(account, username string) string {
	return "/account/users/remove?" + url.Values{"account": {account}, "username": {username}}.Encode()
}

// accessOf finds somebody among those who see the customer's accounts.
func accessOf(c enrollment.Customer, account, username string) (removePage, bool) {
	key, known := enrollment.UsernameKey(username)
	for _, a := range c.Accounts {
		for _, u := range a.Users {
			if theirs, _ := enrollment.UsernameKey(u.Username); known && a.AccountNumber == account && theirs == key {
				return removePage{Account: a, User: u.Username, Self: u.Username == c.Username}, true
			}
		}
	}
	return removePage{}, false
}

func (p *portal) removeForm(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	page, ok := accessOf(c, r.URL.Query().Get("account"), r.URL.Query().Get("username"))
	if !ok {
		p.notFound(w, r)
		return nil
	}
	if page.Last() {
		return p.showRemove(w, r, page, explain(r.Context(), &enrollment.Refusal{Reason: enrollment.LastUser}))
	}
	return p.showRemove(w, r, page, answer{Status: http.StatusOK})
}

// remove ends somebody's access to one account after the password of who asks was right. Somebody who is gone already is a
// wish come true.
func (p *portal) remove(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	page, ok := accessOf(c, f["account"], f["username"])
	if !ok {
		http.Redirect(w, r, "/account/users", http.StatusSeeOther)
		return nil
	}
	no, err := p.prove(r, c, f.value(enrollment.FieldCurrent))
	if err != nil {
		return err
	}
	if no != nil {
		return p.showRemove(w, r, page, explain(r.Context(), no))
	}
	key, _ := enrollment.UsernameKey(page.User)
	err = p.store.EndAccess(r.Context(), tenantIn(r.Context()).ID, p.user(r), page.Account.AccountNumber, key, source(r, p.proxies))
	var refusal *enrollment.Refusal
	switch {
	case errors.As(err, &refusal):
		return p.showRemove(w, r, page, explain(r.Context(), refusal))
	case err != nil && !errors.Is(err, enrollment.ErrUnknown):
		return err
	}
	notice, next := noticeAccessEnded, "/account/users"
	if page.Self {
		notice, next = noticeAccessLeft, "/account"
	}
	p.sessions(r).Put(r.Context(), sessionNotice, notice)
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (p *portal) showRemove(w http.ResponseWriter, r *http.Request, page removePage, a answer) error {
	v := voiceIn(r.Context())
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	page.Fields = []field{{Name: enrollment.FieldCurrent, Label: v.say("Your password"), Type: "password", Autocomplete: "current-password"}}
	page.Answer = a.on(page.Fields)
	shown := view{Name: "remove-user", Title: v.say("End a colleague’s access"), Problem: len(a.Problems) > 0, Body: page}
	if page.Self {
		shown.Title = v.say("Give up your access")
	}
	if r.Method == http.MethodPost { // the address alone does not say whom it is about
		shown.Here = "/account/users"
	}
	return p.show(w, r, a.Status, shown)
}
