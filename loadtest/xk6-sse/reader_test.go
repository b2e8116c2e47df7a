package sse

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadersAreManyInOneVUAndKnowWhatTheyAreOwed(t *testing.T) {
	v := newVU(t)
	l := v.root.ledger("loss")
	published := make(chan struct{})
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, connected(15000))
		w.(http.Flusher).Flush()
		<-published
		l.mu.Lock()
		began := l.rooms["r"].events[0].began
		l.mu.Unlock()
		p := Published{Run: l.run, N: 0, T: float64(began) / float64(time.Millisecond)}
		_, _ = fmt.Fprintf(w, "id: 1\ndata: %s\n\n", envelope(p))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	v.run(`
		const ledger = sse.ledger('loss');
		const readers = [];
		for (let i = 0; i < 3; i++) readers.push(sse.reader('%s', {ledger: ledger, room: 'r'}));`, url)
	// What is published once their first blocks have come is owed to them.
	waitFor(t, func() bool { return allJoined(l, 3) })
	v.run(`const p = ledger.publish('r'); ledger.accepted('r', p.n); if (!(p.t <= sse.now())) throw new Error(p.t)`)
	close(published)
	waitFor(t, func() bool { return v.run(`readers.every((r) => r.state().events === 1)`).ToBoolean() })
	past(l)
	got := v.run(`
		const states = readers.map((r) => r.close());
		const report = ledger.report();
		JSON.stringify([states[0].status, states[0].done, states[0].lastId, report.owed, report.received, report.lost, report.readers])`).String()
	if got != `[200,true,"1",3,3,0,3]` {
		t.Error(got)
	}
	if latencies := v.measured("message_latency_ms"); len(latencies) != 3 {
		t.Errorf("message_latency_ms: %v", latencies)
	}
	if count := sum(v.measured("received_message_count")); count != 3 {
		t.Errorf("received_message_count: %v", count)
	}
	seconds := v.run(`JSON.stringify(sse.timeline())`).String()
	var course []struct{ Open, Opened, Closed, Events int }
	if err := json.Unmarshal([]byte(seconds), &course); err != nil || len(course) == 0 {
		t.Fatalf("%s: %v", seconds, err)
	}
	var opened, closed, events int
	for _, second := range course {
		opened, closed, events = opened+second.Opened, closed+second.Closed, events+second.Events
	}
	if opened != 3 || closed != 3 || events != 3 || course[len(course)-1].Open != 0 {
		t.Errorf("%s", seconds)
	}
}

func allJoined(l *Ledger, readers int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := 0
	for _, room := range l.rooms {
		for _, a := range room.accounts {
			if a.joinedAt != 0 {
				there++
			}
		}
	}
	return there == readers
}

// waitFor looks again and again, until its test's deadline.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("it does not come")
		case <-tick.C:
		}
	}
}

func TestAReaderEndsWithItsIteration(t *testing.T) {
	url := server(t, answer(true, connected(15000)))
	v := newVU(t)
	v.run(`const reader = sse.reader('%s'); if (reader.wait(1)) throw new Error('it has ended by itself')`, url)
	v.cancel()
	if !v.run(`reader.wait(5000)`).ToBoolean() {
		t.Error("it goes on")
	}
}

func TestAReaderTakesOverWhereAnotherWas(t *testing.T) {
	at := make(chan string, 2)
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		at <- r.Header.Get("Last-Event-ID")
		answer(true, "id: c7\ndata: {}\n\n")(w, r)
	})
	v := newVU(t)
	v.run(`
		const first = sse.reader('%s', {ledger: sse.ledger('l'), room: 'r'});
		sse.ledger('l').joined('r', 1, 10000)`, url)
	if said := v.refuses(`sse.reader('%s', {resume: first})`, url); !strings.Contains(said, "has not been closed") {
		t.Error(said)
	}
	waitFor(t, func() bool { return v.run(`first.state().lastId`).String() == "c7" })
	v.run(`first.close(); const second = sse.reader('%s', {resume: first}); second.wait(1)`, url)
	if one, two := <-at, <-at; one != "" || two != "c7" {
		t.Errorf("at %q, then at %q", one, two)
	}
	if got := v.run(`second.close(); sse.ledger('l').report().readers`).ToInteger(); got != 1 {
		t.Errorf("%d readers", got)
	}
}

func TestAProcessIsMeasured(t *testing.T) {
	v := newVU(t)
	got := v.run(`const p = sse.process(%d); p.rssBytes > 1e6 && p.cpuSeconds >= 0 && p.files > 2 && sse.process().rssBytes > 1e6`, os.Getpid())
	if !got.ToBoolean() {
		t.Error(v.run(`JSON.stringify(p)`))
	}
	if said := v.refuses(`sse.process(0)`); !strings.Contains(said, "no process") {
		t.Error(said)
	}
}

