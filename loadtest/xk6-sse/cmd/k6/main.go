// Command k6 is k6 with the module k6/x/sse.
package main

import (
	_ "github.com/tidegate/tidegate/loadtest/xk6-sse"
	"go.k6.io/k6/cmd"
)

func main() {
	cmd.Execute()
}
