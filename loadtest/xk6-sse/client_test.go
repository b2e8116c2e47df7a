package sse

import (
	"compress/gzip"
	"net/http"
	"strings"
	"testing"
)

func TestAScriptOfThePublicExtensionRuns(t *testing.T) {
	url := server(t, answer(true, ": hello\n\n", "id: 1\nevent: Cart\ndata: {\"a\":1}\n\n"))
	v := newVU(t)
	got := v.run(`
		const seen = [];
		const params = {method: 'GET', headers: {'Authorization': 'Bearer x'}, tags: {my_tag: 'hello'}};
		const response = sse.open('%s/s', params, function (client) {
			client.on('open', () => seen.push('open'));
			client.on('event', (event) => {
				seen.push([event.id, event.name, event.data, event.comment].join('|'));
				if (event.id === '1') client.close();
			});
			client.on('error', (e) => seen.push('error ' + e.error()));
		});
		JSON.stringify([response.status, response.url.endsWith('/s'), response.error, seen])`, url).String()
	want := `[200,true,"",["open","|||hello","1|Cart|{\"a\":1}|"]]`
	if got != want {
		t.Errorf("%s\nand not\n%s", got, want)
	}
	if ok := v.measured("sse_connection_ok", "my_tag", "hello"); len(ok) != 1 || ok[0] != 1 {
		t.Errorf("sse_connection_ok: %v", ok)
	}
	if events := sum(v.measured("sse_event")); events != 2 {
		t.Errorf("sse_event: %v", events)
	}
	if lost := v.measured("sse_disconnects"); lost != nil {
		t.Errorf("what the script ends is no disconnect: %v", lost)
	}
}

func TestTheParametersMayBeLeftOut(t *testing.T) {
	url := server(t, answer(false, "data: a\n\n"))
	if got := newVU(t).run(`
		let data;
		sse.open('%s', (client) => client.on('event', (event) => { data = event.data }));
		data`, url).String(); got != "a" {
		t.Error(got)
	}
}

func TestK6sOwnMetricsAreGiven(t *testing.T) {
	url := server(t, answer(false, "data: a\n\n"))
	v := newVU(t)
	v.run(`sse.open('%s/room?signature=secret', (client) => {})`, url)
	for _, name := range []string{"http_reqs", "http_req_blocked", "http_req_connecting", "http_req_tls_handshaking",
		"http_req_waiting", "http_req_duration", "http_req_failed", "data_sent", "data_received"} {
		if len(v.measured(name)) == 0 {
			t.Errorf("no %s", name)
		}
	}
	if failed := v.measured("http_req_failed", "name", url+"/room", "status", "200"); len(failed) != 1 || failed[0] != 0 {
		t.Errorf("http_req_failed: %v; its name must not hold the signature", failed)
	}
	if received := sum(v.measured("data_received")); received < 100 {
		t.Errorf("data_received: %v", received)
	}
}

