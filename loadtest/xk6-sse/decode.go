package sse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pierrec/lz4/v4"
)

// maxDecoded is the most bytes that a payload may have: a few bytes of LZ4 can stand for gigabytes.
const maxDecoded = 64 << 20

// content is an event's `data`, as its publisher gave it.
type content struct {
	data       []byte
	messageID  string
	compressed bool
	// took is how long base64 and LZ4 needed.
	took time.Duration
}

// unwrap takes an event's data out of the gateway's envelope; other servers' events are their own data.
func unwrap(text string) (content, error) {
	var envelope struct {
		MessageID string          `json:"message_id"`
		Encoding  string          `json:"encoding"`
		Data      json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &envelope); err != nil {
		return content{}, err
	}
	c := content{data: envelope.Data, messageID: envelope.MessageID}
	switch envelope.Encoding {
	case "":
		if envelope.MessageID == "" {
			c.data = []byte(text)
		}
		return c, nil
	case "base64":
		return c, nil
	case "lz4", "base64+lz4":
	default:
		return c, fmt.Errorf("encoding %q is not known", envelope.Encoding)
	}
	var frame []byte
	began := time.Now()
	if err := json.Unmarshal(envelope.Data, &frame); err != nil {
		return c, fmt.Errorf("no base64: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(frame)), maxDecoded+1))
	if err == nil && len(data) > maxDecoded {
		err = errors.New("more than 64 MiB")
	}
	if err != nil {
		return c, fmt.Errorf("LZ4: %w", err)
	}
	c.data, c.compressed, c.took = data, true, time.Since(began)
	return c, nil
}

// decode is `unwrap` for scripts.
func decode(text string) (map[string]any, error) {
	c, err := unwrap(text)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"data":       string(c.data),
		"messageId":  c.messageID,
		"compressed": c.compressed,
		"ms":         float64(c.took) / float64(time.Millisecond),
	}, nil
}
