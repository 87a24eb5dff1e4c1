//go:build !unix

package child

// Remover does nothing here.
type Remover struct{}

// RemoveAfterUs does nothing here: folders stay when we are killed.
func RemoveAfterUs(...string) *Remover { return nil }

// Stop does nothing here.
func (*Remover) Stop() {}
