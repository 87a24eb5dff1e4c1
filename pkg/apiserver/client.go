package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxAnswer is far above what is asked here.
const maxAnswer = 4 << 20

// Client asks an API server what we want to know ourselves.
type Client struct {
	http   *http.Client
	server string
	token  string
}

// Client is one of the reader.
func (a Access) Client() *Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA)
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return &Client{&http.Client{Transport: t, Timeout: 10 * time.Second}, a.URL(), a.Token}
}

// Get returns what a path is answered with; another code than 200 is an error.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, notReadyOf(string(body)))
	}
	return body, err
}

// notReadyOf are the checks that fail, of what /readyz says.
func notReadyOf(body string) string {
	var failing []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			failing = append(failing, strings.TrimSpace(strings.TrimPrefix(line, "[-]")))
		}
	}
	if len(failing) == 0 {
		return strings.TrimSpace(body)
	}
	return strings.Join(failing, ", ")
}
