package sse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/lib/netext"
	"go.k6.io/k6/metrics"
)

// Reader is a stream that is read without JavaScript: many of them in one VU. It ends with the iteration.
type Reader struct {
	cancel context.CancelFunc
	done   chan struct{}

	account *account

	mu    sync.Mutex
	state ReaderState
	// endedAt is from when on one that takes over has been away.
	endedAt time.Time
}

// ReaderState is what has become of a reader.
type ReaderState struct {
	URL         string `js:"url"`
	Status      int    `js:"status"`
	Error       string `js:"error"`
	Open        bool   `js:"open"`
	Done        bool   `js:"done"`
	Connections int    `js:"connections"`
	Events      int    `js:"events"`
	Bytes       int    `js:"bytes"`
	LastID      string `js:"lastId"`
	LastName    string `js:"lastName"`
	LastReason  string `js:"lastReason"`
}

var errNoState = errors.New("streams are for VUs: there is no network in the init context")

// reader opens a stream and comes back at once.
func (m *Module) reader(url string, params sobek.Value) (*Reader, error) {
	r := &Reader{done: make(chan struct{})}
	s, err := m.stream(url, params, r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(m.vu.Context())
	r.cancel = cancel
	r.state.URL = url
	r.account = s.account
	go func() {
		defer close(r.done)
		s.run(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.state.Done, r.state.Open = true, false
		r.endedAt = time.Now()
	}()
	return r, nil
}

// prepare reads a call's parameters, and makes what a request of this VU needs.
func (m *Module) prepare(params sobek.Value) (options, http.RoundTripper, *sampler, error) {
	state := m.vu.State()
	if state == nil {
		return options{}, nil, nil, errNoState
	}
	o, err := parseOptions(m.vu.Runtime(), params)
	if err != nil {
		return options{}, nil, nil, err
	}
	o.ofVU(state)
	transport, err := m.transport(o.protocol, o.readBuffer)
	if err != nil {
		return options{}, nil, nil, err
	}
	push := func(samples metrics.SampleContainer) { handOn(state.Samples, samples) }
	return o, transport, newSampler(state, &o, m.metrics, push), nil
}

// stream makes one that is not connected yet.
func (m *Module) stream(url string, params sobek.Value, to sink) (*stream, error) {
	o, transport, sampler, err := m.prepare(params)
	if err != nil {
		return nil, err
	}
	s := &stream{
		url:       url,
		options:   o,
		transport: transport,
		sampler:   sampler,
		timeline:  m.root.timeline,
		faults:    m.root.faults,
		sink:      to,
	}
	if o.resume == nil {
		s.account = o.ledger.account(o.room)
		return s, nil
	}
	before := o.resume.State()
	if !before.Done {
		return nil, errors.New("params.resume: that reader has not been closed")
	}
	s.account = o.resume.account
	s.account.again()
	s.lostAt = o.resume.endedAt
	if before.LastID != "" {
		s.options.lastEventID = before.LastID
	}
	return s, nil
}

// transport is the VU's for a protocol. With HTTP/1.1 each stream has a connection, with HTTP/2 all of a
// VU's streams share as few as the server lets them.
func (m *Module) transport(protocol string, readBuffer int) (http.RoundTripper, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kind := fmt.Sprint(protocol, readBuffer)
	if found, there := m.transports[kind]; there {
		return found, nil
	}
	state := m.vu.State()
	protocols := new(http.Protocols)
	if protocol == "http2" {
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	made := &http.Transport{
		DialContext: dialer(state, readBuffer),
		Protocols:   protocols,
		// What is compressed is said by the script, and undone here event by event.
		DisableCompression:  true,
		MaxIdleConnsPerHost: -1,
		IdleConnTimeout:     30 * time.Second,
	}
	if protocol == "http2" {
		made.MaxIdleConnsPerHost = 0
	}
	if state.TLSConfig != nil {
		made.TLSClientConfig = state.TLSConfig.Clone()
		made.TLSClientConfig.NextProtos = nil
	}
	m.transports[kind] = made
	return made, nil
}

// dialer is the VU's, with a smaller read buffer for readers that are to be slow: the system's own would
// hide for minutes that a script does not read.
func dialer(state *lib.State, readBuffer int) func(context.Context, string, string) (net.Conn, error) {
	if readBuffer == 0 {
		return state.Dialer.DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := state.Dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		inner := connection
		if counted, ok := inner.(*netext.Conn); ok {
			inner = counted.Conn
		}
		tcp, ok := inner.(*net.TCPConn)
		if !ok {
			return nil, errors.Join(errors.New("params.readBuffer: this is no TCP connection"), connection.Close())
		}
		if err := tcp.SetReadBuffer(readBuffer); err != nil {
			return nil, errors.Join(err, connection.Close())
		}
		return connection, nil
	}
}

// Close ends the stream and waits until it has.
func (r *Reader) Close() ReaderState {
	r.cancel()
	<-r.done
	return r.State()
}

// Wait waits until the stream has ended by itself, or this long; it says whether it has.
func (r *Reader) Wait(ms float64) bool {
	select {
	case <-r.done:
		return true
	case <-time.After(time.Duration(ms * float64(time.Millisecond))):
		return false
	}
}

// State is how it is now.
func (r *Reader) State() ReaderState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *Reader) opened(h head) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Status, r.state.Open, r.state.Error = h.Status, true, ""
	r.state.Connections++
}

func (r *Reader) event(b block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Bytes += b.bytes
	if b.hasID {
		r.state.LastID = b.id
	}
	r.state.LastName = b.name
	if b.hasData && !control(b.name) {
		r.state.Events++
	}
}

func (r *Reader) failed(end ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Open, r.state.LastReason = false, end.reason
	if end.err != nil {
		r.state.Error = end.err.Error()
	}
}

func (r *Reader) reconnecting(time.Duration) {}
