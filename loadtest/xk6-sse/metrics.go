package sse

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.k6.io/k6/lib"
	"go.k6.io/k6/lib/netext"
	"go.k6.io/k6/lib/netext/httpext"
	"go.k6.io/k6/metrics"
)

// streamMetrics are the module's own, beside k6's `http_req_*` and `data_*`.
type streamMetrics struct {
	events        *metrics.Metric // sse_event: blocks with data or a comment
	connectionOK  *metrics.Metric // sse_connection_ok: attempts that became a stream
	open          *metrics.Metric // sse_streams: open now, in this process
	disconnects   *metrics.Metric // sse_disconnects{reason}: ends that the script did not ask for
	reconnects    *metrics.Metric // sse_reconnects: streams that were open again after one
	outage        *metrics.Metric // sse_outage_ms: from such an end to the next first block
	gaps          *metrics.Metric // sse_gaps: holes that the gateway said
	firstByte     *metrics.Metric // sse_time_to_first_byte: from the attempt to the head
	firstEvent    *metrics.Metric // sse_time_to_first_event: from the attempt to the first block
	interval      *metrics.Metric // sse_event_interval: between two events of one stream
	throughput    *metrics.Metric // sse_stream_bytes_per_second: of one stream, at its end
	latency       *metrics.Metric // message_latency_ms: from before the publish to the reader
	decompress    *metrics.Metric // decompress_latency_ms
	receivedCount *metrics.Metric // received_message_count
	receivedSize  *metrics.Metric // received_message_size_bytes
}

func registerMetrics(registry *metrics.Registry) (*streamMetrics, error) {
	var errs []error
	add := func(name string, kind metrics.MetricType, contains ...metrics.ValueType) *metrics.Metric {
		metric, err := registry.NewMetric(name, kind, contains...)
		errs = append(errs, err)
		return metric
	}
	// What says ms in its name is no metrics.Time: outputs such as Prometheus' turn these into seconds.
	m := &streamMetrics{
		events:        add("sse_event", metrics.Counter),
		connectionOK:  add("sse_connection_ok", metrics.Rate),
		open:          add("sse_streams", metrics.Gauge),
		disconnects:   add("sse_disconnects", metrics.Counter),
		reconnects:    add("sse_reconnects", metrics.Counter),
		outage:        add("sse_outage_ms", metrics.Trend),
		gaps:          add("sse_gaps", metrics.Counter),
		firstByte:     add("sse_time_to_first_byte", metrics.Trend, metrics.Time),
		firstEvent:    add("sse_time_to_first_event", metrics.Trend, metrics.Time),
		interval:      add("sse_event_interval", metrics.Trend, metrics.Time),
		throughput:    add("sse_stream_bytes_per_second", metrics.Trend),
		latency:       add("message_latency_ms", metrics.Trend),
		decompress:    add("decompress_latency_ms", metrics.Trend),
		receivedCount: add("received_message_count", metrics.Counter),
		receivedSize:  add("received_message_size_bytes", metrics.Counter, metrics.Data),
	}
	return m, errors.Join(errs...)
}

// sampler collects a stream's samples and hands them on together: one by one they would cost more than
// what they measure.
type sampler struct {
	state   *lib.State
	tags    metrics.TagsAndMeta
	metrics *streamMetrics
	waiting metrics.Samples
	// counts are what counters have gained since the last flush.
	counts  map[*metrics.Metric]float64
	flushed time.Time
	// streams is how many are open, asked at each flush: of a gauge the sample counts that comes last, and
	// that of another stream may be handed on later though it is older. Nil until this one was open.
	streams func() int
	said    int
	push    func(metrics.SampleContainer)
}

// flushAfter is how long samples wait, and how many may.
const (
	flushAfter = 500 * time.Millisecond
	flushMost  = 512
)

