package agent

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
)

// TestReadOrders: what an agent does when its orders end depends on whether its client has called it off, and on whether it was told to follow.
func TestReadOrders(t *testing.T) {
	for name, c := range map[string]struct {
		said   string
		end    error // of the upload; nil leaves it open, and the client's silence is noticed
		silent bool
		want   []datadir.Order
	}{
		"called off":               {said: "freeze\n", end: io.EOF, want: []datadir.Order{"freeze"}},
		"cut":                      {said: "freeze\n", end: errors.New("cut"), want: []datadir.Order{"freeze"}},
		"told to follow, then off": {said: "follow\n", end: io.EOF},
		"told to follow, then cut": {said: "follow\n", end: errors.New("cut"), want: []datadir.Order{"freeze", "go"}},
		"told to follow, silent":   {said: "follow\n", silent: true, want: []datadir.Order{"freeze", "go"}},
		"silent":                   {silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, gone := context.WithCancel(t.Context())
				over, stop := context.WithCancel(t.Context())
				r, w := io.Pipe()
				orders := make(chan datadir.Order)
				told := 0
				go readOrders(client, over, r, orders, func() { told++ })
				go func() {
					_, _ = io.WriteString(w, c.said)
					switch {
					case c.silent:
						time.Sleep(30 * time.Second)
						gone()
					default:
						_ = w.CloseWithError(c.end)
					}
				}()
				var got []datadir.Order
				for o := range orders {
					got = append(got, o)
				}
				if len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] || len(got) > 1 && got[1] != c.want[1] {
					t.Errorf("%q", got)
				}
				gone()
				stop()
				_ = w.Close()
			})
		})
	}
}
