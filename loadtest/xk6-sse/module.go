// Package sse is the k6 module `k6/x/sse`: streams of server-sent events as a load test needs them.
//
// `sse.open(url, params, setup)` is the surface of the public extension of that name, so that scripts
// run on either. `sse.reader(url, params)` is for many streams in one VU: it reads in Go, without a
// call into JavaScript for every event. `sse.ledger(name)` knows which events each reader was owed,
// `sse.batch(url, params)` publishes while it reads the receipts. README.md has the whole surface.
package sse

import (
	"net/http"
	"sync"
	"time"

	"go.k6.io/k6/js/common"
	"go.k6.io/k6/js/modules"
)

func init() {
	modules.Register("k6/x/sse", New())
}

// RootModule is what all VUs of a process share: the ledgers, and what is seen over time.
type RootModule struct {
	mu       sync.Mutex
	ledgers  map[string]*Ledger
	timeline *timeline
	faults   *faults
}

// Module is one VU's view.
type Module struct {
	vu      modules.VU
	root    *RootModule
	metrics *streamMetrics

	mu         sync.Mutex
	transports map[string]*http.Transport
}

var (
	_ modules.Module   = &RootModule{}
	_ modules.Instance = &Module{}
)

// New is a module that no VU has imported yet.
func New() *RootModule {
	now := time.Now()
	return &RootModule{ledgers: map[string]*Ledger{}, timeline: newTimeline(now), faults: newFaults(now)}
}

// NewModuleInstance gives a VU its own.
func (r *RootModule) NewModuleInstance(vu modules.VU) modules.Instance {
	metrics, err := registerMetrics(vu.InitEnv().Registry)
	if err != nil {
		common.Throw(vu.Runtime(), err)
	}
	return &Module{vu: vu, root: r, metrics: metrics, transports: map[string]*http.Transport{}}
}

// Exports are the functions of the module, each also by its own name.
func (m *Module) Exports() modules.Exports {
	functions := map[string]any{
		"open":     m.open,
		"reader":   m.reader,
		"batch":    m.batch,
		"ledger":   m.root.ledger,
		"decode":   decode,
		"now":      func() float64 { return milliseconds(time.Now()) },
		"process":  process,
		"timeline": m.root.timeline.seconds,
		"fault":    m.root.faults.note,
		"faults":   m.root.faults.list,
	}
	return modules.Exports{Default: functions, Named: functions}
}

// milliseconds since the Unix epoch, with the fraction that JavaScript's Date leaves out.
func milliseconds(at time.Time) float64 {
	return float64(at.UnixNano()) / float64(time.Millisecond)
}
