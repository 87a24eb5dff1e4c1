//go:build !unix

package child

// Watcher does nothing here.
type Watcher struct{}

// RemoveAfterUs does nothing here: folders stay when we are killed.
func RemoveAfterUs(...string) *Watcher { return nil }

// Stop does nothing here.
func (*Watcher) Stop() {}
