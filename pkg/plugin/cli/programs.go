package cli

import "os/exec"

// HasPrograms tells whether all of them are on the PATH.
func HasPrograms(names ...string) bool {
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			return false
		}
	}
	return true
}
