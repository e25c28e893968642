package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// failure is something that goes wrong when customers enroll, as users of other portals have reported it.
type failure struct {
	name   string
	wrong  string   // what users complain of
	we     string   // what we do about it
	proved []string // package TestName, or package TestName/subtest; the subtest stands in the test as a literal
	open   string   // what is not done yet, and why; empty: nothing
}

// failures are all cases that the portal is to handle. Whoever handles another one adds it here with the test that proves it.
var failures = []failure{
	// Codes
	{"F1", "the code is mistyped: 0 for O, small letters, blanks; zeros or dashes in the account number",
		"spelling does not count, look-alikes are a second look-up, a pasted line is taken apart",
		[]string{"schema/enrollment TestCodeForms", "schema/enrollment TestAccountKeyWithOptionalZeros", "schema/enrollment TestWhatWasPastedIsTakenApart",
			"schema/store TestWhichCodesAreTheSame", "producers/portal TestTheSignUpIsForgiving"}, ""},
	{"F2", "a newer code replaced the one in hand",
		"it works for the grace; then who holds the pair is told when the newer one was sent",
		[]string{"schema/store TestWhoMayRegister/a code whose successor was e-mailed less than the grace ago",
			"schema/store TestWhoMayRegister/a code whose successor was e-mailed longer ago", "producers/portal TestSignUpRefusals/a superseded code"}, ""},
	{"F3", "a colleague used the code before",
		"who holds the pair is told so, and led to the log-in, the password and the colleague; others hear what a wrong code hears; the billing address and the account's users are told by mail, once a day",
		[]string{"schema/store TestWhoMayRegister/a used code", "producers/portal TestSignUpRefusals/a used code", "producers/portal TestExplain",
			"schema/store TestATriedCodeIsToldToBillingAndUsersOnceADay", "consumers/mailer TestWhatASecurityNoticeSays", "cmd/billcenter TestWhoMayObjectIsTold"}, ""},
	{"F4", "the code is lost, or the e-mail has no box",
		"billing is asked to send one to the address of record, once a day and four times in thirty days; the answer is the same for every number",
		[]string{"schema/store TestANewCodeIsAskedForOnceADayAndFourTimesAMonth", "producers/portal TestANewCodeIsAskedFor",
			"producers/portal TestNobodyLearnsWhoExists/an account"}, ""},
	{"F5", "the advice cannot be followed: ask for another mail, when no other is allowed",
		"an action is offered only while it is allowed; else the page says when, or that it was the last",
		[]string{"producers/portal TestWhatIsNotAllowedNowIsNotOffered", "producers/portal TestCheckEmail", "producers/portal TestANewCodeIsAskedFor"}, ""},
	{"F6", "a sign-up that fails costs the code",
		"a sign-up reserves the code and only the activation consumes it; expiry and cancelling release it",
		[]string{"schema/store TestWhoMayRegister/a username that somebody holds, in another spelling", "schema/store TestEachDueEnrollmentExpiresOnce",
			"schema/store TestAnOverdueHolderGivesUpCodeAndUsernameAtOnce", "schema/store TestStaffHelpACustomerWhoIsStuck",
			"cmd/billcenter TestAnExpiredEnrollmentReleasesCodeAndName"}, ""},
	{"F7", "wrong tries delete the record or lead nowhere",
		"at a hundred the codes are retired, never the account; the next code mends it, and staff lift a wait in one step",
		[]string{"schema/store TestAHundredWrongTriesRetireTheCodes", "schema/store TestWhoMayRegister/a code e-mailed after the others were retired",
			"schema/store TestStaffUnlock"}, ""},
	{"F8", "a lock that strangers turn against the owner",
		"waits are of one source, have a fixed end and are never for ever; the right code works after them, and at once from elsewhere; the billing address is told by mail, once a day",
		[]string{"schema/store TestFiveWrongTriesMakeASourceWait", "schema/store TestTwentyWrongTriesOnATenantMakeASourceWait",
			"schema/store TestOfManyGuessesAtOnceFiveAreCompared", "producers/portal TestTooManyTries", "schema/store TestAWaitIsToldToTheBillingAddressOnceADay",
			"schema/store TestNobodyLearnsFromAWaitWhetherSomebodyIsTold", "cmd/billcenter TestWhoMayObjectIsTold"}, ""},
	{"F9", "the portal tells which accounts, addresses and usernames exist",
		"one answer and the same work for an unknown account and a wrong code; a taken username is told to who holds the pair; that an address has a log-in is told by the mail to it alone, with how to add the account to that log-in",
		[]string{"producers/portal TestNobodyLearnsWhichAccountsExist", "producers/portal TestNobodyLearnsWhoExists", "schema/store TestAnUnknownAccountLeavesTheSameTraces",
			"schema/store TestATakenUsernameIsToldOnlyToWhoHoldsThePair", "schema/store TestNobodyLearnsWhoExistsFromAWish",
			"producers/portal TestPasswords/a user that does not exist", "cmd/billcenter TestUnknownAccountAndWrongCodeLookTheSame",
			"schema/store TestTheMailKnowsThatItsAddressHasALogIn", "producers/portal TestASignUpDoesNotTellThatItsAddressHasALogIn",
			"cmd/billcenter TestWhoHasALogInIsToldByMailAlone"}, ""},

	// Events in
	{"F10", "billing sends InvoiceEmailed twice",
		"the id is kept in the transaction that keeps the event; the same id with other content is a dead letter",
		[]string{"schema/store TestARedeliveryOwesTheFactsAndACopyDoesNot", "schema/store TestAKnownIDWithOtherContentChangesNothing",
			"cmd/billcenter TestAForeignPublisherIsHeardAndItsMistakesBlockNothing"}, ""},
	{"F11", "an older event comes late and overwrites the newer",
		"billing's own times decide, never the arrival: any order leaves the same state",
		[]string{"schema/store TestBillingsEventsLeaveTheSameStateInAnyOrderAnyNumberOfTimes", "schema/store TestHowAnAccountPaysIsWhatBillingSaidLast"}, ""},
	{"F12", "an event that nobody can read stops the queue",
		"it becomes a dead letter with its reason, seen, replayed or dropped; the queue moves on",
		[]string{"consumers TestAPoisonedEventIsBuriedAndTheQueueMovesOn", "consumers TestWhatCannotBeTakenBecomesADeadLetter",
			"consumers TestWhatCannotBeTakenBecomesADeadLetter/a version of the future, parked", "events/bus TestReplayBringsTheMessageBackAsItWas",
			"producers/helpdesk TestAnOperatorWorksOnDeadLetters", "cmd/billcenter TestDeadLettersAreReplayedAndDropped"}, ""},
	{"F13", "the next invoice comes while an activation is pending",
		"the pending enrollment keeps what it reserved; the new code opens one of its own",
		[]string{"schema/store TestANewInvoiceLeavesAPendingEnrollmentAndOpensItsOwnCode"}, ""},
	{"F14", "the account is closed while an activation is pending",
		"it is cancelled with the reason, the username is free, and the link and the page about the sign-up say that the account was closed and whom to call; so does a mail to who signed up",
		[]string{"schema/store TestAClosedAccountEndsWhatIsPendingAndTakesNobody", "producers/deadlines TestAClosedAccountCancelsWhatIsPending",
			"producers/portal TestALinkOfAClosedAccountSaysSo", "schema/store TestWhoSignedUpForAClosedAccountIsToldOnce",
			"cmd/billcenter TestWhoSignedUpHearsThatTheAccountWasClosed"},
		"billing has no event for an account that is merged or moves to another tenant"},
	{"F15", "the state is written and the event is not published, or the reverse",
		"both are one transaction; a relay carries the outbox, and once more when it was cut off",
		[]string{"schema/store TestAFailedTransactionLeavesNothing", "producers/outbox TestARelayKilledBetweenPublishingAndCommitting",
			"consumers/codes TestNothingIsAcknowledgedWhoseFactIsNotPublished", "cmd/billcenter TestAKillInTheMiddleLosesAndDoublesNothing"}, ""},

	// Mail
	{"F16", "one wish brings two mails",
		"a mail is claimed by enrollment, purpose, generation and number before it is sent; an unknown outcome is a state, and ends after three sends of the same Message-ID",
		[]string{"consumers/mailer TestTwentyDeliveriesAtOnceAreOneMail", "consumers/mailer TestAMailWhoseOutcomeWasLostGoesOutAgainAsTheSameMail",
			"consumers/mailer TestARedeliveryOfAnAcceptedMailRepeatsTheFactOnly", "consumers/mailer TestTwentyDeliveriesAtOnceAreOneMailInPostgres",
			"schema/store TestOfManyClaimsAtOnceOneSends", "schema/store TestAMailWhoseOutcomeStaysUnknownIsSentThreeTimes"}, ""},
	{"F17", "one bad recipient stops the queue",
		"each mail waits by itself and is given up when its link would have ended; a permanent refusal is final",
		[]string{"consumers/mailer TestOneRecipientHoldsUpNobodyElse", "consumers/mailer TestAPermanentRefusalIsFinal",
			"consumers/mailer TestAMailThatIsNeverTakenIsGivenUpWhenItsLinkWouldHaveEnded", "consumers/mailer TestHowAMailFails"}, ""},
	{"F18", "the mail bounced and the customer waits for ever",
		"the page says, while it is open, that it did not arrive, and takes another address, or the same once more; staff see the reply and correct it as well",
		[]string{"cmd/billcenter TestAnUndeliverableAddressIsCorrected", "cmd/billcenter TestTheHelpdeskHelpsACaller",
			"schema/store TestAnUndeliverableMailCanBeSentToTheSameAddressAgain", "schema/store TestOfTwoMailsTheLatestOutcomeTellsInAnyOrder",
			"producers/portal TestEachStageSaysItWhereTheScriptLooks", "cmd/billcenter TestBrowserSeesWhatBecomesOfTheMail",
			"consumers/mailer TestWhatCameBackIsKnown", "schema/store TestAMailThatCameBackIsToldOnce", "cmd/billcenter TestAMailThatComesBackLaterIsCorrected"}, ""},
	{"F19", "the mail was under way for so long that its link has expired",
		"the link's time begins when the provider takes the mail",
		[]string{"schema/store TestTheWindowCountsFromAcceptance"}, ""},
	{"F20", "one life for codes, links and passwords",
		"a code lives 45 days, an activation link 72 hours, a link for a new password one hour, the first two as the tenant says",
		[]string{"schema/store TestWhoMayRegister/a code older than the default life", "schema/store TestARegistrationAnnouncesFactAndMail",
			"schema/store TestAForgottenPasswordIsSetOnceThroughItsLink", "producers/portal TestTheDeadEndsOfAResetLink", "schema/tenants TestAFileIsReadWhole"}, ""},
	{"F21", "the mail is in the wrong language",
		"the event names the language of the page that asked for the mail last, be it the sign-up, the check-email page or an expired link; the closest that the tenant offers is taken; the address of record is written to in billing's",
		[]string{"producers/portal TestTheLocaleOfASignUpIsThatOfItsPage", "consumers/mailer TestALetterIsInTheClosestLocaleThatTheTenantOffers",
			"schema/store TestWhoContinuesInAnotherLanguageIsWrittenToInIt", "schema/store TestActivationTellsTheAddressOfRecord", "cmd/billcenter TestACustomerEnrollsInSpanish",
			"schema/store TestAMailAskedForAgainIsInTheLanguageOfItsPage", "producers/portal TestAMailAskedForAgainIsInTheLanguageOfItsPage"}, ""},
	{"F22", "the end of a link is told without its zone",
		"times are instants in events and the database; mails and pages name date, time and zone, mails also how long",
		[]string{"schema/locale TestDates", "consumers/mailer TestTheTextOfAnActivationMail", "consumers/mailer TestHowLongALinkWorksInWords", "events TestTimesKeepTheirInstant",
			"producers/portal TestTheEndOfALinkIsToldAsInItsMail"}, ""},

	// Activation link
	{"F23", "a mail scanner follows the link and it is used up",
		"GET and HEAD move nothing; only the POST with a password that may be chosen consumes",
		[]string{"producers/portal TestLookingAtALinkChangesNothing", "producers/portal TestARejectedPasswordKeepsTheLink",
			"schema/store TestOpeningIsRecordedOnceForPeopleAndOnceForMachines", "cmd/billcenter TestACustomerEnrolls"}, ""},
	{"F24", "a scanner that runs scripts completes the sign-up",
		"a password must be posted that somebody has chosen, and no page of a link has a script or sends itself; who posts must come from our page; the browser that signed up is signed in by nothing. A scanner that presses “this was not me” ends the sign-up, which costs no code",
		[]string{"producers/portal TestPages", "producers/portal TestOnlyTheMailsPageHasAScript", "producers/portal TestFormsFromElsewhere", "producers/portal TestTheBrowserThatSignedUpIsNotSignedIn",
			"producers/portal TestARejectedPasswordKeepsTheLink/none", "producers/portal TestWhoDidNotSignUpCancels"},
		"a program that makes up a password, types it twice and posts it as a browser would is taken for a person: the mail has a link only, and no code to type"},
	{"F25", "the link turns out to be dead after the password was typed",
		"opening it shows how it stands before there is anything to type",
		[]string{"producers/portal TestDeadLinks", "schema/store TestWhereALinkLeads"}, ""},
	{"F26", "expired, used, superseded and damaged links say the same",
		"four dead ends, each with what to do next",
		[]string{"producers/portal TestDeadLinks", "producers/portal TestDamagedLinks", "producers/portal TestExplain", "producers/portal TestEveryRefusalHasItsOwnWords",
			"producers/portal TestTheDeadEndsOfAResetLink"}, ""},
	{"F27", "the second click, after success, finds an error",
		"it finds that the account is active, and the log-in",
		[]string{"producers/portal TestDeadLinks/used", "cmd/billcenter TestACustomerEnrolls"}, ""},
	{"F28", "another mail kills the first one's link, and the first comes first",
		"all links to one address work until one is used; another address or the activation ends them",
		[]string{"schema/store TestAllLinksOfOneAddressWork", "schema/store TestWhereALinkLeads"}, ""},
	{"F29", "a used link that mails a new one is a back door",
		"a new mail needs a person's wish and goes to the address of the sign-up, a minute apart and five times; a used link gives none",
		[]string{"schema/store TestRenew", "schema/store TestMailsAreSpacedAndFive", "schema/store TestWhatHasEndedIsNotChanged",
			"producers/portal TestAnExpiredLinkIsRenewedByAPerson"}, ""},
	{"F30", "looking at a page makes a new code and voids the one in hand",
		"reading asks for no mail and voids no link",
		[]string{"producers/portal TestReadingMakesNoMailAndVoidsNoLink", "producers/portal TestAnExpiredLinkIsRenewedByAPerson"}, ""},
	{"F31", "who opened the link and chose no password cannot go on",
		"an opened link is an ordinary state: another mail, another address and the same code all go on",
		[]string{"schema/store TestAnOpenedLinkWithoutAPasswordEndsNothing", "schema/store TestTheSameCodeContinuesAPendingEnrollment"}, ""},
	{"F32", "the link is opened in another browser and leads nowhere",
		"it needs nothing of the browser that signed up, which then learns that the account is active",
		[]string{"producers/portal TestAnotherBrowserFinishes"}, ""},
	{"F33", "a link works again after success",
		"of many at once one wins, and none afterwards: the row is held while it is decided",
		[]string{"schema/store TestOfTwentyActivationsAtOnceOneWins", "producers/portal TestTwentyActivationsAreOnePassword", "cmd/billcenter TestTwentyAtOnceAreOne"}, ""},

	// Person
	{"F34", "the address was mistyped and there is no way back",
		"the page shows it masked and takes another, three times; so does signing up again with the same code; links to the old one die",
		[]string{"schema/store TestAnAddressIsCorrectedThreeTimes", "schema/store TestTheSameCodeContinuesAPendingEnrollment", "producers/portal TestCheckEmail",
			"producers/portal TestDeadLinks/superseded"}, ""},
	{"F35", "a username is held for ever by a sign-up that nobody finishes",
		"it is held as long as the enrollment lives, at most seven days before its mail is taken; the end is a fact; a clash changes nothing of what is pending",
		[]string{"schema/store TestAnOverdueHolderGivesUpCodeAndUsernameAtOnce", "schema/store TestEachDueEnrollmentExpiresOnce",
			"schema/store TestATakenUsernameChangesNothingOfAPendingEnrollment", "producers/deadlines TestWhenTheTimeRunsOutCodeAndUsernameAreFree"}, ""},
	{"F36", "typographic apostrophes, capitals and look-alike letters in usernames and addresses",
		"apostrophes and case fold into one key, letters are of one script, the display form stays, and a name that looks like one that is held (TR 39) is taken; addresses are ASCII before the @, A-labels behind it, with their tags",
		[]string{"schema/enrollment TestParseUsername/the manual's example", "schema/enrollment TestParseUsernameRefuses/a Cyrillic a among Latin letters",
			"schema/enrollment TestParseAddress/a plus tag stays", "schema/enrollment TestParseAddressRefuses/a dotless i",
			"schema/enrollment TestUsernamesThatLookAlikeHaveOneSkeleton", "schema/enrollment TestConfusablesAreUnicodes",
			"schema/store TestAUsernameThatLooksLikeOneThatIsHeldIsTaken", "schema/store TestOfLookAlikesAtOnceOneIsTaken",
			"schema/store TestNamesFromBeforeTheyWereComparedStayAndHaveNoMoreTwins", "cmd/billcenter TestMigratingComparesUsernames", "producers/portal TestALookAlikeUsernameIsTaken"}, ""},
	{"F37", "somebody signs up with another person's mailbox",
		"no password before the mailbox has spoken, no session for who signed up; the mail names tenant, company and the account's tail, when and with what kind of browser somebody signed up, and has a link that cancels: its page asks, its button frees code and username at once, and the funnel counts it as not requested; the billing address is told",
		[]string{"producers/portal TestTheBrowserThatSignedUpIsNotSignedIn", "consumers/mailer TestTheTextOfAnActivationMail", "consumers/mailer TestTheTextOfANotice",
			"schema/store TestActivationTellsTheAddressOfRecord",
			"schema/store TestWhoDidNotSignUpCancelsTheSignUp", "schema/store TestWhatCannotBeDisowned", "schema/store TestOfActivationAndDisowningOneWins",
			"schema/store TestAMailSaysWhenAndWithWhatSomebodySignedUp", "producers/portal TestWhoDidNotSignUpCancels",
			"producers/portal TestWhereThereIsNothingToCancel", "consumers/funnel/simulation TestTheReportIsTheTruthHoweverTheFactsArrive",
			"cmd/billcenter TestTheOwnerOfAMailboxHasTheLastWord"}, ""},
	{"F38", "staff act as the customer and the log shows the customer",
		"staff act as themselves: each deed has actor, subject and reason in a trail that only grows; agents see what may be said until they recorded how the caller was verified, and then may view as the customer, read only and announced to both",
		[]string{"schema/store TestStaffHelpACustomerWhoIsStuck", "schema/store TestNothingIsDoneWithoutAReason", "schema/store TestTheAuditTrailIsOnlyAddedTo",
			"producers/helpdesk TestRoles", "producers/helpdesk TestPages/what may be said before", "schema/store TestACallerIsVerifiedForASittingAndAnAccount",
			"producers/helpdesk TestACallerIsVerifiedBeforeAnythingIsTold", "schema/store TestStaffViewAsACustomer", "producers/portal TestStaffSeeWhatTheCustomerSeesAndLeaveNothing",
			"producers/portal TestStaffChangeAndTakeAwayNothing", "cmd/billcenter TestAnAgentViewsAsTheCustomer"}, ""},
	{"F39", "one log-in for each account, or another address for each owner",
		"who is logged in adds accounts by number and code; many usernames may share one address; users of an account see each other and may end an access",
		[]string{"schema/store TestAnAccountIsAddedByItsCodeOnce", "schema/store TestAddingContinuesWhatIsPending", "schema/store TestEverybodyOfAnAddressIsReminded",
			"producers/portal TestAnotherAccount", "schema/store TestAccessEndsForOneAccountAndIsNotedForBoth", "producers/portal TestAColleaguesAccessEndsAtOnce"}, ""},
	{"F40", "openings by scanners are counted as people",
		"the fact says that a machine is suspected; an opening is no step of the funnel, and only machines' openings are a reason of their own",
		[]string{"producers/portal TestAutomated", "schema/store TestOpeningIsRecordedOnceForPeopleAndOnceForMachines", "consumers/funnel TestAnOpeningIsNoStep",
			"consumers/funnel/simulation TestEveryStepAndReasonOccurs"}, ""},
	{"F41", "the code cannot be entered without eyes, hands or haste",
		"one labelled input, pasting works, errors are announced and tied to their field, nothing is timed",
		[]string{"producers/portal TestErrorsAreAnnouncedAndNothingIsTimed", "producers/portal TestPages", "producers/portal TestTheSignUpIsForgiving",
			"cmd/billcenter TestBrowserFindsNoBarriers"}, ""},
}

