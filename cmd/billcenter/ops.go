package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema"
	"github.com/mongotel/billcenter/schema/store"
)

// ops is the operator's listener: /livez, /readyz, /metrics, /debug/pprof/.
type ops struct {
	parts    *parts
	draining atomic.Bool

	mu      sync.Mutex
	checked time.Time
	problem map[string]string
}

func (o *ops) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }) // asks nobody: a restart would not mend the database
	mux.HandleFunc("GET /readyz", o.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.parts.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // the reader may have gone
}

// ready says 503 from the moment that draining begins, and while database, schema or broker are not usable.
func (o *ops) ready(w http.ResponseWriter, r *http.Request) {
	problem := o.check(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if len(problem) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	state := map[string]any{"ready": len(problem) == 0}
	if len(problem) > 0 {
		state["problems"] = problem
	}
	_ = json.NewEncoder(w).Encode(state) // the reader may have gone
}

// check asks at most once a second, however many ask it.
func (o *ops) check(ctx context.Context) map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.draining.Load() {
		return map[string]string{"process": "draining"}
	}
	if time.Since(o.checked) < time.Second {
		return o.problem
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	problem := map[string]string{}
	if err := o.parts.store.Ping(ctx); err != nil {
		problem["database"] = "does not answer"
	} else if missing, err := pendingMigrations(ctx, o.parts); err != nil || missing > 0 {
		problem["schema"] = "is not migrated"
	}
	if err := o.parts.bus.Healthy(); err != nil {
		problem["broker"] = "is not connected"
	}
	o.problem, o.checked = problem, time.Now()
	return problem
}

func pendingMigrations(ctx context.Context, p *parts) (int, error) {
	states, err := schema.Status(ctx, p.db.DB)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range states {
		if !s.Applied {
			n++
		}
	}
	return n, nil
}

func (o *ops) serve(ctx context.Context, l net.Listener) error {
	return serve(ctx, &http.Server{Handler: o.handler(), ReadHeaderTimeout: 5 * time.Second}, l)
}

// newRegistry holds the process's own metrics and those that are read from database and broker when asked.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// backlogs tells what waits, as read at each scrape.
type backlogs struct {
	store *store.Store
	bus   *bus.Bus
	log   *slog.Logger

	outboxRows, outboxAge, messages, pending, ackPending, redelivered *prometheus.Desc
}

func newBacklogs(s *store.Store, b *bus.Bus, log *slog.Logger) *backlogs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("billcenter_"+name, help, labels, nil)
	}
	return &backlogs{
		store: s, bus: b, log: log,
		outboxRows:  desc("outbox_rows", "Announcements that were committed and not published yet."),
		outboxAge:   desc("outbox_oldest_seconds", "Age of the oldest of them."),
		messages:    desc("stream_messages", "Messages in a stream.", "stream"),
		pending:     desc("consumer_pending", "Messages that a consumer was not given yet.", "consumer"),
		ackPending:  desc("consumer_ack_pending", "Messages that a consumer was given and has not finished.", "consumer"),
		redelivered: desc("consumer_redelivered", "Of them, those that were delivered more than once.", "consumer"),
	}
}

func (b *backlogs) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(b, ch) }

func (b *backlogs) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if rows, oldest, err := b.store.Backlog(ctx); err != nil {
		b.log.Warn("metrics of the outbox", "error", err)
	} else {
		gauge(b.outboxRows, float64(rows))
		gauge(b.outboxAge, oldest.Seconds())
	}
	streams, err := b.bus.Status(ctx)
	if err != nil {
		b.log.Warn("metrics of the streams", "error", err)
		return
	}
	for _, s := range streams {
		if s.Missing {
			continue
		}
		if !s.Denied {
			gauge(b.messages, float64(s.Messages), s.Name)
		}
		for _, c := range s.Consumers {
			if !c.Missing && !c.Denied {
				gauge(b.pending, float64(c.Pending), c.Name)
				gauge(b.ackPending, float64(c.AckPending), c.Name)
				gauge(b.redelivered, float64(c.Redelivered), c.Name)
			}
		}
	}
}
