package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory is how much memory was in use while a measurement ran. Flat means that Growth stays near 1.
type Memory struct {
	Heap       Series `json:"heap"`       // objects on the worker's heap, dead ones included until they are collected
	Live       Series `json:"live"`       // objects that the last collection found in use
	Resident   Series `json:"resident"`   // of the worker's process
	BrokerSize Series `json:"brokerSize"` // resident memory of the broker's process
}

// Series is one figure over time, in bytes.
type Series struct {
	Min    uint64  `json:"min"`
	Max    uint64  `json:"max"`
	Last   uint64  `json:"last"`
	Growth float64 `json:"growth"` // the second half's maximum as a multiple of the first half's

	values []uint64
}

func (s *Series) add(v uint64) { s.values = append(s.values, v) }

// sum fills in the figures.
func (s *Series) sum() {
	if len(s.values) < 2 {
		return
	}
	highest := func(values []uint64) uint64 {
		var m uint64
		for _, v := range values {
			m = max(m, v)
		}
		return m
	}
	s.Min, s.Max, s.Last = s.values[0], highest(s.values), s.values[len(s.values)-1]
	for _, v := range s.values {
		s.Min = min(s.Min, v)
	}
	half := len(s.values) / 2
	if first := highest(s.values[:half]); first > 0 {
		s.Growth = float64(highest(s.values[half:])) / float64(first)
	}
}

const samplePause = 50 * time.Millisecond

// watchMemory samples until the function that it returns is called.
func watchMemory(brokerPID int) (end func() (Memory, error)) {
	stop, done := make(chan struct{}), make(chan struct{})
	var m Memory
	var err error
	go func() {
		defer close(done)
		tick := time.NewTicker(samplePause)
		defer tick.Stop()
		for err == nil {
			err = m.sample(brokerPID)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() (Memory, error) {
		close(stop)
		<-done
		if err != nil {
			return Memory{}, fmt.Errorf("watch the memory: %w", err)
		}
		for _, s := range []*Series{&m.Heap, &m.Live, &m.Resident, &m.BrokerSize} {
			s.sum()
		}
		return m, nil
	}
}

func (m *Memory) sample(brokerPID int) error {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	m.Heap.add(samples[0].Value.Uint64())
	m.Live.add(samples[1].Value.Uint64())
	resident, err := residentBytes(os.Getpid())
	if err != nil {
		return err
	}
	m.Resident.add(resident)
	if resident, err = residentBytes(brokerPID); err != nil {
		return err
	}
	m.BrokerSize.add(resident)
	return nil
}

// releaseMemory gives back what the preparation of a measurement used, so that it is not taken for the measured part's.
func releaseMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}
