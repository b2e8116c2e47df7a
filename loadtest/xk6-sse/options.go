package sse

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/grafana/sobek"
	k6http "go.k6.io/k6/js/modules/k6/http"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/lib/types"
)

// options is what `params` says of a stream.
type options struct {
	method  string
	headers http.Header
	body    string
	tags    map[string]string
	// jar has the cookies; the VU's own unless the script gives another.
	jar http.CookieJar
	// protocol is `http1`, or `http2`, which is spoken in cleartext too, without asking first.
	protocol string
	// timeout is how long a stream may last, all its connections together.
	timeout time.Duration
	// lastEventID is where to resume at the first connection.
	lastEventID string
	reconnect   bool
	// attempts is how often in a row it may fail to connect; 0 is without end.
	attempts int
	// maxDelay is the longest wait before it comes back, whatever `retry:` says.
	maxDelay time.Duration
	// silence is how long a connection may say nothing before it counts as half open; 0: two and a half
	// of the heartbeats that the gateway announces, negative: for ever.
	silence time.Duration
	// readBuffer is how many bytes the system takes in for a stream that is not read; 0: as it likes,
	// which is megabytes.
	readBuffer int
	// ledger and room say what the stream is owed.
	ledger *Ledger
	room   string
	// resume is a reader that was closed, whose place and account this stream takes over.
	resume *Reader
}

const (
	defaultMaxDelay = time.Minute
	// defaultRetry is what browsers wait when a stream has not said how long.
	defaultRetry = 3 * time.Second
)

func defaults() options {
	return options{
		method:   http.MethodGet,
		headers:  http.Header{"Accept": {"text/event-stream"}},
		tags:     map[string]string{},
		protocol: "http1",
		maxDelay: defaultMaxDelay,
	}
}

// parseOptions reads `params`. What it does not know is refused: a typing error would otherwise be a
// test of something else.
func parseOptions(rt *sobek.Runtime, params sobek.Value) (options, error) {
	o := defaults()
	if params == nil || sobek.IsUndefined(params) || sobek.IsNull(params) {
		return o, nil
	}
	object := params.ToObject(rt)
	for _, key := range object.Keys() {
		value := object.Get(key)
		if sobek.IsUndefined(value) || sobek.IsNull(value) {
			continue
		}
		if err := o.set(key, value.Export()); err != nil {
			return options{}, fmt.Errorf("params.%s: %w", key, err)
		}
	}
	if o.room != "" && o.ledger == nil {
		return options{}, errors.New("params.room: there is no ledger that it is a room of")
	}
	return o, nil
}

func (o *options) set(key string, value any) error {
	var err error
	switch key {
	case "method":
		o.method, err = is[string](value)
	case "body":
		o.body, err = is[string](value)
	case "headers":
		err = each(value, o.headers.Set)
	case "tags":
		err = each(value, func(name, tag string) { o.tags[name] = tag })
	case "jar":
		var jar *k6http.CookieJar
		if jar, err = is[*k6http.CookieJar](value); err == nil {
			o.jar = jar.Jar
		}
	case "protocol":
		o.protocol, err = is[string](value)
		if err == nil && o.protocol != "http1" && o.protocol != "http2" {
			err = fmt.Errorf("%q is neither http1 nor http2", o.protocol)
		}
	case "timeout":
		o.timeout, err = types.GetDurationValue(value)
	case "lastEventId":
		o.lastEventID, err = is[string](value)
	case "reconnect":
		err = o.setReconnect(value)
	case "silence":
		o.silence, err = types.GetDurationValue(value)
	case "readBuffer":
		var size int64
		if size, err = is[int64](value); err == nil && size <= 0 {
			err = fmt.Errorf("%d is no number of bytes", size)
		}
		o.readBuffer = int(size)
	case "ledger":
		o.ledger, err = is[*Ledger](value)
	case "room":
		o.room, err = is[string](value)
	case "resume":
		o.resume, err = is[*Reader](value)
	default:
		err = errors.New("there is no such parameter")
	}
	return err
}

// ofVU adds what a VU sends with any request: its cookies, and the name that k6 goes by.
func (o *options) ofVU(state *lib.State) {
	if o.jar == nil && state.CookieJar != nil {
		o.jar = state.CookieJar
	}
	if agent := state.Options.UserAgent.String; agent != "" && o.headers.Get("User-Agent") == "" {
		o.headers.Set("User-Agent", agent)
	}
}

// cookies are put beside those that the script has set as a header.
func (o *options) cookies(request *http.Request) {
	if o.jar == nil {
		return
	}
	for _, cookie := range o.jar.Cookies(request.URL) {
		request.AddCookie(cookie)
	}
}

func (o *options) setReconnect(value any) error {
	if on, ok := value.(bool); ok {
		o.reconnect = on
		return nil
	}
	members, err := is[map[string]any](value)
	if err != nil {
		return err
	}
	o.reconnect = true
	for name, member := range members {
		switch name {
		case "attempts":
			attempts, err := is[int64](member)
			if err != nil || attempts < 0 {
				return fmt.Errorf("attempts: %v is no number of attempts", member)
			}
			o.attempts = int(attempts)
		case "maxDelay":
			if o.maxDelay, err = types.GetDurationValue(member); err != nil {
				return fmt.Errorf("maxDelay: %w", err)
			}
		default:
			return fmt.Errorf("%s: there is no such parameter", name)
		}
	}
	return nil
}

// is gives a value as what it has to be.
func is[T any](value any) (T, error) {
	typed, ok := value.(T)
	if !ok {
		return typed, fmt.Errorf("%v (%T) is no %T", value, value, typed)
	}
	return typed, nil
}

// each hands out the members of an object, as texts.
func each(value any, take func(name, text string)) error {
	members, err := is[map[string]any](value)
	for name, member := range members {
		take(name, fmt.Sprint(member))
	}
	return err
}
