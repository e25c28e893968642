package funnel

import (
	"context"
	"math"
)

// Sample is one side of a comparison: the attempts whose window is over, since others could still convert.
type Sample struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	Entered   int      `json:"entered"`
	Converted int      `json:"converted"`
	Rate      *float64 `json:"rate"`
}

// enough is the least number of entries on each side with which a difference is judged, as at Mixpanel.
const enough = 30

const significance = 0.05

// Comparison of two periods' mature conversion rates.
type Comparison struct {
	A           Sample   `json:"a"`
	B           Sample   `json:"b"`
	Difference  *float64 `json:"difference"`  // rate of B less rate of A; null: one of them has no entries
	PValue      *float64 `json:"pValue"`      // Fisher's exact test, two-sided; null: fewer than 30 entries on a side
	Significant bool     `json:"significant"` // p below 0.05
	Enough      bool     `json:"enough"`      // 30 entries on each side at least
}

// Compare tells whether two queries' rates differ by more than chance. It does not tell why.
func (f *Funnel) Compare(ctx context.Context, a, b Query) (Comparison, error) {
	var c Comparison
	for _, side := range []struct {
		q Query
		s *Sample
	}{{a, &c.A}, {b, &c.B}} {
		side.q.Trend, side.q.Breakdown = "", ""
		r, err := f.Report(ctx, side.q)
		if err != nil {
			return c, err
		}
		o := r.Overall
		*side.s = Sample{From: side.q.From, To: side.q.To, Entered: o.MatureEntered, Converted: o.MatureConverted, Rate: o.MatureRate}
	}
	if c.A.Rate == nil || c.B.Rate == nil {
		return c, nil
	}
	c.Difference = new(*c.B.Rate - *c.A.Rate)
	if c.Enough = c.A.Entered >= enough && c.B.Entered >= enough; c.Enough {
		p := fisher(c.A.Converted, c.A.Entered, c.B.Converted, c.B.Entered)
		c.PValue, c.Significant = &p, p < significance
	}
	return c, nil
}

// fisher is the two-sided p-value of Fisher's exact test: how likely a split as uneven as a of n and b of m, or more so, is if
// both have one rate.
func fisher(a, n, b, m int) float64 {
	hits := a + b
	choose := func(n, k int) float64 {
		x, _ := math.Lgamma(float64(n + 1))
		y, _ := math.Lgamma(float64(k + 1))
		z, _ := math.Lgamma(float64(n - k + 1))
		return x - y - z
	}
	all := choose(n+m, hits)
	chance := func(k int) float64 { return math.Exp(choose(n, k) + choose(m, hits-k) - all) }
	seen := chance(a) * (1 + 1e-7) // equal ones must not be lost to rounding
	p := 0.0
	for k := max(0, hits-m); k <= min(n, hits); k++ {
		if c := chance(k); c <= seen {
			p += c
		}
	}
	return min(p, 1)
}
