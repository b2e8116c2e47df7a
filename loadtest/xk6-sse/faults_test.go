package sse

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWhatWentWrongIsTold(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("no signature"))
	})
	got := newVU(t).run(`
		for (let i = 0; i < 3; i++) sse.open('%s', () => {});
		sse.fault('publish', 'write tcp 127.0.0.1:4000->127.0.0.1:80: broken pipe');
		sse.fault('publish', 'write tcp 127.0.0.1:4001->127.0.0.1:80: broken pipe');
		JSON.stringify(sse.faults().map((f) => [f.what, f.message, f.count]))`, url).String()
	want := `[["stream","status_401: 401 Unauthorized: no signature",3],["publish","write tcp 127.0.0.1:80: broken pipe",2]]`
	if got != want {
		t.Error(got)
	}
}

func TestKindsOfFaultsAreBounded(t *testing.T) {
	f := newFaults(time.Now())
	for n := range 100 {
		f.note("stream", fmt.Sprintf("%d%s", n, strings.Repeat("x", 1000)))
	}
	all := f.list()
	if len(all) != mostFaults+1 || all[0].Message != "others" || all[0].Count != 100-mostFaults || len(all[1].Message) != longestFault {
		t.Errorf("%d kinds, most frequent %+v", len(all), all[0])
	}
}
