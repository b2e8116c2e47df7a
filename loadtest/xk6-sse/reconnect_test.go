package sse

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// connected is the gateway's first block.
func connected(heartbeat int) string {
	return fmt.Sprintf("retry: 1\nevent: tidegate.connected\nid: c0\ndata: {\"heartbeat_ms\":%d}\n\n", heartbeat)
}

func TestAStreamResumesWhereItWas(t *testing.T) {
	resumed := make(chan string, 3)
	note := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			resumed <- r.Header.Get("Last-Event-ID")
			next(w, r)
		}
	}
	url := server(t,
		note(answer(false, connected(15000), "id: c1\ndata: one\n\n", "event: tidegate.goodbye\nretry: 2\ndata: {\"reason\":\"drain\"}\n\n")),
		note(answer(false, "id: c2\ndata: two\n\n", ": half an event is lost\ndata: th")),
		note(answer(true, "data: three\n\n")))
	v := newVU(t)
	got := v.run(`
		const seen = [];
		sse.open('%s', {reconnect: true, lastEventId: 'start'}, (client) => {
			client.on('reconnect', (ms) => seen.push('after ' + ms));
			client.on('event', (event) => {
				if (event.name) return;
				seen.push(event.data);
				if (event.data === 'three') client.close();
			});
			client.on('error', (e) => seen.push('error ' + e.reason));
		});
		seen.join()`, url).String()
	if got != "one,after 2,two,after 2,three" {
		t.Error(got)
	}
	for _, want := range []string{"start", "c1", "c2"} {
		if id := <-resumed; id != want {
			t.Errorf("resumed at %q and not %q", id, want)
		}
	}
	if n := sum(v.measured("sse_disconnects", "reason", "goodbye_drain")); n != 1 {
		t.Errorf("%v goodbyes", n)
	}
	if n := sum(v.measured("sse_reconnects")); n != 2 {
		t.Errorf("%v reconnects", n)
	}
	if outages := v.measured("sse_outage_ms"); len(outages) != 2 || outages[0] < 2 {
		t.Errorf("outages %v: the first has to last the 2 ms of its retry", outages)
	}
}

func TestAStreamThatIsCompleteIsNotAskedForAgain(t *testing.T) {
	url := server(t,
		answer(false, connected(15000), "data: last\n\n", "event: tidegate.goodbye\ndata: {\"reason\":\"complete\"}\n\n"),
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		answer(true, "data: never\n\n"))
	v := newVU(t)
	if got := v.run(`sse.open('%s', {reconnect: true}, () => {}).status`, url).ToInteger(); got != 204 {
		t.Error(got)
	}
	if lost := v.measured("sse_disconnects"); len(lost) != 0 {
		t.Errorf("disconnects: %v", lost)
	}
}

func TestAServerThatIsAwayForAMomentIsAskedAgain(t *testing.T) {
	busy := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	url := server(t, answer(false, connected(15000)), busy, answer(true, "data: back\n\n"))
	v := newVU(t)
	v.run(`sse.open('%s', {reconnect: true}, (client) => client.on('event', (event) => { if (event.data === 'back') client.close() }))`, url)
	if n := sum(v.measured("sse_disconnects", "reason", "status_503")); n != 1 {
		t.Errorf("%v refusals", n)
	}
	if ok := v.measured("sse_connection_ok"); fmt.Sprint(ok) != "[1 0 1]" {
		t.Errorf("sse_connection_ok: %v", ok)
	}
}

func TestAttemptsAreCountedInARow(t *testing.T) {
	url := server(t, answer(false, connected(15000)), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	})
	v := newVU(t)
	v.run(`sse.open('%s', {reconnect: {attempts: 3, maxDelay: '5ms'}}, () => {})`, url)
	if n := sum(v.measured("sse_disconnects", "reason", "status_502")); n != 3 {
		t.Errorf("%v attempts", n)
	}
}

func TestSilenceBeyondTheHeartbeatIsAHalfOpenConnection(t *testing.T) {
	url := server(t, answer(true, connected(20)), answer(true, connected(20), "data: back\n\n"))
	v := newVU(t)
	began := time.Now()
	v.run(`sse.open('%s', {reconnect: true}, (client) => client.on('event', (event) => { if (event.data === 'back') client.close() }))`, url)
	if n := sum(v.measured("sse_disconnects", "reason", "silent")); n != 1 {
		t.Errorf("%v silences", n)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("given up after %s, before two and a half heartbeats", took)
	}
}

func TestSilenceIsAllowedWhereTheScriptSaysSo(t *testing.T) {
	url := server(t, answer(true, connected(1)))
	v := newVU(t)
	v.run(`sse.open('%s', {silence: -1, timeout: 60}, () => {})`, url)
	if lost := v.measured("sse_disconnects"); lost != nil {
		t.Errorf("%v", lost)
	}
}

func TestARefusalInTheStreamIsNoConnection(t *testing.T) {
	url := server(t, answer(false, "retry: 5\nevent: tidegate.goodbye\ndata: {\"reason\":\"overloaded\"}\n\n"))
	v := newVU(t)
	v.run(`sse.open('%s', () => {})`, url)
	if ok := v.measured("sse_connection_ok"); len(ok) != 1 || ok[0] != 0 {
		t.Errorf("sse_connection_ok: %v", ok)
	}
}

func TestGapsAreCountedByTheirReason(t *testing.T) {
	url := server(t, answer(false, connected(15000), "event: tidegate.gap\ndata: {\"reason\":\"too_far\"}\n\n"))
	v := newVU(t)
	v.run(`sse.open('%s', () => {})`, url)
	if n := sum(v.measured("sse_gaps", "reason", "too_far")); n != 1 {
		t.Errorf("%v", n)
	}
}

func TestAReasonThatIsTooLongBecomesNoTag(t *testing.T) {
	if got := word(`{"reason":"` + strings.Repeat("x", 30) + `"}`); got != "unknown" {
		t.Error(got)
	}
}
