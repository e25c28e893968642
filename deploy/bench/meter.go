package main

import (
	"os"
	"runtime/pprof"
	"time"
)

// Result is one measurement.
type Result struct {
	Events    int     `json:"events"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
	CPU       CPU     `json:"cpu"`
}

// CPU says which process used the processors.
type CPU struct {
	Client   float64 `json:"clientMicros"`   // µs an event: this process, thus the worker or its peer
	Postgres float64 `json:"postgresMicros"` // µs an event
	Broker   float64 `json:"brokerMicros"`   // µs an event
	Others   float64 `json:"othersCores"`    // cores that everything else on the machine kept busy meanwhile
}

// meter takes the time of one measurement and the processor time that was used in it.
type meter struct {
	ground             *ground
	broker, postmaster int // process ids
	began              time.Time
	before             times
}

type times struct{ client, postgres, broker, all time.Duration }

func (s *stage) startMeter() (*meter, error) {
	postmaster, err := s.ground.postmaster()
	if err != nil {
		return nil, err
	}
	if s.ground.profile != nil {
		if err := pprof.StartCPUProfile(s.ground.profile); err != nil {
			return nil, err
		}
	}
	m := &meter{ground: s.ground, broker: s.broker.pid(), postmaster: postmaster}
	if m.before, err = m.read(); err != nil {
		return nil, err
	}
	m.began = time.Now()
	return m, nil
}

func (m *meter) read() (t times, err error) {
	if t.client, err = processorTime(os.Getpid()); err != nil {
		return t, err
	}
	if t.postgres, err = processorTimeWithChildren(m.postmaster); err != nil {
		return t, err
	}
	if t.broker, err = processorTime(m.broker); err != nil {
		return t, err
	}
	t.all, _, err = machineTime()
	return t, err
}

// stop ends the measurement of so many events.
func (m *meter) stop(events int) (Result, error) {
	took := time.Since(m.began)
	after, err := m.read()
	if err != nil {
		return Result{}, err
	}
	if err := m.ground.endProfile(); err != nil {
		return Result{}, err
	}
	each := func(after, before time.Duration) float64 {
		return float64((after - before).Microseconds()) / float64(events)
	}
	b := m.before
	ours := after.client - b.client + after.postgres - b.postgres + after.broker - b.broker
	return Result{
		Events: events, Seconds: took.Seconds(), PerSecond: float64(events) / took.Seconds(),
		CPU: CPU{
			Client: each(after.client, b.client), Postgres: each(after.postgres, b.postgres), Broker: each(after.broker, b.broker),
			Others: max(0, (after.all-b.all-ours).Seconds()/took.Seconds()),
		},
	}, nil
}

// endProfile ends the CPU profile that the first measurement began, if one is wanted.
func (g *ground) endProfile() error {
	if g.profile == nil {
		return nil
	}
	pprof.StopCPUProfile()
	err := g.profile.Close()
	g.profile = nil
	return err
}