func TestABatchIsAnsweredWhileItIsOpen(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		if kind := r.Header.Get("Content-Type"); kind != "application/x-ndjson" {
			t.Errorf("Content-Type %q", kind)
		}
		controller := http.NewResponseController(w)
		if err := controller.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusOK)
		lines := bufio.NewScanner(r.Body)
		for number := 1; lines.Scan(); number++ {
			if number == 2 {
				_, _ = fmt.Fprintf(w, `{"line":2,"status":422,"title":"invalid","detail":"data is missing"}`+"\n")
			} else {
				_, _ = fmt.Fprintf(w, `{"line":%d,"status":200,"message_id":"m%d"}`+"\n", number, number)
			}
			_ = controller.Flush()
		}
		_, _ = fmt.Fprint(w, `{"line":null,"status":503,"title":"draining"}`+"\n")
	})
	got := newVU(t).run(`
		const batch = sse.batch('%s');
		const numbers = [batch.send({event_id: 'a', data: 1})];
		const first = batch.receive(5000);
		numbers.push(batch.send('{"event_id":"a"}'), batch.send({event_id: 'a', data: 3}));
		const rest = batch.end();
		JSON.stringify([numbers, first.line, first.status, first.messageId, first.ms > 0,
			rest.map((r) => [r.line, r.status, r.title]), batch.status(), batch.receive(1)])`, url).String()
	if got != `[[1,2,3],1,200,"m1",true,[[2,422,"invalid"],[3,200,""],[0,503,"draining"]],200,null]` {
		t.Error(got)
	}
}

func TestABatchThatIsRefusedSaysWhy(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("no signature"))
	})
	v := newVU(t)
	said := v.refuses(`const b = sse.batch('%s'); b.send({}); b.end()`, url)
	if want := "401 Unauthorized: no signature"; !strings.Contains(said, want) {
		t.Error(said)
	}
	if failed := sum(v.measured("http_req_failed")); failed != 1 {
		t.Errorf("http_req_failed: %v", failed)
	}
}

func TestALineOfABatchIsOneLine(t *testing.T) {
	url := server(t, answer(false))
	if said := newVU(t).refuses(`sse.batch('%s').send('{}\n{}')`, url); !strings.Contains(said, "no line ends") {
		t.Error(said)
	}
}

func TestASecondsPercentilesAreWithinAQuarter(t *testing.T) {
	line := newTimeline(time.Now())
	for ms := range 1000 {
		line.received(1, float64(ms))
	}
	last := line.seconds()[len(line.seconds())-1]
	if last.P50 < 400 || last.P50 > 625 || last.P95 < 760 || last.P95 > 1190 {
		t.Errorf("%+v", last)
	}
}

func TestWhatAStreamSawUntilItsVUWasStoppedIsCounted(t *testing.T) {
	url := server(t, answer(true, connected(15000), "data: x\n\n"))
	v := newVU(t)
	v.run(`const reader = sse.reader('%s', {ledger: sse.ledger('l'), room: 'r'})`, url)
	waitFor(t, func() bool { return v.run(`reader.state().events`).ToInteger() == 1 })
	v.cancel()
	v.run(`reader.wait(5000)`)
	if count := sum(v.measured("received_message_count")); count != 1 {
		t.Errorf("received_message_count: %v", count)
	}
	if speeds := v.measured("sse_stream_bytes_per_second"); len(speeds) != 1 {
		t.Errorf("sse_stream_bytes_per_second: %v", speeds)
	}
}

func TestASlowReaderIsFeltByTheServer(t *testing.T) {
	written := make(chan int, 1)
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event := "data: " + strings.Repeat("x", 64<<10) + "\n\n"
		controller := http.NewResponseController(w)
		for n := 0; n < 1000; n++ {
			_ = controller.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			if _, err := w.Write([]byte(event)); err != nil {
				written <- n
				return
			}
		}
		written <- 1000
	})
	v := newVU(t)
	v.run(`sse.open('%s', {readBuffer: 8192, timeout: 3000}, (client) => {
		client.on('event', () => { const until = sse.now() + 3500; while (sse.now() < until); client.close(); });
	})`, url)
	if events := <-written; events >= 1000 {
		t.Error("the server could write everything")
	}
}

func TestTheNumberOfOpenStreamsIsSaidTillTheEnd(t *testing.T) {
	url := server(t, answer(true, "data: a\n\n"))
	v := newVU(t)
	v.run(`
		const readers = [sse.reader('%[1]s'), sse.reader('%[1]s'), sse.reader('%[1]s')];
		const until = Date.now() + 5000;
		while (!readers.every((reader) => reader.state().events === 1) && Date.now() < until);
		readers.forEach((reader) => reader.close())`, url)
	open := v.measured("sse_streams")
	if len(open) == 0 || open[len(open)-1] != 0 || slices.Max(open) != 3 {
		t.Errorf("sse_streams: %v", open)
	}
	if none := v.measured("sse_gaps"); len(none) != 3 || sum(none) != 0 {
		t.Errorf("no gap is said as 0: %v", none)
	}
}