func newSampler(state *lib.State, o *options, m *streamMetrics, push func(metrics.SampleContainer)) *sampler {
	tags := state.Tags.GetCurrentValues()
	for name, value := range o.tags {
		tags.SetTag(name, value)
	}
	return &sampler{state: state, tags: tags, metrics: m, counts: map[*metrics.Metric]float64{},
		flushed: time.Now(), push: push}
}

// handOnWithin is how long k6 may take for samples before they are given up.
const handOnWithin = time.Second

// handOn gives samples to k6, those too that a stream leaves when its VU is stopped: k6's own helper
// drops these, and the last events of every reader would be missing from the counts.
func handOn(to chan<- metrics.SampleContainer, samples metrics.SampleContainer) {
	// Closed when the test is over: a reader that its script did not close may be that late.
	defer func() { _ = recover() }()
	select {
	case to <- samples:
		return
	default:
	}
	select {
	case to <- samples:
	case <-time.After(handOnWithin):
	}
}

// count adds to a counter, which becomes one sample when all are handed on.
func (s *sampler) count(metric *metrics.Metric, value float64) {
	s.counts[metric] += value
}

func (s *sampler) add(metric *metrics.Metric, value float64, tags ...string) {
	set := s.tags.Tags
	for i := 0; i+1 < len(tags); i += 2 {
		set = set.With(tags[i], tags[i+1])
	}
	s.waiting = append(s.waiting, s.sample(metric, set, value))
	if len(s.waiting) >= flushMost {
		s.flush()
	}
}

func (s *sampler) sample(metric *metrics.Metric, tags *metrics.TagSet, value float64) metrics.Sample {
	return metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: metric, Tags: tags},
		Time:       time.Now(),
		Metadata:   s.tags.Metadata,
		Value:      value,
	}
}

func (s *sampler) flush() {
	s.flushed = time.Now()
	for metric, value := range s.counts {
		s.waiting = append(s.waiting, s.sample(metric, s.tags.Tags, value))
	}
	clear(s.counts)
	if s.streams != nil {
		if open := s.streams(); open != s.said {
			s.said = open
			s.waiting = append(s.waiting, s.sample(s.metrics.open, s.tags.Tags, float64(open)))
		}
	}
	if len(s.waiting) > 0 {
		s.push(s.waiting)
		s.waiting = nil
	}
	// What the VU's connections moved; k6 itself would say it only when the iteration ends, which for
	// a stream is the end of the test.
	if dialer, ok := s.state.Dialer.(*netext.Dialer); ok {
		s.push(dialer.IOSamples(s.flushed, s.tags, s.state.BuiltinMetrics))
	}
}

func (s *sampler) flushIfDue() {
	if time.Since(s.flushed) >= flushAfter {
		s.flush()
	}
}

// request says what one attempt took, as k6 does for any request, up to the response's head: how long
// a stream then lasts is not how long the server took.
func (s *sampler) request(tracer *httpext.Tracer, request *http.Request, response *http.Response, failure error) {
	trail := tracer.Done()
	trail.Receiving = 0
	trail.Duration = trail.Sending + trail.Waiting

	tags := s.tags.Clone()
	enabled := s.state.Options.SystemTags
	// Without its query: that may hold a signature, and would make a series of every stream.
	url := request.URL.Scheme + "://" + request.URL.Host + request.URL.Path
	if name, set := tags.Tags.Get(metrics.TagName.String()); set {
		url = name
	}
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagName, url)
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagURL, url)
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagMethod, request.Method)
	status := 0
	if response != nil {
		status = response.StatusCode
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagProto, response.Proto)
	}
	if failure != nil {
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagError, failure.Error())
	}
	ok := failure == nil && status >= 200 && status < 400
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagStatus, strconv.Itoa(status))
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagExpectedResponse, strconv.FormatBool(ok))

	trail.SaveSamples(s.state.BuiltinMetrics, &tags)
	trail.Failed.Valid, trail.Failed.Bool = true, !ok
	trail.Samples = append(trail.Samples, s.sample(s.state.BuiltinMetrics.HTTPReqFailed, tags.Tags, metrics.B(!ok)))
	s.push(trail)
}
