package sse

import "time"

// Report is the Message Loss Report.
type Report struct {
	// Produced counts events with a receipt, Refused those without that are certainly not in the log,
	// Unknown those of which nobody knows.
	Produced int `js:"produced"`
	Refused  int `js:"refused"`
	Unknown  int `js:"unknown"`
	// Readers have had a first block; Absent never had one.
	Readers int `js:"readers"`
	Absent  int `js:"absent"`
	// Owed counts events by the readers that they are owed to, Received those of them that came, Lost
	// those that did not. Early and late ones, which nobody is owed, are in none of these.
	Owed     int `js:"owed"`
	Received int `js:"received"`
	Lost     int `js:"lost"`
	// Doubled counts events that came to a reader again, Gaps the holes that the gateway said.
	Doubled int `js:"doubled"`
	Gaps    int `js:"gaps"`
	// Foreign counts events of others, Unreadable those that are no JSON, or no LZ4 where they say so.
	Foreign    int    `js:"foreign"`
	Unreadable int    `js:"unreadable"`
	Problem    string `js:"problem"`
	// LossRate is Lost of Owed, from 0 to 1.
	LossRate float64 `js:"lossRate"`
	// Examples are some of the lost.
	Examples []Loss `js:"examples"`
}

// Loss is an event that a reader was owed and did not get. Times are in milliseconds, from the reader's
// first block on; Left is negative if it has not left.
type Loss struct {
	Room    string  `js:"room"`
	N       int     `js:"n"`
	Began   float64 `js:"began"`
	Receipt float64 `js:"receipt"`
	Left    float64 `js:"left"`
}

const maxExamples = 10

// Report compares what was published with what came.
func (l *Ledger) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Report{Foreign: l.foreign, Unreadable: l.unreadable, Problem: l.problem, Examples: []Loss{}}
	now := time.Now().UnixNano()
	for name, room := range l.rooms {
		for _, e := range room.events {
			switch {
			case e.receipt != 0:
				r.Produced++
			case e.refused:
				r.Refused++
			default:
				r.Unknown++
			}
		}
		for _, a := range room.accounts {
			if a.joinedAt == 0 {
				r.Absent++
				continue
			}
			r.Readers++
			r.Doubled += a.doubled
			r.Gaps += a.gaps
			until := now
			if a.leftAt != 0 {
				until = a.leftAt
			}
			for n, e := range room.events {
				if !a.owed(&e, until) {
					continue
				}
				r.Owed++
				if a.has(n) {
					r.Received++
					continue
				}
				r.Lost++
				if len(r.Examples) < maxExamples {
					since := func(at int64) float64 { return float64(at-a.joinedAt) / float64(time.Millisecond) }
					loss := Loss{Room: name, N: n, Began: since(e.began), Receipt: since(e.receipt), Left: -1}
					if a.leftAt != 0 {
						loss.Left = since(a.leftAt)
					}
					r.Examples = append(r.Examples, loss)
				}
			}
		}
	}
	if r.Owed > 0 {
		r.LossRate = float64(r.Lost) / float64(r.Owed)
	}
	return r
}
