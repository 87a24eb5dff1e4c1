package child

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
)

// maxLog is how much of a program's output is kept.
const maxLog = 16 << 10

// klogError begins a line in which a program of Kubernetes says what is wrong.
var klogError = regexp.MustCompile(`^[EF]\d{4} `)

// lastLines keeps the end of what a program prints.
type lastLines struct {
	mu   sync.Mutex
	data []byte
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = append(l.data, p...)
	if extra := len(l.data) - maxLog; extra > 0 {
		l.data = append(l.data[:0], l.data[extra:]...)
	}
	return len(p), nil
}

// last returns the last line that says what went wrong, in plain words where it is etcd's JSON, and otherwise the
// last line.
func (l *lastLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Split(string(bytes.TrimSpace(l.data)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		var entry struct{ Level, Msg, Error string }
		if json.Unmarshal([]byte(lines[i]), &entry) != nil {
			if strings.HasPrefix(lines[i], "Error:") || strings.HasPrefix(lines[i], "panic:") || klogError.MatchString(lines[i]) {
				return lines[i]
			}
			continue
		}
		switch entry.Level {
		case "error", "fatal", "panic":
			return strings.TrimSuffix(entry.Msg+": "+entry.Error, ": ")
		}
	}
	return lines[len(lines)-1]
}
