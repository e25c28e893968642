//go:build ci

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/events"
)

// The dashboard on a wide and on a narrow screen, in a browser that runs no script, over facts that another program published.
func TestBrowserShowsTheFunnel(t *testing.T) {
	up := start(t, "--no-demo")
	history, err := simulation.Facts(1, 300)
	if err != nil {
		t.Fatal(err)
	}
	up.say(t, history.Facts)
	query := "as_of=" + url.QueryEscape(history.AsOf.Format(time.RFC3339Nano))
	eventually(t, "all customers in the funnel", func() error { return up.entered(query, len(history.Customers)) })

	b := openTab(t, chromedp.Flag("blink-settings", "scriptEnabled=false"))
	for _, width := range []int64{1280, 390} {
		b.do(
			chromedp.EmulateViewport(width, 900),
			chromedp.Navigate(up.Staff+"/funnel?trend=week&breakdown=locale&compare_from=2026-03-02&compare_to=2026-03-16&"+query),
			chromedp.WaitVisible(chromedp.CSS("svg.chart")), chromedp.WaitVisible(chromedp.CSS("table.numbers")),
		)
		b.shot(fmt.Sprintf("funnel-%d", width))
		if wide := b.text(`String(document.documentElement.scrollWidth)`); wide != fmt.Sprint(width) {
			t.Errorf("on a screen of %d the page is %s wide", width, wide)
		}
		if small := b.text(`String([...document.querySelectorAll("form.funnel input, form.funnel select, form.funnel button, td a")].filter(e => e.getBoundingClientRect().height < 24).length)`); small != "0" {
			t.Errorf("on a screen of %d, %s targets are lower than 24 pixels (WCAG 2.5.8)", width, small)
		}
	}

	// From a number to the journeys, from a journey to its facts.
	b.do(
		chromedp.Click(chromedp.Search(`//table[contains(caption, "Attempts by step")]//tr[contains(th, "ActivationMailed")]/td[4]/a`)),
		chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Journeys")]`)),
	)
	b.shot("funnel-journeys")
	b.do(
		chromedp.Click(chromedp.CSS("tbody th a")),
		chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "facts")]`)), chromedp.WaitVisible(chromedp.Search(`//th[contains(., "ActivationMailed")]`)),
	)
	b.shot("funnel-facts")
	if wide := b.text(`String(document.documentElement.scrollWidth)`); wide != "390" {
		t.Errorf("on a screen of 390 a journey is %s wide", wide)
	}

	// A setting by the form: what goes without saying is not in the address.
	b.do(
		chromedp.Navigate(up.Staff+"/funnel"), chromedp.SetValue(chromedp.CSS("#window"), "36h"),
		chromedp.Click(chromedp.CSS("form.funnel button")), chromedp.WaitVisible(chromedp.Search(`//dd[contains(., "36h")]`)),
	)
	if address := b.text(`location.pathname + location.search`); address != "/funnel?window=36h" {
		t.Errorf("the address is %s", address)
	}
}

// say publishes facts as a foreign program would.
func (s *system) say(t *testing.T, facts []events.Received) {
	t.Helper()
	nc, err := nats.Connect(s.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		m, err := events.Encode(f.Tenant, f.Envelope, f.Message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Body}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("facts were not acknowledged")
	}
}

// entered asks until the report has so many entries and is fresh.
func (s *system) entered(query string, want int) error {
	r, err := http.Get(s.Staff + "/funnel.json?" + query)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var report struct {
		Overall   struct{ Entered int }
		Watermark *time.Time
	}
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
		return err
	}
	if report.Watermark == nil {
		return errors.New("there is no watermark")
	}
	if report.Overall.Entered != want {
		return fmt.Errorf("%d entered, want %d", report.Overall.Entered, want)
	}
	return nil
}
