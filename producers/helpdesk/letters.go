package helpdesk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Letter is a dead letter as staff see it: all but what it carried, which stays sealed.
type Letter struct {
	ID                                                               uint64
	Consumer, Tenant, Subject, Source, EventID, Type, Reason, Detail string
	Stream                                                           string
	Sequence, Deliveries                                             uint64
	Parked                                                           bool
	StoredAt, DeadAt                                                 time.Time
}

// ErrNoLetter says that there is no such dead letter, or no longer.
var ErrNoLetter = errors.New("no such dead letter")

// Letters are the dead letters on the broker.
type Letters interface {
	All(ctx context.Context) ([]Letter, error) // the newest first
	Letter(ctx context.Context, id uint64) (Letter, error)
	Replay(ctx context.Context, id uint64) error
	Drop(ctx context.Context, id uint64) error
}

// shownLetters is how many a page shows; the counts are of all.
const shownLetters = 200

// chosen is which letters a page is about; an empty field chooses all.
type chosen struct{ Reason, Tenant, Consumer string }

func chosenBy(q url.Values) chosen {
	return chosen{q.Get("reason"), q.Get("tenant"), q.Get("consumer")}
}

func (c chosen) matches(l Letter) bool {
	return (c.Reason == "" || c.Reason == l.Reason) && (c.Tenant == "" || c.Tenant == l.Tenant) && (c.Consumer == "" || c.Consumer == l.Consumer)
}

// Path is the page about the same letters but for one reason; empty: any.
func (c chosen) Path(reason string) string {
	q := url.Values{}
	for name, value := range map[string]string{"reason": reason, "tenant": c.Tenant, "consumer": c.Consumer} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return "/deadletters"
	}
	return "/deadletters?" + q.Encode()
}

type letterCount struct {
	Reason string
	Count  int
}

type lettersPage struct {
	Title, Done string
	Problems    []problem
	Chosen      chosen
	Counts      []letterCount
	Letters     []Letter
	Matching    int
	MayWork     bool
	Replay      []field
}

func (f *office) deadLetters(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	q := r.URL.Query()
	page := lettersPage{Chosen: chosenBy(q), Replay: []field{reasonField("replay")}}
	replayed, failed := q.Get("replayed"), q.Get("failed")
	if _, err := strconv.Atoi(replayed); err == nil {
		page.Done = replayed + " replayed."
	}
	if n, err := strconv.Atoi(failed); err == nil && n > 0 {
		page.Problems = []problem{{Text: failed + " could not be replayed and are still here."}}
	}
	if q.Has("dropped") {
		page.Done = "The letter is dropped."
	}
	return f.showLetters(w, r, by, http.StatusOK, page)
}

func (f *office) showLetters(w http.ResponseWriter, r *http.Request, by enrollment.Staff, status int, page lettersPage) error {
	all, err := f.Letters.All(r.Context())
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, l := range all {
		if (chosen{Tenant: page.Chosen.Tenant, Consumer: page.Chosen.Consumer}).matches(l) {
			counts[l.Reason]++
		}
		if page.Chosen.matches(l) {
			page.Matching++
			if len(page.Letters) < shownLetters {
				page.Letters = append(page.Letters, l)
			}
		}
	}
	for reason, n := range counts {
		page.Counts = append(page.Counts, letterCount{reason, n})
	}
	slices.SortFunc(page.Counts, func(a, b letterCount) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	page.Title, page.MayWork = "Dead letters", may(by.Roles, workLetters)
	return f.show(w, status, "deadletters", page)
}

type letterPage struct {
	Title        string
	Problems     []problem
	Letter       Letter
	MayWork      bool
	Replay, Drop []field
}

func (f *office) deadLetter(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	l, err := f.letter(r)
	if err != nil {
		return f.noLetter(w, r, err)
	}
	return f.showLetter(w, http.StatusOK, letterPage{Letter: l, MayWork: may(by.Roles, workLetters)}, attempt{})
}

func (f *office) showLetter(w http.ResponseWriter, status int, page letterPage, tried attempt) error {
	page.Title = fmt.Sprintf("Dead letter %d", page.Letter.ID)
	page.Replay, page.Drop = []field{reasonField("replay")}, []field{reasonField("drop")}
	page.Problems = append(tried.fill(enrollment.ReplayedLetter, page.Replay), tried.fill(enrollment.DroppedLetter, page.Drop)...)
	return f.show(w, status, "deadletter", page)
}

func (f *office) letter(r *http.Request) (Letter, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return Letter{}, ErrNoLetter
	}
	return f.Letters.Letter(r.Context(), id)
}

