package sse

import (
	"cmp"
	"regexp"
	"slices"
	"sync"
	"time"
)

// faults is what went wrong, for the report: a rate that failed its threshold does not say why.
type faults struct {
	mu    sync.Mutex
	start time.Time
	seen  map[faultKey]*Fault
}

type faultKey struct{ what, message string }

// Fault is one kind of failure.
type Fault struct {
	// What is `stream` or what a script calls it, Message the first words of the error.
	What    string `js:"what"`
	Message string `js:"message"`
	Count   int    `js:"count"`
	// First and Last are seconds of the test.
	First float64 `js:"first"`
	Last  float64 `js:"last"`
}

const (
	// mostFaults is how many kinds are told apart; the others are counted together, since messages may
	// hold ports and names.
	mostFaults = 20
	// longestFault is how much is kept of a message.
	longestFault = 300
)

// addresses are a connection's own end, which differs in every message of the same failure.
var addresses = regexp.MustCompile(`\S+:\d+->`)

func newFaults(start time.Time) *faults {
	return &faults{start: start, seen: map[faultKey]*Fault{}}
}

func (f *faults) note(what, message string) {
	if len(message) > longestFault {
		message = message[:longestFault]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Since(f.start).Seconds()
	key := faultKey{what, addresses.ReplaceAllString(message, "")}
	if _, there := f.seen[key]; !there && len(f.seen) >= mostFaults {
		key = faultKey{what, "others"}
	}
	found, there := f.seen[key]
	if !there {
		found = &Fault{What: key.what, Message: key.message, First: at}
		f.seen[key] = found
	}
	found.Count++
	found.Last = at
}

// list has the most frequent first.
func (f *faults) list() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Fault, 0, len(f.seen))
	for _, fault := range f.seen {
		all = append(all, *fault)
	}
	slices.SortFunc(all, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.First, b.First), cmp.Compare(a.Message, b.Message))
	})
	return all
}
