package billing_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
)

func TestFaultsNameLineFieldAndRemedy(t *testing.T) {
	whole := string(events.Compact(sample(t, "InvoiceEmailed")))
	in := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("there is no %s", old)
		}
		return strings.Replace(s, old, new, 1)
	}
	for _, tt := range []struct {
		name, file, want string
	}{
		{"bare data without an account number", ada + "\n" + in(bob, `"accountNumber":"100482-7",`, ""), "line 2: accountNumber is missing or empty"},
		{"bare data with a bad date", in(bob, "2026-12-20", "2026-02-30"), "line 1: invoice.dueOn is not a date as YYYY-MM-DD between 2000 and 2100"},
		{"a line after blank ones", "\n\n\r\n" + in(bob, "USD", "usd"), "line 4: invoice.currency is not an ISO 4217 code in capitals, such as USD"},
		{"a line that is not JSON", ada + "\nhello\n" + bob, "line 2: is not a JSON object"},
		{"a line that was cut short", bob[:200] + "\n" + ada, "line 1: registrationCodeExpiresAt ends too early"},
		{"a line that was cut short between fields", bob[:len(bob)-2] + "\n" + ada, "line 1: invoice ends too early"},
		{"two objects on a line", ada + bob, "line 1: has data after the JSON object"},
		{"a name twice", in(bob, `"locale"`, `"companyName":"B","locale"`), "line 1: companyName appears twice"},
		{"a name in capitals", in(bob, "accountNumber", "AccountNumber"), "line 1: accountNumber is spelled in other case"},
		{"broken UTF-8", in(bob, "Bob", "B\xf6b"), "line 1: companyName is not valid UTF-8"},
		{"a fault in an object over several lines", ada + "\n" + indent(t, in(bob, `:12345`, `:"12345"`)) + "\n" + ada, "line 2: invoice.amountDueMinor is a string, not an integer in range"},
		{"a line of more than 1 MiB", in(bob, "Bob", strings.Repeat("B", 1<<20)) + "\n" + ada, "line 1: is longer than 1 MiB"},
		{"an object over lines that never ends", "{\n" + strings.Repeat(" \"a\": \"b\",\n", 100_000) + ada, "line 1: is longer than 1 MiB"},
		{"an event that the stream does not take", in(bob, `"locale"`, `"notes":"`+strings.Repeat("n", 600_000)+`","locale"`), "line 1: is larger than the 500 KiB"},
		{"a whole event with another tenant", in(whole, `"data":{`, `"tenant":"zeta","data":{`), "line 1: tenant differs"},
		{"a whole event without a specversion", in(whole, `"specversion":"1.0",`, ``), "line 1: specversion is missing"},
		{"a whole event with bad data", in(whole, "ap@bobsbuilding.example", "ap@bobsbuilding.example, b@x"), "line 1: data.billingEmail is not one plain e-mail address"},
		{"a whole event of a future version", in(whole, "emailed.v1", "emailed.v2"), "line 1: type is in a major version"},
		{"a whole event of no known type", in(whole, "net.billcenter.invoice", "org.zeta.invoice"), "line 1: type is not one of the contract's"},
		{"a fact of ours", string(events.Compact(sample(t, "Registered"))), "line 1: type is none of billing's own: net.billcenter.invoice.emailed.v1, net.billcenter.account.closed.v1, "},
		{"mail work of ours", string(events.Compact(sample(t, "ActivationRequested"))), "line 1: type is none of billing's own"},
		{"a whole event with a blank after its id", in(whole, `-mail-1"`, `-mail-1 "`), "line 1: id has blanks around it"},
		{"a row with a missing cell", header + adaRow + bobRow[:20] + "\n", "line 3: does not have as many cells as the header has columns"},
		{"a row with a quote in the wrong place", header + in(bobRow, "Bob's", `Bob"s`) + adaRow, "line 2: has a quote in the wrong place (line 2, byte 13)"},
		{"a row with an amount in dollars", header + adaRow + in(bobRow, "12345", "123.45"), "line 3: invoice.amountDueMinor is not a whole number"},
		{"a row in Latin-1", header + in(bobRow, "Bob", "B\xf6b"), "line 2: companyName is not valid UTF-8; save the file as UTF-8"},
		{"a row without an address", header + in(adaRow, "ada@sakura.example", ""), "line 2: billingEmail is missing or empty"},
		{"a row after a cell of two lines", header + in(bobRow, "Bob's Building", "\"Bob's\nBuilding\"") + in(adaRow, "INV-2", ""), "line 4: invoice.number is missing or empty"},
		{"a row with a NUL", header + in(bobRow, "Bob", "B\x00b"), `line 2: companyName holds \u0000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults, err := read(tt.file, mongo)
			if err != nil || len(faults) == 0 {
				t.Fatalf("no fault: %v", err)
			}
			at := slices.IndexFunc(faults, func(f *billing.Fault) bool { return strings.HasPrefix(f.Error(), tt.want) })
			if at < 0 {
				t.Fatalf("%v\nwant %q", faults, tt.want)
			}
			text := faults[at].Error()
			for _, secret := range []string{"Bob", "ap@", "ada@", "100482-7", "000731", "7F3K", "12345", "123.45", "zeta", "hello"} {
				if strings.Contains(strings.Replace(text, "12345 for 123.45 USD", "", 1), secret) {
					t.Errorf("%q repeats a value", text)
				}
			}
		})
	}
}

func TestReadingGoesOnAfterAFault(t *testing.T) {
	for name, file := range map[string]string{
		"NDJSON": strings.Join([]string{bob, "{", "  \"a\":", ada, "]", `{"accountNumber":"`, indent(t, bob)[:90], strings.Replace(ada, "INV-2", "INV-3", 1)}, "\n"),
		"CSV":    header + bobRow + "x\n" + adaRow + strings.Replace(adaRow, "ada@", "", 1) + strings.Replace(adaRow, "000731-4", `0"0`, 1) + strings.Replace(adaRow, "INV-2", "INV-3", 1),
	} {
		records, faults, err := read(file, mongo)
		if err != nil || len(records) != 3 || len(faults) < 3 {
			t.Errorf("%s: %d records, faults %v, error %v", name, len(records), faults, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct {
		name, file, want string
	}{
		{"an array", " [" + bob + "]", "the file is a JSON array; write one object a line: jq -c '.[]' FILE | billcenter publish -"},
		{"UTF-16", "\xff\xfe{\x00", "the file is UTF-16; save it as UTF-8"},
		{"gzip", "\x1f\x8b\x08", "the file is compressed"},
		{"a mistyped column", strings.Replace(header, "billingEmail", "billingEMail", 1), "column 3 of the header has an unknown name; did you mean billingEmail?"},
		{"a column with a letter too few", strings.Replace(header, "accountNumber", "acountNumber", 1), "did you mean accountNumber?"},
		{"a column without its path", strings.Replace(header, "invoice.dueOn", "dueOn", 1), "did you mean invoice.dueOn?"},
		{"a column with underscores", strings.Replace(header, "registrationCode,", "registration_code,", 1), "did you mean registrationCode?"},
		{"a column of another system", strings.Replace(header, "locale", "priority", 1), "column 7 of the header has an unknown name; the first line names the columns, and they are accountNumber, companyName"},
		{"no header", bobRow, "column 1 of the header has an unknown name; the first line names the columns"},
		{"a column twice", strings.Replace(header, "companyName", "accountNumber", 1), "the header has the column accountNumber twice"},
		{"a column that is missing", strings.Replace(header, "emailedAt,", "", 1), "the header has no column emailedAt"},
		{"semicolons", strings.ReplaceAll(header, ",", ";"), "the header is not separated by commas"},
		{"a quote that is never closed", header + bobRow + `"` + strings.Repeat(adaRow, 50_000), "the row after that of line 2 is longer than 1 MiB; is a quote not closed?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := read(tt.file, mongo)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "7F3K") || strings.Contains(err.Error(), "priority")) {
				t.Errorf("%v repeats what may be a value", err)
			}
		})
	}
}

func TestALineThatWasCutShortCostsItselfOnly(t *testing.T) {
	for name, cut := range map[string]string{"in a string": bob[:200], "between fields": bob[:len(bob)-2]} {
		records, faults, err := read(cut+"\n"+ada+"\n"+cut+"\nhello\n"+strings.Replace(ada, "INV-2", "INV-3", 1), mongo)
		want := 3
		if name == "between fields" {
			want = 2 // what follows could be its end
		}
		if err != nil || len(records) != 2 || len(faults) != want {
			t.Errorf("%s: %d records, faults %v, error %v", name, len(records), faults, err)
		}
	}
}

func TestALongTableIsReadToItsEnd(t *testing.T) {
	records := readAll(t, header+bobRow+strings.Repeat(",,,,,,,,,,,,\n", 200_000)+adaRow)
	if len(records) != 2 || records[1].Line != 200_003 {
		t.Errorf("%d records", len(records))
	}
}

func TestAFileThatBreaksOffEndsTheReading(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, file := range map[string]string{"NDJSON": strings.Repeat(bob+"\n", 5) + bob[:50], "CSV": header + strings.Repeat(bobRow, 5) + bobRow[:50]} {
		var last error
		n := 0
		for _, err := range billing.Read(io.MultiReader(strings.NewReader(file), &failing{broken}), mongo) {
			n, last = n+1, err
		}
		if n != 6 || !errors.Is(last, broken) {
			t.Errorf("%s: %d records, then %v", name, n, last)
		}
	}
}
