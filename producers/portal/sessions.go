package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
)

// A session ends after sessionIdle without a request, and after sessionLife whatever happens.
const (
	sessionIdle = 30 * time.Minute
	sessionLife = 12 * time.Hour
)

// What a session knows. Only strings and int64 are stored (jsonCodec).
const (
	sessionTenant       = "tenant"
	sessionUser         = "user"
	sessionInvoicesSeen = "invoices-seen"
	sessionEpoch        = "epoch" // of the user's sessions when this one began

	// For the page that lists where somebody is logged in:
	sessionName    = "name" // by which a session knows itself there; no secret
	sessionSince   = "since"
	sessionBrowser = "browser"
	sessionSource  = "source"
)

// newSessions makes the keeper of sessions for hosts on https, or for those on plain http. The cookie holds 256 random
// bits, the store their hash. There is no session before somebody logs in.
func newSessions(store Store, secure bool) *scs.SessionManager {
	// Not scs.New: it starts a goroutine for an in-memory store.
	return &scs.SessionManager{
		IdleTimeout:      sessionIdle,
		Lifetime:         sessionLife,
		Store:            sessionStore{store},
		Codec:            jsonCodec{},
		HashTokenInStore: true,
		Cookie: scs.SessionCookie{
			Name:     cookieName("session", secure),
			Path:     "/",
			HttpOnly: true,
			Secure:   secure,
			SameSite: http.SameSiteLaxMode,
		},
	}
}

// sessionStore is Store as scs wants it.
type sessionStore struct{ store Store }

// FindCtx takes a session of another tenant, and one written by an unknown version, for none.
func (s sessionStore) FindCtx(ctx context.Context, tokenHash string) ([]byte, bool, error) {
	data, found, err := s.store.Session(ctx, tokenHash)
	if err != nil || !found {
		return nil, false, err
	}
	_, values, err := jsonCodec{}.Decode(data)
	if err != nil || values[sessionTenant] != tenantIn(ctx).ID {
		return nil, false, nil
	}
	return data, true, nil
}

func (s sessionStore) CommitCtx(ctx context.Context, tokenHash string, data []byte, until time.Time) error {
	_, values, err := jsonCodec{}.Decode(data)
	if err != nil {
		return err
	}
	user, ok := values[sessionUser].(int64)
	if !ok {
		return errors.New("portal: session: has no user")
	}
	epoch, _ := values[sessionEpoch].(int64) // sessions from before there were epochs are stored, so that it does not matter
	return s.store.SaveSession(ctx, tokenHash, tenantIn(ctx).ID, user, epoch, data, until)
}

func (s sessionStore) DeleteCtx(ctx context.Context, tokenHash string) error {
	return s.store.EndSession(ctx, tokenHash)
}

// The methods without a context belong to scs.Store; scs does not call them where the others exist.

func (s sessionStore) Find(tokenHash string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), tokenHash)
}

func (s sessionStore) Commit(tokenHash string, data []byte, until time.Time) error {
	return s.CommitCtx(context.Background(), tokenHash, data, until)
}

func (s sessionStore) Delete(tokenHash string) error {
	return s.DeleteCtx(context.Background(), tokenHash)
}

// jsonCodec writes sessions so that the next version, psql and a person can read them.
type jsonCodec struct{}

type sessionJSON struct {
	Deadline time.Time      `json:"deadline"`
	Values   map[string]any `json:"values"`
}

func (jsonCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	for name, value := range values {
		switch value.(type) {
		case string, int64:
		default:
			return nil, fmt.Errorf("portal: session: %s is a %T", name, value)
		}
	}
	return json.Marshal(sessionJSON{deadline, values})
}

func (jsonCodec) Decode(data []byte) (time.Time, map[string]any, error) {
	var s sessionJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&s); err != nil {
		return time.Time{}, nil, fmt.Errorf("portal: session: %w", err)
	}
	for name, value := range s.Values {
		switch v := value.(type) {
		case string:
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				return time.Time{}, nil, fmt.Errorf("portal: session: %s: %w", name, err)
			}
			s.Values[name] = n
		default:
			return time.Time{}, nil, fmt.Errorf("portal: session: %s is a %T", name, value)
		}
	}
	return s.Deadline, s.Values, nil
}
