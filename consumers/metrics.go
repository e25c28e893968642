package consumers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what becomes of deliveries. Labels come from closed lists only: consumers, events of the catalog,
// verdicts and faults. A nil *Metrics counts nothing.
type Metrics struct {
	deliveries  *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	deadLetters *prometheus.CounterVec
	panics      *prometheus.CounterVec
}

// NewMetrics registers the metrics; one Metrics serves all workers of a process.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "billcenter_consumer_deliveries_total",
			Help: "Messages by what became of them: done, retry, bury, park, stop.",
		}, []string{"consumer", "event", "verdict"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "billcenter_consumer_handling_seconds",
			Help:    "Time from a delivery to its verdict.",
			Buckets: prometheus.ExponentialBuckets(0.002, 3, 10), // 2 ms to 40 s
		}, []string{"consumer", "event"}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "billcenter_consumer_dead_letters_total",
			Help: "Messages given up, by reason.",
		}, []string{"consumer", "reason"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "billcenter_consumer_panics_total",
			Help: "Panics of handlers, each a defect to be mended.",
		}, []string{"consumer"}),
	}
	r.MustRegister(m.deliveries, m.seconds, m.deadLetters, m.panics)
	return m
}

// Observe counts one delivery. event is the event's name in the catalog, empty if it could not be decoded.
func (m *Metrics) Observe(consumer, event string, d Decision, took time.Duration) {
	if m == nil {
		return
	}
	if event == "" {
		event = "unreadable"
	}
	m.deliveries.WithLabelValues(consumer, event, string(d.Verdict)).Inc()
	m.seconds.WithLabelValues(consumer, event).Observe(took.Seconds())
	if d.Fault != nil {
		m.deadLetters.WithLabelValues(consumer, string(d.Fault.Fault)).Inc()
	}
}

// Panicked counts a delivery that ended in a panic.
func (m *Metrics) Panicked(consumer string) {
	if m != nil {
		m.panics.WithLabelValues(consumer).Inc()
	}
}
