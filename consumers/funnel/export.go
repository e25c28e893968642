package funnel

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteCSV writes the steps of a report, and of each segment where there is a breakdown, then a line for each reason. It is
// RFC 4180 with a header; times are seconds, rates 0 to 1, and what does not exist is empty.
func WriteCSV(w io.Writer, r Report) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	out.Write([]string{"segment", "step", "entered", "converted", "inProgress", "dropped", "rateOverall", "rateFromPrevious", "medianSeconds", "p90Seconds", "reason", "reasonCount"})
	writeSteps(out, "", r.Steps)
	if r.Breakdown != nil {
		for _, s := range r.Breakdown.Segments {
			value := "(none)"
			if s.Value != nil {
				value = *s.Value
			}
			writeSteps(out, r.Breakdown.Property+" "+value, s.Steps)
		}
	}
	out.Flush()
	return out.Error()
}

func writeSteps(out *csv.Writer, segment string, steps []StepReport) {
	for _, s := range steps {
		out.Write(cells(segment, s.Step, strconv.Itoa(s.Entered), strconv.Itoa(s.Converted), strconv.Itoa(s.InProgress), strconv.Itoa(s.Dropped),
			decimal(s.RateOverall), decimal(s.RateFromPrevious), decimal(s.MedianSeconds), decimal(s.P90Seconds), "", ""))
		for _, reason := range s.Reasons {
			out.Write(cells(segment, s.Step, "", "", "", "", "", "", "", "", string(reason.Reason), strconv.Itoa(reason.Count)))
		}
	}
}

// cells are texts that no spreadsheet takes for a formula (OWASP, CSV injection).
func cells(texts ...string) []string {
	for i, t := range texts {
		if t != "" && strings.ContainsRune("=+-@\t\r", rune(t[0])) {
			texts[i] = "'" + t
		}
	}
	return texts
}

func decimal(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', -1, 64)
}

// WriteJourneysCSV writes the attempts behind a number.
func WriteJourneysCSV(w io.Writer, traced []Traced) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	out.Write([]string{"tenant", "accountRef", "entered", "reached", "at", "outcome", "reason"})
	for _, t := range traced {
		out.Write(cells(t.Tenant, t.Account, t.Entered.Format(time.RFC3339Nano), t.Reached, t.At.Format(time.RFC3339Nano), t.Outcome, string(t.Reason)))
	}
	out.Flush()
	return out.Error()
}

// WriteJourneysNDJSON writes them one a line.
func WriteJourneysNDJSON(w io.Writer, traced []Traced) error {
	out := json.NewEncoder(w)
	for _, t := range traced {
		if err := out.Encode(t); err != nil {
			return err
		}
	}
	return nil
}
