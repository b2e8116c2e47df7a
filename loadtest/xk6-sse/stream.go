package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"go.k6.io/k6/lib/netext/httpext"
)

// sink is told what happens to a stream, by the stream's own goroutine.
type sink interface {
	// opened: the server has answered with a stream.
	opened(head)
	// event: a block with data or a comment.
	event(block)
	// failed: an attempt, or a stream that was open, came to an end that nobody asked for.
	failed(ending)
	// reconnecting: it comes back after this long.
	reconnecting(time.Duration)
}

// head is how a server answered.
type head struct {
	URL     string
	Status  int
	Headers map[string]string
	// Body is the beginning of an answer that is no stream.
	Body string
	// Error is why there was no answer.
	Error string
}

// ending is why a connection is over.
type ending struct {
	// reason is one word of a small set: a tag of `sse_disconnects`.
	reason string
	err    error
	// opened: it had been a stream.
	opened bool
	// final: coming back is no use.
	final bool
	// retryAfter is what a refusal asks for.
	retryAfter time.Duration
}

// message is what a report says of it: a well ended stream is no error.
func (e ending) message() string {
	if e.err == nil || e.reason == "eof" || strings.HasPrefix(e.reason, "goodbye_") {
		return e.reason
	}
	return e.reason + ": " + e.err.Error()
}

// answerWithin is how long a server may take for the head of its answer; k6's own requests wait as long.
const answerWithin = time.Minute

// over is the reason of an answer that means: do not come back.
const over = "status_204"

var (
	errMute   = fmt.Errorf("no answer within %s", answerWithin)
	errSilent = errors.New("silent for longer than a heartbeat: half open")
	errTime   = errors.New("the stream's timeout")
)

// stream is one reader's stream, over all its connections.
type stream struct {
	url       string
	options   options
	transport http.RoundTripper
	sampler   *sampler
	timeline  *timeline
	faults    *faults
	sink      sink
	// account is what the ledger knows of this reader; without one nothing is checked.
	account *account

	last     head
	lastID   string
	retry    time.Duration
	silence  time.Duration
	lostAt   time.Time
	received int
	openFor  time.Duration
}

