package sse

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// refusal notes the answer and says whether it is anything but a stream.
func (s *stream) refusal(response *http.Response) (ending, bool) {
	s.last = head{URL: s.url, Status: response.StatusCode, Headers: map[string]string{}}
	for name, values := range response.Header {
		s.last.Headers[name] = strings.Join(values, ", ")
	}
	kind := response.Header.Get("Content-Type")
	if response.StatusCode == http.StatusOK && strings.HasPrefix(kind, "text/event-stream") {
		return ending{}, false
	}
	start, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	s.last.Body = string(start)
	end := ending{reason: "status_" + strconv.Itoa(response.StatusCode), final: true}
	switch {
	case response.StatusCode == http.StatusOK:
		end.reason = "content_type"
		end.err = fmt.Errorf("200, but %q is no event stream", kind)
	case response.StatusCode == http.StatusNoContent:
		end.err = errors.New("204: the stream is over and is not to be asked for again")
	default:
		end.err = fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(s.last.Body))
	}
	// What has no server behind it for a moment is asked again, unlike in a browser.
	if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
		end.final = false
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
			end.retryAfter = time.Duration(seconds) * time.Second
		}
	}
	return end, true
}

// word is the reason in a goodbye's or gap's data.
func word(data string) string {
	var said struct{ Reason string }
	if json.Unmarshal([]byte(data), &said) != nil || said.Reason == "" || len(said.Reason) > 20 {
		return "unknown"
	}
	return said.Reason
}

func boolean(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// decoded is the body without its content coding, event by event as it comes.
func decoded(response *http.Response) (io.Reader, error) {
	switch coding := response.Header.Get("Content-Encoding"); coding {
	case "", "identity":
		return response.Body, nil
	case "gzip":
		return gzip.NewReader(response.Body)
	default:
		return nil, fmt.Errorf("content coding %q cannot be read here", coding)
	}
}
