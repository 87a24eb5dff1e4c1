package podexec

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	streamspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

// executor chooses as kubectl does: WebSocket, and SPDY only where the upgrade to WebSocket was refused, because
// anything later would run the command twice.
type executor struct {
	webSocket remotecommand.Executor // nil: not wanted
	spdy      remotecommand.Executor
}

func (c *Client) executor(t Target, args []string, options remotecommand.StreamOptions) (*executor, error) {
	u := c.execURL(t, args, options)
	transport, upgrader, err := c.spdyTransport()
	if err != nil {
		return nil, err
	}
	e := &executor{}
	if e.spdy, err = remotecommand.NewSPDYExecutorForTransports(transport, upgrader, http.MethodPost, u); err != nil {
		return nil, err
	}
	if c.webSocket {
		if e.webSocket, err = remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, u.String()); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *executor) stream(ctx context.Context, options remotecommand.StreamOptions) error {
	if e.webSocket == nil {
		return e.spdy.StreamWithContext(ctx, options)
	}
	refused := e.webSocket.StreamWithContext(ctx, options)
	if !httpstream.IsUpgradeFailure(refused) && !httpstream.IsHTTPSProxyError(refused) {
		return refused
	}
	// Also when it was forbidden: older API servers ask for "get" here and for "create" there.
	return withStatus(e.spdy.StreamWithContext(ctx, options), refused)
}

// withStatus gives the API's refusal of the SPDY attempt, which client-go keeps only as text, the type that the refusal
// of the WebSocket attempt has, where both say the same.
func withStatus(err, refused error) error {
	var upgrade *httpstream.UpgradeFailureError // does not unwrap
	var status apierrors.APIStatus
	if err == nil || !errors.As(refused, &upgrade) || !errors.As(upgrade.Cause, &status) {
		return err
	}
	s := status.Status()
	sameReason := strings.Contains(err.Error(), s.Message) ||
		apierrors.IsForbidden(upgrade.Cause) && strings.Contains(err.Error(), "forbidden")
	if !sameReason {
		return err
	}
	s.Message = strings.TrimPrefix(err.Error(), "unable to upgrade connection: ")
	return &apierrors.StatusError{ErrStatus: s}
}

// spdyTransport is client-go's without its pings, which cut slow transfers.
func (c *Client) spdyTransport() (http.RoundTripper, spdy.Upgrader, error) {
	tlsConfig, err := restclient.TLSConfigFor(c.config)
	if err != nil {
		return nil, nil, err
	}
	roundTripper, err := streamspdy.NewRoundTripperWithConfig(streamspdy.RoundTripperConfig{
		TLS:     tlsConfig,
		Proxier: c.config.Proxy, // nil: from the environment
	})
	if err != nil {
		return nil, nil, err
	}
	wrapper, err := restclient.HTTPWrappersForConfig(c.config, roundTripper)
	if err != nil {
		return nil, nil, err
	}
	return wrapper, spdy.NewUpgraderForStreaming(roundTripper), nil
}

// execURL is written by hand because the typed way links every API type there is into the binary.
func (c *Client) execURL(t Target, args []string, options remotecommand.StreamOptions) *url.URL {
	query := url.Values{"command": args}
	if t.Container != "" {
		query.Set("container", t.Container)
	}
	for name, on := range map[string]bool{"stdin": options.Stdin != nil, "stdout": options.Stdout != nil, "stderr": options.Stderr != nil} {
		if on {
			query.Set(name, "true")
		}
	}
	u := *c.base
	u.Path = path.Join(u.Path, "/api/v1/namespaces", t.Namespace, "pods", t.Pod, "exec")
	u.RawQuery = query.Encode()
	return &u
}
