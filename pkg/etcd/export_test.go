package etcd

import "time"

// WithPingTimeout shortens how long a server may be silent.
func WithPingTimeout(c Config, d time.Duration) Config {
	c.pingTimeout = d
	return c
}
