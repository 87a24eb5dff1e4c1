package agent

import (
	"bufio"
	"context"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
)

// hotExchange holds a conversation in the course of which etcd is frozen: then no other one could be begun through an
// API server that stands on it. Without an order in time, or when the client goes, etcd runs on.
func hotExchange(ctx context.Context, s *Session) error {
	var r datadir.HotRequest
	if err := s.Decode(&r); err != nil {
		return err
	}
	upload, err := s.Upload()
	if err != nil {
		return err
	}
	orders := make(chan datadir.Order)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go readOrders(ctx, upload, orders)
	done, err := datadir.Hot(ctx, r, orders, func(st datadir.HotState) { s.Progress(st) })
	if err != nil {
		return refusal(err)
	}
	return s.End(done)
}

// readOrders closes orders at the end of the upload: a client that is gone orders nothing any more.
func readOrders(ctx context.Context, upload io.Reader, orders chan<- datadir.Order) {
	defer close(orders)
	for lines := bufio.NewScanner(upload); lines.Scan(); {
		select {
		case orders <- datadir.Order(lines.Text()):
		case <-ctx.Done():
			return
		}
	}
}

func checkHot(ctx context.Context, p datadir.Place, _ func(string)) (*datadir.HotState, error) {
	return datadir.HotCheck(ctx, p)
}

func thawData(ctx context.Context, p datadir.Place, _ func(string)) (*datadir.Thawed, error) {
	return datadir.Thaw(ctx, p)
}
