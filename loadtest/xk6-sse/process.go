package sse

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Process is what a server on the same machine uses.
type Process struct {
	RSSBytes   float64 `js:"rssBytes"`
	CPUSeconds float64 `js:"cpuSeconds"`
	Files      int     `js:"files"`
}

// ticks is how many parts of a second Linux counts CPU time in, on every machine that this runs on.
const ticks = 100

// process looks at one, by its number (proc(5)), or at k6 itself. Where there is no /proc, servers are
// measured by their metrics.
func process(number ...int) (*Process, error) {
	pid := os.Getpid()
	if len(number) > 0 {
		pid = number[0]
	}
	folder := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(folder + "stat")
	if err != nil {
		return nil, fmt.Errorf("there is no process %d: %w", pid, err)
	}
	// What follows its name, which may hold anything: the state is the first of these.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 22 {
		return nil, fmt.Errorf("%sstat has only %d fields", folder, len(fields))
	}
	figure := func(field int) float64 {
		value, _ := strconv.ParseFloat(fields[field], 64)
		return value
	}
	p := &Process{
		CPUSeconds: (figure(11) + figure(12)) / ticks,
		RSSBytes:   figure(21) * float64(os.Getpagesize()),
	}
	if files, err := os.ReadDir(folder + "fd"); err == nil {
		p.Files = len(files)
	}
	return p, nil
}
