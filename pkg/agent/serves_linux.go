package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"
)

const (
	servesPoll = 100 * time.Millisecond
)

// serves waits until an etcd serves its peers. It listens from its start on, and answers nobody before it has compared its data with theirs:
// only an answer counts, and any does.
func serves(ctx context.Context, peers []string) bool {
	for len(peers) > 0 {
		for _, peer := range peers {
			if answers(ctx, peer) {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(servesPoll):
		}
	}
	return false
}

// answers tells whether a TLS handshake, or a request without TLS, gets an answer; who does not trust us answers, too.
func answers(ctx context.Context, peer string) bool {
	u, err := url.Parse(peer)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if u.Scheme == "https" {
		shown := false // its certificate; that it wants ours is another thing
		_ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error {
			shown = true
			return nil
		}}).HandshakeContext(ctx) // nothing is told or believed
		return shown
	}
	_, err = fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: %s\r\n\r\n", u.Host)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	return err == nil
}
