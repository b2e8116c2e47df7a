package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxBlock is the most bytes that one event may have: a stream without a blank line must not fill the
// machine's memory.
const maxBlock = 64 << 20

var errTooLong = errors.New("an event of more than 64 MiB")

// block is what stood between two blank lines of a stream.
type block struct {
	id      string
	hasID   bool
	name    string
	data    string
	hasData bool
	comment string
	// retry is when to come back, if the block says so.
	retry    time.Duration
	hasRetry bool
	// bytes is its size on the wire, the blank line included.
	bytes int
	at    time.Time
}

// parser reads a stream as the HTML standard says (9.2.6): lines end with CR LF, LF or CR, and what the
// stream's end cuts off is no event.
type parser struct {
	reader *bufio.Reader
	line   []byte
	// skipLF: the line before ended with a CR, to which a LF may belong that has not come yet. It is
	// not waited for.
	skipLF bool
	begun  bool
	read   int
	// limit is the most bytes of a block.
	limit int
}

func newParser(from io.Reader) *parser {
	return &parser{reader: bufio.NewReader(from), limit: maxBlock}
}

// next waits for the next block that says something.
func (p *parser) next() (block, error) {
	var b block
	var data strings.Builder
	p.read = 0
	for {
		line, err := p.nextLine()
		if err != nil {
			return block{}, err
		}
		// Many short lines fill the memory as well as a long one does.
		if p.read > p.limit {
			return block{}, errTooLong
		}
		if len(line) == 0 {
			if b.hasData || b.hasID || b.hasRetry || b.name != "" || b.comment != "" {
				b.data = data.String()
				b.bytes = p.read
				b.at = time.Now()
				return b, nil
			}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "":
			if b.comment != "" {
				b.comment += "\n"
			}
			b.comment += string(value)
		case "data":
			if b.hasData {
				data.WriteByte('\n')
			}
			b.hasData = true
			data.Write(value)
		case "event":
			b.name = string(value)
		case "id":
			if !bytes.ContainsRune(value, 0) {
				b.id, b.hasID = string(value), true
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				b.retry, b.hasRetry = time.Duration(ms)*time.Millisecond, true
			}
		}
	}
}

// nextLine is the next line without its end. It is good until the next call.
func (p *parser) nextLine() ([]byte, error) {
	p.line = p.line[:0]
	for {
		if _, err := p.reader.Peek(1); err != nil {
			return nil, err
		}
		chunk, err := p.reader.Peek(p.reader.Buffered())
		if err != nil {
			return nil, err
		}
		if p.skipLF {
			p.skipLF = false
			if chunk[0] == '\n' {
				p.discard(1)
				continue
			}
		}
		if !p.begun && len(p.line) == 0 && chunk[0] == 0xEF {
			// A byte order mark, whole or still coming.
			mark, err := p.reader.Peek(3)
			if err != nil {
				return nil, err
			}
			p.begun = true
			if bytes.Equal(mark, []byte("\xEF\xBB\xBF")) {
				p.discard(3)
				continue
			}
			chunk = mark
		}
		p.begun = true
		if end := lineEnd(chunk); end >= 0 {
			p.line = append(p.line, chunk[:end]...)
			p.skipLF = chunk[end] == '\r'
			p.discard(end + 1)
			return p.line, nil
		}
		p.line = append(p.line, chunk...)
		p.discard(len(chunk))
		if p.read > p.limit {
			return nil, errTooLong
		}
	}
}

// lineEnd is where the first line ends, or -1: two searches that the processor is good at.
func lineEnd(chunk []byte) int {
	end := bytes.IndexByte(chunk, '\n')
	if end >= 0 {
		chunk = chunk[:end]
	}
	if cr := bytes.IndexByte(chunk, '\r'); cr >= 0 {
		return cr
	}
	return end
}

func (p *parser) discard(n int) {
	// What was peeked at can be discarded.
	_, _ = p.reader.Discard(n)
	p.read += n
}
