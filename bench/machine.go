package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what the figures depend on.
type Machine struct {
	CPU       string  `json:"cpu"`
	CPUs      int     `json:"cpus"`
	MemoryGiB float64 `json:"memoryGiB"`
	Kernel    string  `json:"kernel"`
	OS        string  `json:"os"`
	// Load is the load average over the last minute before the run.
	Load float64 `json:"load"`
}

func probeMachine() (Machine, error) {
	texts := map[string]string{}
	for _, path := range []string{"/proc/cpuinfo", "/proc/meminfo", "/proc/sys/kernel/osrelease", "/etc/os-release"} {
		data, err := os.ReadFile(path)
		if err != nil {
			return Machine{}, fmt.Errorf("looking at the machine: %w", err)
		}
		texts[path] = string(data)
	}
	load, err := loadAverage()
	return Machine{
		CPU: value(texts["/proc/cpuinfo"], "model name", ":"), CPUs: runtime.NumCPU(),
		MemoryGiB: memoryGiB(texts["/proc/meminfo"]),
		Kernel:    strings.TrimSpace(texts["/proc/sys/kernel/osrelease"]),
		OS:        strings.Trim(value(texts["/etc/os-release"], "PRETTY_NAME", "="), `"`),
		Load:      load,
	}, err
}

// value finds what a text of lines has for a key, "" for nothing: not every CPU has a name.
func value(text, key, separator string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// memoryGiB reads the size of the memory, 0 where it is not told.
func memoryGiB(meminfo string) float64 {
	const kibiPerGibi = 1 << 20
	kib, _, _ := strings.Cut(value(meminfo, "MemTotal", ":"), " ")
	n, err := strconv.ParseFloat(kib, 64)
	if err != nil {
		return 0
	}
	return n / kibiPerGibi
}

// loadAverage is that of the last minute.
func loadAverage() (float64, error) {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, fmt.Errorf("reading the load average: %w", err)
	}
	first, _, _ := strings.Cut(string(data), " ")
	return strconv.ParseFloat(first, 64)
}

// cpuTimes is how long the CPUs were at work and not, all together, in ticks.
type cpuTimes struct{ busy, idle uint64 }

func readCPUTimes() (cpuTimes, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}, fmt.Errorf("reading the CPU times: %w", err)
	}
	return parseCPUTimes(string(data))
}

// parseCPUTimes reads the first line of /proc/stat, by proc(5): user, nice, system, idle, iowait, irq,
// softirq, steal, and what is in user and nice already.
func parseCPUTimes(stat string) (cpuTimes, error) {
	const idle, iowait, counted = 3, 4, 8
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) <= counted || fields[0] != "cpu" {
		return cpuTimes{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var t cpuTimes
	for i, field := range fields[1 : counted+1] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return cpuTimes{}, fmt.Errorf("/proc/stat begins with %q: %w", line, err)
		}
		if i == idle || i == iowait {
			t.idle += n
		} else {
			t.busy += n
		}
	}
	return t, nil
}

// busySince is the share of CPU time that was used between two moments.
func (t cpuTimes) busySince(before cpuTimes) float64 {
	busy, idle := t.busy-before.busy, t.idle-before.idle
	if busy+idle == 0 {
		return 0
	}
	return float64(busy) / float64(busy+idle)
}