func (f *office) noLetter(w http.ResponseWriter, r *http.Request, err error) error {
	if !errors.Is(err, ErrNoLetter) {
		return err
	}
	f.tell(w, r, http.StatusNotFound, message{Title: "Not found", Text: "There is no such dead letter, or no longer: somebody may have replayed or dropped it."})
	return nil
}

// workLetter replays or drops one letter. The broker knows no transaction of ours: the trail is written first, so that
// nothing is done that it does not tell.
func (f *office) workLetter(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	l, err := f.letter(r)
	if err != nil {
		return f.noLetter(w, r, err)
	}
	do, what, came := f.Letters.Replay, enrollment.ReplayedLetter, "/deadletters?replayed=1"
	switch r.PathValue("deed") {
	case "replay":
	case "drop":
		do, what, came = f.Letters.Drop, enrollment.DroppedLetter, "/deadletters?dropped"
	default:
		return enrollment.ErrUnknown
	}
	errand := enrollment.Errand{By: by, Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	err = f.Store.AuditLetter(r.Context(), errand, what, tenantOf(l), subjectOf(l), l.Reason)
	if tried, no := refused(err, what, r.PostForm); no {
		return f.showLetter(w, http.StatusUnprocessableEntity, letterPage{Letter: l, MayWork: true}, tried)
	}
	if err != nil {
		return err
	}
	if err := do(r.Context(), l.ID); err != nil {
		return f.noLetter(w, r, errors.Join(err, f.Store.AuditLetter(r.Context(), errand, what, tenantOf(l), subjectOf(l), "it failed")))
	}
	http.Redirect(w, r, came, http.StatusSeeOther)
	return nil
}

// replayAll replays what the page was narrowed to, the oldest first, and goes on after a failure.
func (f *office) replayAll(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	c := chosen{r.PostFormValue("letters"), r.PostFormValue("tenant"), r.PostFormValue("consumer")} // "reason" is why
	errand := enrollment.Errand{By: by, Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	all, err := f.Letters.All(r.Context())
	if err != nil {
		return err
	}
	replayed, failed := 0, 0
	for _, l := range slices.Backward(all) {
		if !c.matches(l) {
			continue
		}
		err := f.Store.AuditLetter(r.Context(), errand, enrollment.ReplayedLetter, tenantOf(l), subjectOf(l), l.Reason)
		if tried, no := refused(err, enrollment.ReplayedLetter, r.PostForm); no {
			page := lettersPage{Chosen: c, Replay: []field{reasonField("replay")}}
			page.Problems = tried.fill(enrollment.ReplayedLetter, page.Replay)
			return f.showLetters(w, r, by, http.StatusUnprocessableEntity, page)
		}
		if err != nil {
			return err
		}
		if err := f.Letters.Replay(r.Context(), l.ID); err != nil {
			failed++
			f.Log.WarnContext(r.Context(), "replay a dead letter", "letter", l.ID, "error", err)
			if err := f.Store.AuditLetter(r.Context(), errand, enrollment.ReplayedLetter, tenantOf(l), subjectOf(l), "it failed"); err != nil {
				return err
			}
			continue
		}
		replayed++
	}
	http.Redirect(w, r, fmt.Sprintf("/deadletters?replayed=%d&failed=%d", replayed, failed), http.StatusSeeOther)
	return nil
}

// tenantOf is the audit trail's; a letter of no tenant has "_".
func tenantOf(l Letter) string {
	if l.Tenant == "_" {
		return ""
	}
	return l.Tenant
}

func subjectOf(l Letter) string { return fmt.Sprintf("dead letter %d of %s", l.ID, l.Consumer) }