// run connects, reads, and comes back, until ctx ends or there is no use in it.
func (s *stream) run(ctx context.Context) {
	if s.options.timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, s.options.timeout, errTime)
		defer cancel()
		ctx = limited
	}
	s.lastID, s.retry, s.silence = s.options.lastEventID, defaultRetry, s.options.silence
	complete := false
	// Counters whose first sample is their first event would show a rate only from the second on.
	s.sampler.count(s.sampler.metrics.reconnects, 0)
	s.sampler.count(s.sampler.metrics.gaps, 0)
	defer func() {
		s.account.left(complete)
		if s.openFor > 0 {
			s.sampler.add(s.sampler.metrics.throughput, float64(s.received)/s.openFor.Seconds())
		}
		s.sampler.flush()
	}()

	for failures := 0; ; {
		end := s.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		// A room that its publisher has ended is no disconnect, nor is the 204 that says so again.
		complete = end.reason == "goodbye_complete" || (complete && end.reason == over)
		if !complete {
			s.sampler.add(s.sampler.metrics.disconnects, 1, "reason", end.reason)
			s.faults.note("stream", end.message())
		}
		if s.lostAt.IsZero() {
			s.lostAt = time.Now()
		}
		s.sink.failed(end)
		failures++
		if end.opened {
			failures = 0
		}
		given := s.options.attempts
		if end.final || !s.options.reconnect || (given > 0 && failures >= given) {
			return
		}
		wait := min(max(s.retry<<min(max(failures-1, 0), 6), end.retryAfter), s.options.maxDelay)
		s.sampler.flush()
		s.sink.reconnecting(wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// connection is one attempt, and what it leads to.
func (s *stream) connection(parent context.Context) ending {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	began := time.Now()
	metrics := s.sampler.metrics

	request, err := http.NewRequestWithContext(ctx, s.options.method, s.url, strings.NewReader(s.options.body))
	if err != nil {
		s.last = head{URL: s.url, Error: err.Error()}
		return ending{reason: "request", err: err, final: true}
	}
	request.Header = s.options.headers.Clone()
	if s.lastID != "" {
		request.Header.Set("Last-Event-ID", s.lastID)
	}
	s.options.cookies(request)
	tracer := &httpext.Tracer{}
	request = request.WithContext(httptrace.WithClientTrace(ctx, tracer.Trace()))
	// A server that takes the connection and never answers would otherwise hold the reader for ever.
	mute := time.AfterFunc(answerWithin, func() { cancel(errMute) })
	response, err := s.transport.RoundTrip(request)
	mute.Stop()
	if err == nil {
		defer response.Body.Close()
		if s.options.jar != nil {
			s.options.jar.SetCookies(request.URL, response.Cookies())
		}
	} else if errors.Is(context.Cause(ctx), errMute) {
		err = errMute
	}
	if parent.Err() == nil || err == nil {
		s.sampler.request(tracer, request, response, err)
	}
	if err != nil {
		s.last = head{URL: s.url, Error: err.Error()}
		if parent.Err() == nil {
			s.sampler.add(metrics.connectionOK, 0)
			s.timeline.refused()
		}
		return ending{reason: "connect", err: err}
	}
	if end, refused := s.refusal(response); refused {
		if end.reason == over {
			return end
		}
		s.sampler.add(metrics.connectionOK, 0)
		s.timeline.refused()
		return end
	}
	s.sampler.add(metrics.firstByte, milliseconds(time.Now())-milliseconds(began))
	s.sink.opened(s.last)

	body, err := decoded(response)
	if err != nil {
		return ending{reason: "coding", err: err, final: true}
	}
	s.timeline.opened()
	s.sampler.streams = s.timeline.streams
	s.sampler.flush()
	opened := time.Now()
	end := s.read(ctx, cancel, newParser(body), began)
	s.openFor += time.Since(opened)
	s.timeline.closed()
	return end
}

// read takes what comes until the connection is over.
func (s *stream) read(ctx context.Context, cancel context.CancelCauseFunc, parser *parser, began time.Time) ending {
	metrics := s.sampler.metrics
	var silent *time.Timer
	defer func() {
		if silent != nil {
			silent.Stop()
		}
	}()
	watch := func() {
		switch {
		case s.silence <= 0:
		case silent == nil:
			silent = time.AfterFunc(s.silence, func() { cancel(errSilent) })
		default:
			silent.Reset(s.silence)
		}
	}
	watch()
	reason := "eof"
	var previous time.Time
	for first := true; ; first = false {
		if parser.reader.Buffered() == 0 {
			s.sampler.flushIfDue()
		}
		b, err := parser.next()
		if err != nil {
			asked := ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSilent)
			if first {
				s.sampler.add(metrics.connectionOK, boolean(asked))
			}
			switch {
			case errors.Is(context.Cause(ctx), errSilent):
				reason, err = "silent", errSilent
			case !errors.Is(err, io.EOF) && reason == "eof":
				reason = "reset"
			}
			return ending{reason: reason, err: err, opened: true}
		}
		s.received += b.bytes
		if first {
			welcome := b.name != "tidegate.goodbye"
			s.sampler.add(metrics.connectionOK, boolean(welcome))
			s.sampler.add(metrics.firstEvent, milliseconds(b.at)-milliseconds(began))
			if welcome {
				s.welcomed(b.at)
			}
		}
		if b.hasRetry {
			s.retry = b.retry
		}
		if b.hasID {
			s.lastID = b.id
		}
		switch b.name {
		case "tidegate.connected":
			s.connected(b.data)
		case "tidegate.goodbye":
			reason = "goodbye_" + word(b.data)
		case "tidegate.gap":
			s.sampler.add(metrics.gaps, 1, "reason", word(b.data))
			s.account.gap()
		default:
			if b.hasData && !strings.HasPrefix(b.name, "tidegate.") {
				if !previous.IsZero() {
					s.sampler.add(metrics.interval, milliseconds(b.at)-milliseconds(previous))
				}
				previous = b.at
				s.message(b)
			}
		}
		watch()
		if b.hasData || b.comment != "" {
			s.sampler.count(metrics.events, 1)
			s.sink.event(b)
		}
	}
}

// welcomed notes that the stream is there, for the first time or again.
func (s *stream) welcomed(at time.Time) {
	s.account.joined(at)
	if !s.lostAt.IsZero() {
		s.sampler.add(s.sampler.metrics.reconnects, 1)
		s.sampler.add(s.sampler.metrics.outage, milliseconds(at)-milliseconds(s.lostAt))
		s.lostAt = time.Time{}
	}
}

// connected takes the gateway's word for how long it is silent at most.
func (s *stream) connected(data string) {
	var said struct {
		Heartbeat float64 `json:"heartbeat_ms"`
	}
	if s.options.silence == 0 && json.Unmarshal([]byte(data), &said) == nil && said.Heartbeat > 0 {
		s.silence = time.Duration(2.5 * said.Heartbeat * float64(time.Millisecond))
	}
}

// message notes an event: in the course of time, and in the ledger if there is one.
func (s *stream) message(b block) {
	if s.account == nil {
		s.timeline.received(b.bytes, -1)
		return
	}
	metrics := s.sampler.metrics
	s.sampler.count(metrics.receivedCount, 1)
	s.sampler.count(metrics.receivedSize, float64(len(b.data)))
	content, err := unwrap(b.data)
	if err != nil {
		s.account.unreadable(err)
		s.timeline.received(b.bytes, -1)
		return
	}
	if content.compressed {
		s.sampler.add(metrics.decompress, float64(content.took)/float64(time.Millisecond))
	}
	latency := -1.0
	if sent, known := s.account.received(content.data); known {
		latency = milliseconds(b.at) - sent
		s.sampler.add(metrics.latency, latency)
	}
	s.timeline.received(b.bytes, latency)
}
