package sse

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"
)

// envelope is an event as the gateway writes it, about what a ledger says of it.
func envelope(p Published) string {
	return fmt.Sprintf(`{"message_id":"m%d","data":{"run":"%s","n":%d,"t":%f}}`, p.N, p.Run, p.N, p.T)
}

// deliver hands an event to a reader.
func deliver(t *testing.T, a *account, text string) {
	t.Helper()
	c, err := unwrap(text)
	if err != nil {
		t.Fatal(err)
	}
	a.received(c.data)
}

// accepted publishes to a room and has the receipt.
func accepted(t *testing.T, l *Ledger, room string) Published {
	t.Helper()
	p := l.Publish(room)
	if err := l.Accepted(room, p.N); err != nil {
		t.Fatal(err)
	}
	return p
}

// past makes everything so much older that what was left in flight is not any more.
func past(l *Ledger) {
	for _, room := range l.rooms {
		for i := range room.events {
			room.events[i].began -= int64(2 * settle)
			if room.events[i].receipt != 0 {
				room.events[i].receipt -= int64(2 * settle)
			}
		}
		for _, a := range room.accounts {
			if a.joinedAt != 0 {
				a.joinedAt -= int64(2 * settle)
			}
			if a.leftAt != 0 {
				a.leftAt -= int64(2 * settle)
			}
			if a.latest != 0 {
				a.latest -= int64(2 * settle)
			}
		}
	}
}

func TestALossIsALossAndALateJoinerIsNone(t *testing.T) {
	l := New().ledger("a")
	early, late, gone := l.account("r"), l.account("r"), l.account("r")
	l.account("r") // never there
	early.joined(time.Now())
	gone.joined(time.Now())
	publish := func() Published {
		return accepted(t, l, "r")
	}
	first := publish()
	deliver(t, early, envelope(first))
	deliver(t, gone, envelope(first))
	past(l)
	gone.left(false)
	lost := publish()
	late.joined(time.Now())
	third := publish()
	deliver(t, early, envelope(third))
	deliver(t, late, envelope(third))
	deliver(t, late, envelope(third))
	past(l)

	r := l.Report()
	if r.Produced != 3 || r.Readers != 3 || r.Absent != 1 {
		t.Errorf("%+v", r)
	}
	// first to early and gone, lost and third to early, third to late: gone had left, late was not there.
	if r.Owed != 5 || r.Received != 4 || r.Lost != 1 || r.Doubled != 1 || r.LossRate != 0.2 {
		t.Errorf("%+v", r)
	}
	if len(r.Examples) != 1 || r.Examples[0].N != lost.N || r.Examples[0].Room != "r" || r.Examples[0].Left != -1 {
		t.Errorf("%+v", r.Examples)
	}
}

func TestWhatIsStillOnItsWayIsNeitherReceivedNorLost(t *testing.T) {
	l := New().ledger("a")
	a := l.account("r")
	a.joined(time.Now())
	accepted(t, l, "r")
	a.left(false)
	if r := l.Report(); r.Owed != 0 || r.Lost != 0 {
		t.Errorf("%+v", r)
	}
}

func TestOnlyWhatHasAReceiptIsOwed(t *testing.T) {
	l := New().ledger("a")
	a := l.account("r")
	a.joined(time.Now())
	refused := l.Publish("r")
	if err := l.Refused("r", refused.N); err != nil {
		t.Fatal(err)
	}
	l.Publish("r")
	past(l)
	if r := l.Report(); r.Refused != 1 || r.Unknown != 1 || r.Produced != 0 || r.Owed != 0 {
		t.Errorf("%+v", r)
	}
	if err := l.Accepted("r", 7); err == nil {
		t.Error("a receipt for what was not published")
	}
}

