package sse

import (
	"math"
	"sync"
	"time"
)

// timeline is what streams did in each second of the test: k6's summary has no course of time, and a
// chart needs one.
type timeline struct {
	mu      sync.Mutex
	start   time.Time
	open    int
	buckets []second
}

// second is one second of a timeline.
type second struct {
	open, opened, closed, refused int
	events, bytes                 int
	// latencies counts by steps of a quarter, from 10 µs on.
	latencies [latencySteps]uint32
	measured  uint32
}

const (
	latencySteps = 80
	latencyStep  = 1.25
	latencyLeast = 0.01
	// longest is how many seconds are kept: what comes later is counted in the last one.
	longest = 6 * 3600
)

// Second is one second of the test, for a chart. Latencies are in milliseconds, NaN without any.
type Second struct {
	T       int     `js:"t"`
	Open    int     `js:"open"`
	Opened  int     `js:"opened"`
	Closed  int     `js:"closed"`
	Refused int     `js:"refused"`
	Events  int     `js:"events"`
	Bytes   int     `js:"bytes"`
	P50     float64 `js:"p50"`
	P95     float64 `js:"p95"`
}

func newTimeline(start time.Time) *timeline {
	return &timeline{start: start}
}

// now is the current second. Those between had the streams that were open before them.
func (t *timeline) now() *second {
	index := min(max(int(time.Since(t.start)/time.Second), 0), longest-1)
	for len(t.buckets) <= index {
		t.buckets = append(t.buckets, second{open: t.open})
	}
	return &t.buckets[index]
}

// opened and closed count streams.
func (t *timeline) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.open++
	now.opened++
	now.open = t.open
}

func (t *timeline) closed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.open--
	now.closed++
	now.open = t.open
}

// streams is how many are open now.
func (t *timeline) streams() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

func (t *timeline) refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now().refused++
}

// received counts an event; a latency below 0 is not known.
func (t *timeline) received(bytes int, latency float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	now.events++
	now.bytes += bytes
	if latency >= 0 {
		step := math.Log(max(latency, latencyLeast)/latencyLeast) / math.Log(latencyStep)
		now.latencies[min(int(step), latencySteps-1)]++
		now.measured++
	}
}

// seconds gives all of them.
func (t *timeline) seconds() []Second {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Second, len(t.buckets))
	for i := range t.buckets {
		b := &t.buckets[i]
		all[i] = Second{T: i, Open: b.open, Opened: b.opened, Closed: b.closed, Refused: b.refused,
			Events: b.events, Bytes: b.bytes, P50: b.quantile(0.5), P95: b.quantile(0.95)}
	}
	return all
}

func (b *second) quantile(of float64) float64 {
	if b.measured == 0 {
		return math.NaN()
	}
	rank := uint32(math.Ceil(of * float64(b.measured)))
	for step, count := range b.latencies {
		if rank <= count {
			return latencyLeast * math.Pow(latencyStep, float64(step)+0.5)
		}
		rank -= count
	}
	return latencyLeast * math.Pow(latencyStep, latencySteps)
}
