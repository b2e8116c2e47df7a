package sse

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Ledger knows what was published and who was there, so that a loss is a loss and not a late joiner: an
// event is owed to a reader if its publish began after the reader's first block had come, and its
// receipt was there a moment before the reader left, or before the publish of an event that it has. It is
// one for all VUs of a process; events of other processes' ledgers are not its own and are counted as
// foreign.
type Ledger struct {
	run string

	mu         sync.Mutex
	rooms      map[string]*room
	foreign    int
	unreadable int
	problem    string
}

// room is what a ledger knows of one.
type room struct {
	events   []event
	accounts []*account
	// change is closed when a reader joins or gets an event; nil while nobody waits.
	change chan struct{}
}

func (r *room) changed() {
	if r.change != nil {
		close(r.change)
		r.change = nil
	}
}

// event is one publish. Times are in nanoseconds.
type event struct {
	began   int64
	receipt int64
	refused bool
}

// account is one reader's side of the ledger.
type account struct {
	ledger *Ledger
	room   *room
	// joinedAt is when its first block came, leftAt when it asked for no more; 0 is not yet.
	joinedAt int64
	leftAt   int64
	// latest is when the publish of the last event that it has began. What had its receipt before that
	// stands before it in the room, and is owed whenever the reader left.
	latest int64
	// complete: the gateway said that nothing follows, so that everything before is owed.
	complete bool
	// seen has a bit for each event of the room.
	seen    []uint64
	doubled int
	gaps    int
}

// settle is how long before a reader leaves an event's receipt has to be there for the event to be owed
// to it: what is on its way is neither received nor lost.
const settle = time.Second

// Published says what to put into an event's data.
type Published struct {
	Run string  `js:"run"`
	N   int     `js:"n"`
	T   float64 `js:"t"`
}

// ledger is the one of this name, made at the first call.
func (r *RootModule) ledger(name string) *Ledger {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, there := r.ledgers[name]
	if !there {
		var run [4]byte
		_, _ = rand.Read(run[:])
		found = &Ledger{run: hex.EncodeToString(run[:]), rooms: map[string]*room{}}
		r.ledgers[name] = found
	}
	return found
}

func (l *Ledger) room(name string) *room {
	found, there := l.rooms[name]
	if !there {
		found = &room{}
		l.rooms[name] = found
	}
	return found
}

// Publish notes that a publish to a room begins.
func (l *Ledger) Publish(name string) Published {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	r := l.room(name)
	r.events = append(r.events, event{began: now.UnixNano()})
	return Published{Run: l.run, N: len(r.events) - 1, T: milliseconds(now)}
}

// Accepted notes the receipt.
func (l *Ledger) Accepted(name string, n int) error {
	return l.answered(name, n, func(e *event) { e.receipt = time.Now().UnixNano() })
}

// Refused notes that the event is certainly not in the log. One whose outcome is not known stays as it
// is: nobody is owed it.
func (l *Ledger) Refused(name string, n int) error {
	return l.answered(name, n, func(e *event) { e.refused = true })
}

func (l *Ledger) answered(name string, n int, note func(*event)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.room(name)
	if n < 0 || n >= len(r.events) {
		return fmt.Errorf("nothing was published to %s as number %d", name, n)
	}
	note(&r.events[n])
	return nil
}

// account opens one for a reader of a room.
func (l *Ledger) account(name string) *account {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &account{ledger: l, room: l.room(name)}
	a.room.accounts = append(a.room.accounts, a)
	return a
}

func (a *account) joined(at time.Time) {
	if a == nil {
		return
	}
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	if a.joinedAt == 0 {
		a.joinedAt = at.UnixNano()
		a.room.changed()
	}
}

// again notes that the reader comes back: it is owed what it misses meanwhile.
func (a *account) again() {
	if a == nil {
		return
	}
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.leftAt, a.complete = 0, false
}

// owed says whether an event is, to a reader that has joined; `until` is when it left, or now.
func (a *account) owed(e *event, until int64) bool {
	if e.receipt == 0 || e.began < a.joinedAt {
		return false
	}
	if a.complete {
		return e.began <= until
	}
	return e.receipt <= max(until-int64(settle), a.latest)
}

func (a *account) left(complete bool) {
	if a == nil {
		return
	}
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.leftAt, a.complete = time.Now().UnixNano(), complete
}

func (a *account) gap() {
	if a == nil {
		return
	}
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.gaps++
}

func (a *account) unreadable(err error) {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.ledger.unreadable++
	a.ledger.problem = err.Error()
}

// received notes an event by its data, and says when its publish began, if it is of this ledger.
func (a *account) received(data []byte) (float64, bool) {
	var mark struct {
		Run string  `json:"run"`
		N   int     `json:"n"`
		T   float64 `json:"t"`
	}
	err := json.Unmarshal(data, &mark)
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	if err != nil || mark.Run != a.ledger.run || mark.N < 0 || mark.N >= len(a.room.events) {
		a.ledger.foreign++
		return 0, false
	}
	for len(a.seen) <= mark.N/64 {
		a.seen = append(a.seen, 0)
	}
	bit := uint64(1) << (mark.N % 64)
	if a.seen[mark.N/64]&bit != 0 {
		a.doubled++
	}
	a.seen[mark.N/64] |= bit
	a.latest = max(a.latest, a.room.events[mark.N].began)
	a.room.changed()
	return mark.T, true
}

func (a *account) has(n int) bool {
	return n/64 < len(a.seen) && a.seen[n/64]&(1<<(n%64)) != 0
}

// Joined waits until a room has this many readers, so many milliseconds at most, and says whether it has.
func (l *Ledger) Joined(name string, readers int, ms float64) bool {
	return l.wait(name, ms, func(r *room) bool {
		there := 0
		for _, a := range r.accounts {
			if a.joinedAt != 0 {
				there++
			}
		}
		return there >= readers
	})
}

// Arrived waits until all of a room's readers have an event.
func (l *Ledger) Arrived(name string, n int, ms float64) bool {
	return l.wait(name, ms, func(r *room) bool {
		for _, a := range r.accounts {
			if a.joinedAt != 0 && !a.has(n) {
				return false
			}
		}
		return true
	})
}

func (l *Ledger) wait(name string, ms float64, done func(*room) bool) bool {
	deadline := time.After(time.Duration(ms * float64(time.Millisecond)))
	for {
		l.mu.Lock()
		r := l.room(name)
		if done(r) {
			l.mu.Unlock()
			return true
		}
		if r.change == nil {
			r.change = make(chan struct{})
		}
		change := r.change
		l.mu.Unlock()
		select {
		case <-change:
		case <-deadline:
			return false
		}
	}
}
