package sse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grafana/sobek"
)

// control says whether a block is the gateway's own and no event of a room.
func control(name string) bool {
	return strings.HasPrefix(name, "tidegate.")
}

// Event is what an `event` handler gets.
type Event struct {
	ID      string  `js:"id"`
	Name    string  `js:"name"`
	Data    string  `js:"data"`
	Comment string  `js:"comment"`
	At      float64 `js:"at"`
	Bytes   int     `js:"bytes"`
}

// Failure is what an `error` handler gets.
type Failure struct {
	Reason  string `js:"reason"`
	Message string `js:"message"`
	Opened  bool   `js:"opened"`
	Final   bool   `js:"final"`
}

// Error is the message, as the public extension's errors say it.
func (f Failure) Error() string {
	return f.Message
}

// Response is what `open` gives when all is over.
type Response struct {
	URL     string            `js:"url"`
	Status  int               `js:"status"`
	Headers map[string]string `js:"headers"`
	Body    string            `js:"body"`
	Error   string            `js:"error"`
}

// Client is what the setup function and the handlers have in hand.
type Client struct {
	module   *Module
	cancel   context.CancelFunc
	handlers map[string][]sobek.Callable
	// queue has what the stream's goroutine wants to be run by the VU's. It is bounded: a script that
	// is slower than the stream is a slow reader, and the server gets to feel it.
	queue chan func() error
	ctx   context.Context
	// timers are the script's, by their number.
	timers map[int]*time.Timer
	next   int
	// closed: the script wants nothing more.
	closed bool
}

// queued is how many events may wait for the script.
const queued = 64

var events = []string{"open", "event", "error", "reconnect", "close"}

// open opens a stream and comes back when it has ended. Handlers run meanwhile.
func (m *Module) open(url string, arguments ...sobek.Value) (*Response, error) {
	params, setup, err := openArguments(arguments)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(m.vu.Context())
	defer cancel()
	client := &Client{module: m, cancel: cancel, ctx: ctx, handlers: map[string][]sobek.Callable{},
		queue: make(chan func() error, queued), timers: map[int]*time.Timer{}}
	s, err := m.stream(url, params, client)
	if err != nil {
		return nil, err
	}
	rt := m.vu.Runtime()
	if _, err := setup(sobek.Undefined(), rt.ToValue(client)); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	err = client.loop(done)
	cancel()
	<-done
	for _, timer := range client.timers {
		timer.Stop()
	}
	if err != nil {
		return nil, err
	}
	if err := client.call("close"); err != nil {
		return nil, err
	}
	response := Response(s.last)
	return &response, nil
}

func openArguments(arguments []sobek.Value) (sobek.Value, sobek.Callable, error) {
	if len(arguments) == 0 || len(arguments) > 2 {
		return nil, nil, fmt.Errorf("sse.open takes a URL, parameters and a function, not %d arguments", len(arguments)+1)
	}
	setup, ok := sobek.AssertFunction(arguments[len(arguments)-1])
	if !ok {
		return nil, nil, fmt.Errorf("the last argument of sse.open has to be a function")
	}
	if len(arguments) == 1 {
		return nil, setup, nil
	}
	return arguments[0], setup, nil
}

// loop runs what comes until the stream is over and nothing waits any more.
func (c *Client) loop(done <-chan struct{}) error {
	for {
		select {
		case job := <-c.queue:
			if c.closed {
				continue
			}
			if err := job(); err != nil {
				return err
			}
		case <-done:
			for !c.closed {
				select {
				case job := <-c.queue:
					if err := job(); err != nil {
						return err
					}
				default:
					return nil
				}
			}
			return nil
		}
	}
}

// post has the VU run something, unless the stream is being closed.
func (c *Client) post(job func() error) {
	select {
	case c.queue <- job:
	case <-c.ctx.Done():
	}
}

func (c *Client) call(event string, arguments ...any) error {
	values := make([]sobek.Value, len(arguments))
	for i, argument := range arguments {
		values[i] = c.module.vu.Runtime().ToValue(argument)
	}
	for _, handler := range c.handlers[event] {
		if _, err := handler(sobek.Undefined(), values...); err != nil {
			return err
		}
	}
	return nil
}

// On adds a handler.
func (c *Client) On(event string, handler sobek.Value) error {
	if !slices.Contains(events, event) {
		return fmt.Errorf("there is no event %q: %s", event, strings.Join(events, ", "))
	}
	function, ok := sobek.AssertFunction(handler)
	if !ok {
		return fmt.Errorf("the handler of %q is no function", event)
	}
	c.handlers[event] = append(c.handlers[event], function)
	return nil
}

// Close ends the stream. Events that have come are not handed out any more.
func (c *Client) Close() {
	c.closed = true
	c.cancel()
}

// SetTimeout calls a function after this many milliseconds, if the stream is still there.
func (c *Client) SetTimeout(function sobek.Callable, ms float64) int {
	return c.timer(function, ms, false)
}

// SetInterval calls a function every so many milliseconds.
func (c *Client) SetInterval(function sobek.Callable, ms float64) int {
	return c.timer(function, ms, true)
}

// ClearTimeout takes back a timeout or an interval.
func (c *Client) ClearTimeout(id int) {
	if timer, there := c.timers[id]; there {
		timer.Stop()
		delete(c.timers, id)
	}
}

func (c *Client) timer(function sobek.Callable, ms float64, again bool) int {
	c.next++
	id := c.next
	every := time.Duration(max(ms, 1) * float64(time.Millisecond))
	c.timers[id] = time.AfterFunc(every, func() {
		c.post(func() error {
			timer, there := c.timers[id]
			if !there {
				return nil
			}
			if again {
				timer.Reset(every)
			} else {
				delete(c.timers, id)
			}
			_, err := function(sobek.Undefined())
			return err
		})
	})
	return id
}

func (c *Client) opened(head) {
	c.post(func() error { return c.call("open") })
}

func (c *Client) event(b block) {
	event := Event{ID: b.id, Name: b.name, Data: b.data, Comment: b.comment, At: milliseconds(b.at), Bytes: b.bytes}
	c.post(func() error { return c.call("event", event) })
}

func (c *Client) failed(end ending) {
	failure := Failure{Reason: end.reason, Opened: end.opened, Final: end.final, Message: end.reason}
	if end.err != nil {
		failure.Message = end.err.Error()
	}
	// The end of a stream that the server ended well is no error, for who does not come back either.
	if end.opened && (end.reason == "eof" || strings.HasPrefix(end.reason, "goodbye_")) {
		return
	}
	c.post(func() error { return c.call("error", failure) })
}

func (c *Client) reconnecting(after time.Duration) {
	c.post(func() error { return c.call("reconnect", float64(after)/float64(time.Millisecond)) })
}
