package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// blocks parses a whole stream, at once and byte by byte, which must not differ.
func blocks(t *testing.T, stream string) []block {
	t.Helper()
	var results [2][]block
	for i, reader := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
		p := newParser(reader)
		for {
			b, err := p.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b.at = time.Time{}
			results[i] = append(results[i], b)
		}
	}
	if len(results[0]) != len(results[1]) {
		t.Fatalf("%d blocks at once, %d byte by byte", len(results[0]), len(results[1]))
	}
	for i := range results[0] {
		if results[0][i] != results[1][i] {
			t.Fatalf("at once %+v, byte by byte %+v", results[0][i], results[1][i])
		}
	}
	return results[0]
}

func TestABlockHasItsFields(t *testing.T) {
	got := blocks(t, "id: 7\nevent: Cart\ndata: {\ndata:  }\nretry: 1500\n: note\n\n")
	want := block{id: "7", hasID: true, name: "Cart", data: "{\n }", hasData: true, comment: "note",
		retry: 1500 * time.Millisecond, hasRetry: true, bytes: 55}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
}

func TestLinesEndWithAnyOfThreeEnds(t *testing.T) {
	for _, end := range []string{"\n", "\r", "\r\n"} {
		got := blocks(t, strings.ReplaceAll("data: a\ndata: b\n\ndata: c\n\n", "\n", end))
		if len(got) != 2 || got[0].data != "a\nb" || got[1].data != "c" {
			t.Errorf("%q: %+v", end, got)
		}
	}
}

func TestACarriageReturnIsNotWaitedAfter(t *testing.T) {
	reader, writer := io.Pipe()
	done := make(chan block)
	go func() {
		b, err := newParser(reader).next()
		if err != nil {
			t.Error(err)
		}
		done <- b
	}()
	if _, err := writer.Write([]byte("data: now\r\r")); err != nil {
		t.Fatal(err)
	}
	if b := <-done; b.data != "now" {
		t.Errorf("%+v", b)
	}
}

func TestWhatTheEndCutsOffIsNoEvent(t *testing.T) {
	if got := blocks(t, "data: whole\n\ndata: half\n"); len(got) != 1 || got[0].data != "whole" {
		t.Errorf("%+v", got)
	}
}

func TestAMarkAtTheBeginningIsNoData(t *testing.T) {
	if got := blocks(t, "\xEF\xBB\xBFdata: a\n\n"); len(got) != 1 || got[0].data != "a" {
		t.Errorf("%+v", got)
	}
}

func TestFieldsThatTheStandardRefusesAreLeftOut(t *testing.T) {
	got := blocks(t, "retry: 1s\nretry: +5\nretry:\nid: a\x00b\nodd: x\ndata\n\n")
	if len(got) != 1 || got[0].hasRetry || got[0].hasID || !got[0].hasData || got[0].data != "" {
		t.Errorf("%+v", got)
	}
}

func TestAnEmptyIDClearsTheLastOne(t *testing.T) {
	if got := blocks(t, "id\ndata: a\n\n"); len(got) != 1 || !got[0].hasID || got[0].id != "" {
		t.Errorf("%+v", got)
	}
}

func TestACommentAloneIsGivenToo(t *testing.T) {
	if got := blocks(t, ": still here\n\n"); len(got) != 1 || got[0].comment != "still here" || got[0].hasData {
		t.Errorf("%+v", got)
	}
}

func TestAnEventWithoutAnEndIsRefused(t *testing.T) {
	for _, lines := range []endless{"0", "data: 0\n", ":\n"} {
		p := newParser(io.MultiReader(strings.NewReader("data: "), lines))
		p.limit = 100_000
		if _, err := p.next(); !errors.Is(err, errTooLong) {
			t.Errorf("%q for ever: %v", lines, err)
		}
	}
}

// endless is a text again and again.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func FuzzNoStreamForgesAField(f *testing.F) {
	f.Add("data: a\rid: 1\r\n\r\ndata")
	f.Fuzz(func(t *testing.T, stream string) {
		p := newParser(strings.NewReader(stream))
		for {
			b, err := p.next()
			if err != nil {
				return
			}
			if strings.ContainsAny(b.id+b.name, "\r\n") || strings.ContainsRune(b.data, '\r') {
				t.Fatalf("%+v", b)
			}
		}
	})
}
