package sse

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/js/modulestest"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/lib/netext"
	"go.k6.io/k6/metrics"
)

// vu is a VU with the module imported as `sse`, and what it measured.
type vu struct {
	t       *testing.T
	runtime *modulestest.Runtime
	root    *RootModule
	samples chan metrics.SampleContainer
	cancel  context.CancelFunc
}

func newVU(t *testing.T) *vu {
	t.Helper()
	runtime := modulestest.NewRuntime(t)
	root := New()
	instance := root.NewModuleInstance(runtime.VU)
	registry := runtime.VU.InitEnvField.Registry
	if err := runtime.VU.Runtime().Set("sse", instance.Exports().Default); err != nil {
		t.Fatal(err)
	}
	samples := make(chan metrics.SampleContainer, 10_000)
	system := metrics.SystemTagSet(metrics.TagURL | metrics.TagStatus | metrics.TagName | metrics.TagProto)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	runtime.MoveToVUContext(&lib.State{
		CookieJar:      jar,
		Dialer:         netext.NewDialer(net.Dialer{}, nil),
		Samples:        samples,
		BuiltinMetrics: runtime.BuiltinMetrics,
		Options:        lib.Options{SystemTags: &system},
		Tags:           lib.NewVUStateTags(registry.RootTagSet()),
	})
	// A deadline for everything: a test that waits for ever says nothing.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	runtime.VU.CtxField = ctx
	return &vu{t: t, runtime: runtime, root: root, samples: samples, cancel: cancel}
}

// run runs a script and gives what its last statement is.
func (v *vu) run(script string, arguments ...any) sobek.Value {
	v.t.Helper()
	value, err := v.runtime.VU.Runtime().RunString(fmt.Sprintf(script, arguments...))
	if err != nil {
		v.t.Fatal(err)
	}
	return value
}

// refuses runs a script that must fail.
func (v *vu) refuses(script string, arguments ...any) string {
	v.t.Helper()
	_, err := v.runtime.VU.Runtime().RunString(fmt.Sprintf(script, arguments...))
	if err == nil {
		v.t.Fatalf("%s: nothing is wrong with it", script)
	}
	return err.Error()
}

// measured gives the values that a metric has been given so far, by name, with the tags that are asked for.
func (v *vu) measured(name string, tags ...string) []float64 {
	var values []float64
	var kept []metrics.SampleContainer
	for {
		select {
		case container := <-v.samples:
			kept = append(kept, container)
			continue
		default:
		}
		break
	}
	for _, container := range kept {
		v.samples <- container
		for _, sample := range container.GetSamples() {
			matches := sample.Metric.Name == name
			for i := 0; i+1 < len(tags); i += 2 {
				value, _ := sample.Tags.Get(tags[i])
				matches = matches && value == tags[i+1]
			}
			if matches {
				values = append(values, sample.Value)
			}
		}
	}
	return values
}

func sum(values []float64) (total float64) {
	for _, value := range values {
		total += value
	}
	return total
}

// server answers each request of a stream with the next of these, and the last one again and again.
func server(t *testing.T, answers ...http.HandlerFunc) string {
	t.Helper()
	requests := make(chan int, 1)
	requests <- 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := <-requests
		requests <- number + 1
		answers[min(number, len(answers)-1)](w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// stream answers with these pieces, each flushed, and then ends, or stays open if `hold` says so.
func answer(hold bool, pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		for _, piece := range pieces {
			if _, err := w.Write([]byte(piece)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
		if hold {
			<-r.Context().Done()
		}
	}
}
