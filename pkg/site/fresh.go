package site

import (
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	restclient "k8s.io/client-go/rest"
)

// fresh is a configuration whose clients leave a connection on which a request has failed. Behind a load balancer the next one may lead to another
// API server: one that has lost its etcd lives on for a while, answers nobody, and over HTTP/2 it would be asked again and again.
func fresh(cfg *restclient.Config) *restclient.Config {
	cfg = restclient.CopyConfig(cfg)
	cfg.NextProtos = []string{"http/1.1"} // a request that is given up takes its connection with it
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return leaving{next} })
	return cfg
}

type leaving struct{ next http.RoundTripper }

func (l leaving) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		utilnet.CloseIdleConnectionsFor(l.next)
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the transport below.
func (l leaving) WrappedRoundTripper() http.RoundTripper { return l.next }
