// Decodes a recorded stream with pierrec/lz4: prints each event's data as compact JSON.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/pierrec/lz4/v4"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		text, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData || !strings.HasPrefix(text, `{"message_id"`) {
			continue
		}
		var envelope struct {
			Data     json.RawMessage
			Encoding string
		}
		if err := json.Unmarshal([]byte(text), &envelope); err != nil {
			log.Fatal(err)
		}
		data := envelope.Data
		if envelope.Encoding == "lz4" {
			var coded string
			if err := json.Unmarshal(data, &coded); err != nil {
				log.Fatal(err)
			}
			frame, err := base64.StdEncoding.DecodeString(coded)
			if err != nil {
				log.Fatal(err)
			}
			if data, err = io.ReadAll(lz4.NewReader(bytes.NewReader(frame))); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Println(string(data))
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
