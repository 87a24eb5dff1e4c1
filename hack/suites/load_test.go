package main

import (
	"syscall"
	"testing"
	"time"
)

// TestLoad looks at the processor time that is used: of a busy machine the loops get a share, too.
func TestLoad(t *testing.T) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano())
	}
	before := used()
	stop := load(2)
	for deadline := time.Now().Add(20 * time.Second); used()-before < 100*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is busy")
		}
	}
	stop() // returns
}
