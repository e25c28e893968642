package funnel

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Charts are drawn in units that come out as about a pixel each; a class says how a mark looks (pages/funnel.css).

// box is a rectangle of a chart.
type box struct {
	X, Y, W, H float64
	Class      string
}

// label is a text of a chart; Anchor is SVG's text-anchor.
type label struct {
	X, Y         float64
	Anchor, Text string
}

type line struct {
	X1, Y1, X2, Y2 float64
	Class          string
}

type dot struct {
	X, Y  float64
	Class string
}

// chart is a drawing and what it shows, in words.
type chart struct {
	ID, Title     string
	Width, Height float64
	Lines         []line
	Boxes         []box
	Dots          []dot
	Labels        []label
}

func px(x float64) float64 { return math.Round(x*10) / 10 }

func (c *chart) box(x, y, w, h float64, class string) {
	if w > 0 && h > 0 {
		c.Boxes = append(c.Boxes, box{px(x), px(y), px(max(w, 0.5)), px(max(h, 0.5)), class})
	}
}

func (c *chart) text(x, y float64, anchor, text string) {
	c.Labels = append(c.Labels, label{px(x), px(y), anchor, text})
}

func (c *chart) line(x1, y1, x2, y2 float64, class string) {
	c.Lines = append(c.Lines, line{px(x1), px(y1), px(x2), px(y2), class})
}

// funnelChart has a bar for each step: who went on, who is on the way and who dropped, to the scale of the first.
func funnelChart(steps []stepView) chart {
	const width, row, bar = 360.0, 50.0, 20.0
	c := chart{ID: "chart-funnel", Width: width, Height: row * float64(len(steps))}
	most := 1
	for _, s := range steps {
		most = max(most, s.Entered.N)
	}
	var told []string
	for i, s := range steps {
		y := row * float64(i)
		c.text(0, y+15, "start", s.Name)
		c.text(width, y+15, "end", thousands(s.Entered.N)+" · "+percent(s.RateOverall))
		x := 0.0
		for _, part := range []struct {
			n     int
			class string
		}{{s.Converted.N, "converted"}, {s.InProgress.N, "progress"}, {s.Dropped.N, "dropped"}} {
			w := width * float64(part.n) / float64(most)
			c.box(x, y+21, w, bar, part.class)
			x += w
		}
		told = append(told, fmt.Sprintf("%s %s", s.Name, thousands(s.Entered.N)))
	}
	c.Title = "Attempts that entered each step: " + strings.Join(told, ", ") + "."
	return c
}

// timesChart has a bar for each bucket of a histogram.
func timesChart(id, of string, buckets []Bucket) chart {
	const width, height, top, bottom = 360.0, 130.0, 16.0, 24.0
	c := chart{ID: id, Width: width, Height: height, Title: "How long it took " + of + ": a bar for each row of the table of times."}
	most := 1
	for _, b := range buckets {
		most = max(most, b.Count)
	}
	floor, slot := height-bottom, width/float64(max(len(buckets), 6))
	for i, b := range buckets {
		h := (floor - top) * float64(b.Count) / float64(most)
		x := slot * float64(i)
		c.box(x+2, floor-h, slot-4, h, "converted")
		if b.Count == most || b.Count > 0 && most < 1000 { // longer ones would run into each other
			c.text(x+slot/2, floor-h-4, "middle", thousands(b.Count))
		}
		if (len(buckets)-1-i)%2 == 0 || len(buckets) < 8 {
			c.text(x+slot/2, height-8, "middle", strings.ReplaceAll(span(&b.UpToSeconds), " ", ""))
		}
	}
	c.line(0, floor, width, floor, "axis")
	return c
}

// trendChart has a bar for the entries of each period and a line for the rate. What is not final is drawn hollow and dashed.
func trendChart(points []TrendPoint) chart {
	const width, height, left, right, top, bottom = 720.0, 230.0, 76.0, 50.0, 24.0, 30.0
	c := chart{ID: "chart-trend", Width: width, Height: height}
	most := 1
	for _, p := range points {
		most = max(most, p.Entered)
	}
	floor := height - bottom
	slot := (width - left - right) / float64(max(len(points), 1))
	var before *dot
	for i, p := range points {
		x := left + slot*float64(i)
		class, fine := "open", "open"
		if p.Final {
			class, fine = "entries", ""
		}
		h := (floor - top) * float64(p.Entered) / float64(most)
		c.box(x+slot*.15, floor-h, slot*.7, h, class)
		r := rate(p.Converted, p.Entered)
		if r == nil {
			before = nil
			continue
		}
		d := dot{px(x + slot/2), px(floor - (floor-top)**r), "point " + fine}
		if before != nil {
			c.line(before.X, before.Y, d.X, d.Y, "way "+fine)
		}
		c.Dots = append(c.Dots, d)
		before = &d
	}
	c.line(left, floor, width-right, floor, "axis")
	c.line(left, top, width-right, top, "grid")
	c.text(left-6, top+4, "end", thousands(most))
	c.text(left-6, floor+4, "end", "0")
	c.text(left, 12, "start", "entered (bars)")
	c.text(width-right+6, top+4, "start", "100 %")
	c.text(width-right+6, floor+4, "start", "0 %")
	c.text(width-right, 12, "end", "converted of them (line)")
	if n := len(points); n > 0 {
		c.text(left, height-10, "start", points[0].Period)
		if n > 2 {
			c.text(left+slot*(float64(n/2)+.5), height-10, "middle", points[n/2].Period)
		}
		if n > 1 {
			c.text(width-right, height-10, "end", points[n-1].Period)
		}
		final := len(points) - len(slices.DeleteFunc(slices.Clone(points), func(p TrendPoint) bool { return p.Final }))
		c.Title = fmt.Sprintf("Entries and conversion rate of %d periods from %s to %s, %d of them final: each is a row of the table.", n, points[0].Period, points[n-1].Period, final)
	}
	return c
}
