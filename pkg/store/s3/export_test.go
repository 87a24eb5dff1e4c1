package s3

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) Do(r *http.Request) (*http.Response, error) { return f(r) }

// transport looks at what would be sent.
func (s *Store) transport(f roundTripper) {
	o := s.client.Options()
	o.HTTPClient = f
	s.client = s3.New(o)
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
