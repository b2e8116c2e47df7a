package sse

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/lib/netext/httpext"
)

// Batch is one request that publishes line by line, and reads the receipts while it is still open.
type Batch struct {
	module *Module
	body   *io.PipeWriter
	// replies has what the server has answered; it is closed with the response.
	replies chan Reply

	mu     sync.Mutex
	sent   []time.Time
	status int
	err    error
}

// Reply is the answer to a line: a receipt, or a problem.
type Reply struct {
	// Line is the line's number, from 1; 0 for a problem of the whole batch.
	Line   int `js:"line"`
	Status int `js:"status"`
	// Ms is how long after its line it came.
	Ms        float64 `js:"ms"`
	MessageID string  `js:"messageId"`
	Cursor    string  `js:"cursor"`
	Duplicate bool    `js:"duplicate"`
	// Title and Detail are a problem's.
	Title  string `js:"title"`
	Detail string `js:"detail"`
}

// unread is how many replies may wait for the script before the server has to.
const unread = 1024

// batch begins the request. It comes back before the server has answered.
func (m *Module) batch(url string, params sobek.Value) (*Batch, error) {
	o, transport, sampler, err := m.prepare(params)
	if err != nil {
		return nil, err
	}
	from, to := io.Pipe()
	tracer := &httpext.Tracer{}
	ctx := httptrace.WithClientTrace(m.vu.Context(), tracer.Trace())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, from)
	if err != nil {
		return nil, err
	}
	request.Header = o.headers
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("Accept", "application/x-ndjson")
	o.cookies(request)

	b := &Batch{module: m, body: to, replies: make(chan Reply, unread)}
	go func() {
		defer close(b.replies)
		response, err := transport.RoundTrip(request)
		sampler.request(tracer, request, response, err)
		if err == nil {
			err = b.read(response)
			_ = response.Body.Close()
		}
		b.fail(err)
		_ = from.CloseWithError(io.ErrClosedPipe)
		sampler.flush()
	}()
	return b, nil
}

// read hands on what the server answers.
func (b *Batch) read(response *http.Response) error {
	b.mu.Lock()
	b.status = response.StatusCode
	b.mu.Unlock()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(said)))
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said struct {
			Line      int
			Status    int
			MessageID string `json:"message_id"`
			Cursor    string
			Duplicate bool
			Title     string
			Detail    string
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			return fmt.Errorf("%q is no reply: %w", lines.Text(), err)
		}
		reply := Reply{Line: said.Line, Status: said.Status, MessageID: said.MessageID, Cursor: said.Cursor,
			Duplicate: said.Duplicate, Title: said.Title, Detail: said.Detail}
		b.mu.Lock()
		if said.Line > 0 && said.Line <= len(b.sent) {
			reply.Ms = float64(time.Since(b.sent[said.Line-1])) / float64(time.Millisecond)
		}
		b.mu.Unlock()
		select {
		case b.replies <- reply:
		case <-response.Request.Context().Done():
			return response.Request.Context().Err()
		}
	}
	return lines.Err()
}

func (b *Batch) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// Send writes one line: an object, or its JSON. It comes back when the line is on its way, and gives the
// line's number.
func (b *Batch) Send(line sobek.Value) (int, error) {
	if line == nil || sobek.IsUndefined(line) || sobek.IsNull(line) {
		return 0, errors.New("batch.send takes a line: an object, or its JSON")
	}
	text, given := line.Export().(string)
	if !given {
		encoded, err := json.Marshal(line.Export())
		if err != nil {
			return 0, err
		}
		text = string(encoded)
	}
	if strings.ContainsAny(text, "\r\n") {
		return 0, errors.New("a line of a batch has no line ends")
	}
	b.mu.Lock()
	b.sent = append(b.sent, time.Now())
	number := len(b.sent)
	b.mu.Unlock()
	if _, err := io.WriteString(b.body, text+"\n"); err != nil {
		return 0, fmt.Errorf("line %d: %w", number, b.cause(err))
	}
	return number, nil
}

// Receive waits for the next reply, this many milliseconds at most; null is none.
func (b *Batch) Receive(ms float64) *Reply {
	select {
	case reply, open := <-b.replies:
		if open {
			return &reply
		}
	case <-time.After(time.Duration(ms * float64(time.Millisecond))):
	case <-b.module.vu.Context().Done():
	}
	return nil
}

// End ends the request, waits for what is still to come, and gives it.
func (b *Batch) End() ([]Reply, error) {
	_ = b.body.Close()
	rest := []Reply{}
	for reply := range b.replies {
		rest = append(rest, reply)
	}
	return rest, b.cause(nil)
}

// Status is the response's, 0 as long as there is none.
func (b *Batch) Status() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// cause is why the request failed, or else this.
func (b *Batch) cause(otherwise error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	return otherwise
}