func TestARefusalIsAnErrorAndAResponse(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"title":"unauthorized"}`))
	})
	v := newVU(t)
	got := v.run(`
		const errors = [];
		const response = sse.open('%s', {reconnect: true}, (client) => client.on('error', (e) => errors.push([e.reason, e.final])));
		JSON.stringify([response.status, response.body, errors])`, url).String()
	if got != `[401,"{\"title\":\"unauthorized\"}",[["status_401",true]]]` {
		t.Error(got)
	}
	if ok := v.measured("sse_connection_ok"); len(ok) != 1 || ok[0] != 0 {
		t.Errorf("sse_connection_ok: %v", ok)
	}
	if failed := sum(v.measured("http_req_failed")); failed != 1 {
		t.Errorf("http_req_failed: %v", failed)
	}
}

func TestNobodyThereIsAnErrorAndAResponse(t *testing.T) {
	v := newVU(t)
	got := v.run(`
		let error;
		const response = sse.open('http://127.0.0.1:1/', (client) => client.on('error', (e) => { error = e }));
		JSON.stringify([response.status, response.error.includes('refused'), error.reason, error.error().includes('refused')])`).String()
	if got != `[0,true,"connect",true]` {
		t.Error(got)
	}
	if ok := v.measured("sse_connection_ok"); len(ok) != 1 || ok[0] != 0 {
		t.Errorf("sse_connection_ok: %v", ok)
	}
}

func TestAPageIsNoStream(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	if got := newVU(t).run(`
		let reason;
		sse.open('%s', (client) => client.on('error', (e) => { reason = e.reason }));
		reason`, url).String(); got != "content_type" {
		t.Error(got)
	}
}

func TestAnErrorInAHandlerEndsTheScript(t *testing.T) {
	url := server(t, answer(true, "data: a\n\n"))
	said := newVU(t).refuses(`sse.open('%s', (client) => client.on('event', () => { throw new Error('mine') }))`, url)
	if !strings.Contains(said, "mine") {
		t.Error(said)
	}
}

func TestWhatIsMisspelledIsRefused(t *testing.T) {
	v := newVU(t)
	for script, want := range map[string]string{
		`sse.open('http://127.0.0.1:1/', {header: {}}, () => {})`:              "params.header",
		`sse.open('http://127.0.0.1:1/', {protocol: 'http3'}, () => {})`:       "neither http1 nor http2",
		`sse.open('http://127.0.0.1:1/', {reconnect: {often: 1}}, () => {})`:   "often",
		`sse.open('http://127.0.0.1:1/', (client) => client.on('message', 1))`: "message",
		`sse.open('http://127.0.0.1:1/', {})`:                                  "function",
		`sse.open('http://127.0.0.1:1/')`:                                      "sse.open takes",
		`sse.reader('http://127.0.0.1:1/', {room: 'a'})`:                       "ledger",
	} {
		if said := v.refuses("%s", script); !strings.Contains(said, want) {
			t.Errorf("%s: %s", script, said)
		}
	}
}

func TestTimersRunBesideTheStream(t *testing.T) {
	url := server(t, answer(true, ": on\n\n"))
	if got := newVU(t).run(`
		let ticks = 0;
		sse.open('%s', (client) => {
			const cleared = client.setTimeout(() => { ticks += 100 }, 1);
			client.clearTimeout(cleared);
			const interval = client.setInterval(() => {
				if (++ticks === 3) {
					client.clearTimeout(interval);
					client.setTimeout(() => client.close(), 1);
				}
			}, 1);
		});
		ticks`, url).ToInteger(); got != 3 {
		t.Errorf("%d ticks", got)
	}
}

func TestGzipIsReadEventByEvent(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
		writer := gzip.NewWriter(w)
		_, _ = writer.Write([]byte("data: " + strings.Repeat("a", 5000) + "\n\n"))
		_ = writer.Flush()
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	if got := newVU(t).run(`
		let length;
		sse.open('%s', {headers: {'Accept-Encoding': 'gzip'}}, (client) => client.on('event', (event) => {
			length = event.data.length;
			client.close();
		}));
		length`, url).ToInteger(); got != 5000 {
		t.Errorf("%d", got)
	}
}

func TestHTTP2IsSpokenInCleartext(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		answer(false, "data: "+r.Proto+"\n\n")(w, r)
	})
	v := newVU(t)
	for protocol, want := range map[string]string{"http1": "HTTP/1.1", "http2": "HTTP/2.0"} {
		if got := v.run(`
			(() => {
				let data;
				sse.open('%s', {protocol: '%s'}, (client) => client.on('event', (event) => { data = event.data }));
				return data;
			})()`, url, protocol).String(); got != want {
			t.Errorf("%s: %s", protocol, got)
		}
		if len(v.measured("http_reqs", "proto", want)) != 1 {
			t.Errorf("http_reqs has no proto %s", want)
		}
	}
}

func TestAStreamEndsWithItsTimeout(t *testing.T) {
	url := server(t, answer(true, ": on\n\n"))
	v := newVU(t)
	if got := v.run(`sse.open('%s', {timeout: '50ms', reconnect: true}, () => {}).status`, url).ToInteger(); got != 200 {
		t.Error(got)
	}
	if lost := v.measured("sse_disconnects"); lost != nil {
		t.Errorf("a timeout that the script set is no disconnect: %v", lost)
	}
}

func TestThereAreNoStreamsInTheInitContext(t *testing.T) {
	v := newVU(t)
	v.runtime.VU.StateField = nil
	if said := v.refuses(`sse.open('http://127.0.0.1:1/', () => {})`); !strings.Contains(said, "init context") {
		t.Error(said)
	}
}

func TestCookiesOfTheVUAndOfTheScriptAreSent(t *testing.T) {
	sent := make(chan string, 2)
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Cookie")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s2"})
		answer(false, "data: x\n\n")(w, r)
	})
	v := newVU(t)
	v.run(`
		const read = () => sse.open('%s', {headers: {Cookie: 'tidegate_signature=v1'}}, () => {});
		read();
		read();`, url)
	if one, two := <-sent, <-sent; one != "tidegate_signature=v1" || two != "tidegate_signature=v1; session=s2" {
		t.Errorf("%q, then %q", one, two)
	}
}
