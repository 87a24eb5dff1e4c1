package main

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// load keeps so many threads busy until it is stopped: the tests, which are other processes, get what these leave of the
// processors, as on a machine that others use, too.
func load(loops int) (stop func()) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + loops) // and this one goes on reading what they say
	var ended atomic.Bool
	var all sync.WaitGroup
	for range loops {
		all.Go(func() {
			for !ended.Load() {
			}
		})
	}
	return func() { ended.Store(true); all.Wait() }
}