func TestEventsOfOthersAreForeign(t *testing.T) {
	l := New().ledger("a")
	a := l.account("r")
	a.joined(time.Now())
	deliver(t, a, envelope(New().ledger("a").Publish("r")))
	deliver(t, a, `{"message_id":"x","data":[1]}`)
	deliver(t, a, `{"other":"server"}`)
	if r := l.Report(); r.Foreign != 3 || r.Unreadable != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRoomsDoNotOweEachOther(t *testing.T) {
	l := New().ledger("a")
	one := l.account("1")
	one.joined(time.Now())
	accepted(t, l, "2")
	past(l)
	if r := l.Report(); r.Owed != 0 || r.Produced != 1 {
		t.Errorf("%+v", r)
	}
}

func TestALedgerIsWaitedForUntilAllAreThereAndHaveTheEvent(t *testing.T) {
	l := New().ledger("a")
	if l.Joined("r", 2, 1) {
		t.Error("two readers in an empty room")
	}
	a, b := l.account("r"), l.account("r")
	l.account("r") // does not come, and is not waited for
	steps := make(chan bool)
	go func() { steps <- l.Joined("r", 2, 10_000) }()
	a.joined(time.Now())
	b.joined(time.Now())
	if !<-steps {
		t.Error("two readers are there")
	}
	p := l.Publish("r")
	go func() { steps <- l.Arrived("r", p.N, 10_000) }()
	deliver(t, a, envelope(p))
	if l.Arrived("r", p.N, 1) {
		t.Error("one reader does not have it")
	}
	deliver(t, b, envelope(p))
	if !<-steps {
		t.Error("both have it")
	}
}

func TestWhoComesBackIsOwedWhatWasPublishedMeanwhile(t *testing.T) {
	l := New().ledger("a")
	a := l.account("r")
	a.joined(time.Now())
	a.left(false)
	accepted(t, l, "r")
	a.again()
	past(l)
	if r := l.Report(); r.Lost != 1 {
		t.Errorf("%+v", r)
	}
}

// compressed is an event as a stream with compress=lz4 has it.
func compressed(t *testing.T, data string) string {
	t.Helper()
	var frame bytes.Buffer
	writer := lz4.NewWriter(&frame)
	if _, err := writer.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"message_id": "m", "encoding": "lz4", "data": base64.StdEncoding.EncodeToString(frame.Bytes()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLZ4IsTakenOff(t *testing.T) {
	data := `{"pad":"` + strings.Repeat("abc", 10_000) + `"}`
	c, err := unwrap(compressed(t, data))
	if err != nil || string(c.data) != data || !c.compressed || c.took <= 0 {
		t.Errorf("%d bytes, %v", len(c.data), err)
	}
	v := newVU(t)
	if err := v.runtime.VU.Runtime().Set("text", compressed(t, data)); err != nil {
		t.Fatal(err)
	}
	if got := v.run(`const d = sse.decode(text); d.compressed && d.ms > 0 && JSON.parse(d.data).pad.length`).ToInteger(); got != 30_000 {
		t.Errorf("%d", got)
	}
}

func TestWhatIsNoLZ4IsSaid(t *testing.T) {
	for _, text := range []string{
		`{"message_id":"m","encoding":"lz4","data":"bm90IGx6NA=="}`,
		`{"message_id":"m","encoding":"lz4","data":"%%"}`,
		`{"message_id":"m","encoding":"zip","data":""}`,
		`no json`,
	} {
		if c, err := unwrap(text); err == nil {
			t.Errorf("%s: %+v", text, c)
		}
	}
}

func TestAFewBytesDoNotBecomeGigabytes(t *testing.T) {
	if _, err := unwrap(compressed(t, strings.Repeat("0", maxDecoded+1))); err == nil {
		t.Error("more than the limit was decoded")
	}
}

func TestACompleteStreamIsOwedAllOfIt(t *testing.T) {
	l := New().ledger("a")
	a := l.account("r")
	a.joined(time.Now())
	accepted(t, l, "r")
	a.left(true)
	if r := l.Report(); r.Lost != 1 {
		t.Errorf("%+v", r)
	}
}

func TestWhatStandsBeforeAnEventThatCameIsOwed(t *testing.T) {
	l := New().ledger("a")
	a := l.account("r")
	a.joined(time.Now())
	for range 2 {
		accepted(t, l, "r")
	}
	a.received(fmt.Appendf(nil, `{"run":%q,"n":1}`, l.run))
	a.left(false)
	if r := l.Report(); r.Owed != 1 || r.Lost != 1 {
		t.Errorf("%+v", r)
	}
}
