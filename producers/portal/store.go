package portal

import (
	"context"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Store is what the portal asks of the database. Each method is one transaction. A *enrollment.Refusal is an answer for
// the customer; enrollment.ErrUnknown means that the tenant has no such row; any other error is an outage, after which
// nothing was changed.
type Store interface {
	// Register reserves the code and asks for the activation mail. The same RequestID again is the same request.
	Register(ctx context.Context, a enrollment.Application) (enrollment.Admission, error)
	// Pending is what the check-your-email page shows; ErrUnknown.
	Pending(ctx context.Context, tenant string, id enrollment.ID) (enrollment.Pending, error)
	// Resend asks for the mail again; refuses TooSoon, TooManyMails, LinkUsed, LinkExpired.
	Resend(ctx context.Context, tenant string, id enrollment.ID, w enrollment.Wish) error
	// CorrectAddress makes links to the old address dead; refuses TooManyCorrections, LinkUsed, LinkExpired.
	CorrectAddress(ctx context.Context, tenant string, id enrollment.ID, to enrollment.Address, w enrollment.Wish) error

	// Open says what a link leads to and changes no state; refuses LinkExpired, LinkSuperseded, LinkUsed, LinkCancelled,
	// AccountClosed, LinkDamaged.
	Open(ctx context.Context, tenant string, link enrollment.Signed, v enrollment.Visit) (enrollment.Invitation, error)
	// Activate consumes the code; of any number at once one wins, the others are refused like Open.
	Activate(ctx context.Context, tenant string, link enrollment.Signed, passwordHash string) (username string, err error)
	// Disown cancels what the owner of the mailbox did not ask for; a cancelled one stays so, other refusals as for Open.
	Disown(ctx context.Context, tenant string, link enrollment.Signed) error
	// Renew takes a genuine but expired link for a new enrollment and a new mail, if code and username are still free.
	Renew(ctx context.Context, tenant string, link enrollment.Signed, w enrollment.Wish) (enrollment.Admission, error)

	// AttemptLogIn counts the try before the password is compared; refuses TooManyTries. A username that nobody has gives
	// the zero Credential.
	AttemptLogIn(ctx context.Context, tenant, usernameKey string, source netip.Addr) (enrollment.Credential, error)
	// SignIn forgets the tries after the right password.
	SignIn(ctx context.Context, tenant string, user int64, source netip.Addr) error
	// Customer is who is signed in and which accounts they may see, none when access to all has ended; ErrUnknown when the
	// user is gone. What Invoices and Payments tell is of those accounts alone.
	Customer(ctx context.Context, tenant string, user int64) (enrollment.Customer, error)
	Invoices(ctx context.Context, tenant string, user int64) ([]enrollment.Invoice, error)
	Payments(ctx context.Context, tenant string, user int64) ([]enrollment.Payment, error)
	// ViewInvoices records that an invoice was seen.
	ViewInvoices(ctx context.Context, tenant string, user int64) error

	// AddAccount gives a signed-in user one more account by its number and code; refuses like Register.
	AddAccount(ctx context.Context, user int64, a enrollment.Application) error

	// EndAccess takes an account from the user with the key, who may be the one who asks; refuses LastUser.
	EndAccess(ctx context.Context, tenant string, user int64, accountNumber, usernameKey string, source netip.Addr) error

	// AskForCode and AskForReset give the same answer whether there is somebody by that name or not; both refuse
	// TooManyTries to a source that asks by the dozen.
	AskForCode(ctx context.Context, tenant, accountNumber string, source netip.Addr) error
	AskForReset(ctx context.Context, f enrollment.Forgotten) error
	// OpenReset changes nothing; ResetPassword consumes the link and ends all sessions. Both refuse LinkExpired,
	// LinkSuperseded (the password was set in another way meanwhile), LinkUsed, LinkDamaged.
	OpenReset(ctx context.Context, tenant string, link enrollment.Signed) (enrollment.Recovery, error)
	ResetPassword(ctx context.Context, tenant string, link enrollment.Signed, passwordHash string, source netip.Addr) (username string, err error)

	// Security is what the page about the log-in shows. ChangePassword takes back the try that AttemptLogIn counted, and ends
	// all sessions, as SignOutEverywhere does.
	Security(ctx context.Context, tenant string, user int64) (enrollment.Security, error)
	ChangePassword(ctx context.Context, tenant string, user int64, passwordHash string, source netip.Addr) (epoch int64, err error)
	SignOutEverywhere(ctx context.Context, tenant string, user int64, source netip.Addr) error
	// EndSessionOf ends one session; ErrUnknown when the user has none by that id.
	EndSessionOf(ctx context.Context, tenant string, user int64, id uuid.UUID, source netip.Addr) error

	// Session, SaveSession and EndSession keep sessions under a hash of their token. A session that ended stays ended:
	// saving it once more, which a request under way at log-out does, changes nothing. Nor does one begin whose epoch (of
	// Credential and ChangePassword) is over.
	Session(ctx context.Context, tokenHash string) (data []byte, found bool, err error)
	SaveSession(ctx context.Context, tokenHash, tenant string, user, epoch int64, data []byte, until time.Time) error
	EndSession(ctx context.Context, tokenHash string) error
}