func TestEveryFailureIsHandledAndProved(t *testing.T) {
	tests := map[string]map[string]*ast.FuncDecl{}
	for i, f := range failures {
		if want := fmt.Sprint("F", i+1); f.name != want {
			t.Errorf("case %s stands in the place of %s", f.name, want)
		}
		if f.wrong == "" || f.we == "" || len(f.proved) == 0 {
			t.Errorf("%s: it is not said what goes wrong, what we do or what proves it", f.name)
		}
		for _, p := range f.proved {
			pkg, name, _ := strings.Cut(p, " ")
			if tests[pkg] == nil {
				tests[pkg] = testsOf(t, pkg)
			}
			name, sub, _ := strings.Cut(name, "/")
			if test := tests[pkg][name]; test == nil {
				t.Errorf("%s: there is no test %s in %s", f.name, name, pkg)
			} else if sub != "" && !says(test, sub) {
				t.Errorf("%s: %s of %s has no case %q", f.name, name, pkg, sub)
			}
		}
		if f.open != "" {
			t.Logf("open: %s, %s: %s", f.name, f.wrong, f.open)
		}
	}
	if len(failures) != 41 {
		t.Errorf("%d cases, want 41", len(failures))
	}
}

// testsOf are the tests of a package by name, those behind build tags too.
func testsOf(t *testing.T, pkg string) map[string]*ast.FuncDecl {
	t.Helper()
	root := filepath.Join("..", "..", filepath.FromSlash(pkg))
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]*ast.FuncDecl{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = f
			}
		}
	}
	return tests
}

// says reports whether the words stand in a test as one literal.
func says(test *ast.FuncDecl, words string) bool {
	found := false
	ast.Inspect(test, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, err := strconv.Unquote(literal.Value)
			found = found || err == nil && text == words
		}
		return !found
	})
	return found
}
