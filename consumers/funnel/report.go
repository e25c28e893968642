package funnel

import (
	_ "embed"
	"time"
)

// ReportSchema is the JSON Schema of a Report.
//
//go:embed report.schema.json
var ReportSchema []byte

// Report answers a query. Every number in it is a number of attempts, and Journeys lists those behind it.
//
// entered, converted, inProgress and dropped of a step look toward the next one: converted + inProgress + dropped = entered.
// At the last step asked for, all that entered have converted.
type Report struct {
	AsOf      time.Time    `json:"asOf"`
	From      string       `json:"from"` // as asked; empty: no bound
	To        string       `json:"to"`
	Tenant    string       `json:"tenant,omitempty"`
	Zone      string       `json:"zone,omitempty"`
	Window    string       `json:"window"` // a Go duration, "720h0m0s"
	Order     Order        `json:"order"`
	Count     Counting     `json:"count"`
	Steps     []StepReport `json:"steps"`
	Overall   Overall      `json:"overall"`
	Trend     []TrendPoint `json:"trend"`     // empty without a trend in the query
	Cohorts   []Cohort     `json:"cohorts"`   // by week of entry; empty without a trend in the query
	Breakdown *Breakdown   `json:"breakdown"` // null without one in the query
	Watermark *time.Time   `json:"watermark"` // every fact that was published before it is counted; null: no worker has run
}

// StepReport is one step.
type StepReport struct {
	Step             string        `json:"step"`
	Entered          int           `json:"entered"`
	Converted        int           `json:"converted"`
	InProgress       int           `json:"inProgress"` // the window is still open: not lost
	Dropped          int           `json:"dropped"`
	RateOverall      *float64      `json:"rateOverall"`      // entered / entered of the first step; null: nobody entered there
	RateFromPrevious *float64      `json:"rateFromPrevious"` // entered / entered of the step before
	TimeToConvert                  // from this step to the next
	Reasons          []ReasonCount `json:"reasons"` // why the dropped ones did; sums to dropped
}

// TimeToConvert is over attempts that converted inside the window. Median and p90 interpolate, as PostgreSQL's percentile_cont.
type TimeToConvert struct {
	MedianSeconds *float64 `json:"medianSeconds"`
	P90Seconds    *float64 `json:"p90Seconds"`
	Histogram     []Bucket `json:"histogram"`
}

// Bucket counts times up to and including its end, and longer than the bucket before.
type Bucket struct {
	UpToSeconds float64 `json:"upToSeconds"`
	Count       int     `json:"count"`
}

// ReasonCount is how many dropped for a reason.
type ReasonCount struct {
	Reason DropReason `json:"reason"`
	Count  int        `json:"count"`
}

// Overall looks at whole attempts, from the entry to the last step asked for.
type Overall struct {
	Entered         int      `json:"entered"`
	Converted       int      `json:"converted"`
	InProgress      int      `json:"inProgress"`
	Dropped         int      `json:"dropped"`
	Rate            *float64 `json:"rate"`          // converted / entered, those in progress among them
	MatureEntered   int      `json:"matureEntered"` // attempts whose window is over
	MatureConverted int      `json:"matureConverted"`
	MatureRate      *float64 `json:"matureRate"` // converted / entered of those
	LiveRate        *float64 `json:"liveRate"`   // Kaplan-Meier estimate over all attempts, those in progress censored
	TimeToConvert
}

// TrendPoint is the attempts that entered in a period.
type TrendPoint struct {
	Period    string `json:"period"` // its first day; a month as YYYY-MM
	Entered   int    `json:"entered"`
	Converted int    `json:"converted"`
	Final     bool   `json:"final"`    // no fact that is published in order can change it
	Revision  int    `json:"revision"` // how often late facts restated it after it was final
}

// Cohort is a week of entries and how many had converted so many weeks after their entry.
type Cohort struct {
	Week      string `json:"week"` // its Monday
	Entered   int    `json:"entered"`
	Converted []int  `json:"converted"` // within 1, 2, ... weeks; cumulative; weeks that are not over for all are left out
}

// Breakdown is a report by the value that a property has in the entry's fact.
type Breakdown struct {
	Property string    `json:"property"`
	Segments []Segment `json:"segments"` // the 20 with the most entries, then the rest as one
}

// Segment is the attempts with one value.
type Segment struct {
	Value *string      `json:"value"`           // null: the entry's fact does not say
	Other bool         `json:"other,omitempty"` // all values beyond the first 20
	Steps []StepReport `json:"steps"`
	Overall
}
