package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

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
	if r.AloneMillis > 0 { // from the exchange on the member's fate is this process's to decide
		defer s.Outlive()()
	}
	orders := make(chan datadir.Order)
	hot, over := context.WithCancel(ctx)
	if r.AloneMillis > 0 { // orders tell when the client is gone
		hot, over = context.WithCancel(context.WithoutCancel(ctx))
	}
	defer over()
	go readOrders(ctx, hot, upload, orders, func() { s.Progress(datadir.HotState{Point: datadir.Following}) })
	done, err := datadir.Hot(hot, r, orders, func(st datadir.HotState) { s.Progress(st) })
	if err != nil {
		return refusal(err)
	}
	if r.AloneMillis == 0 {
		return s.End(done)
	}
	type decision struct {
		fate *datadir.Fate
		err  error
	}
	decided := make(chan decision, 1)
	watch, end := context.WithCancel(ctx) // until the client is gone, or the member's fate is known
	defer end()
	go func() {
		fate, err := datadir.Alone(context.WithoutCancel(ctx), r, done.Other)
		decided <- decision{fate, err}
		end()
	}()
	done.Serving = serves(watch, r.Peers)
	if done.Serving {
		return errors.Join(s.End(done), (<-decided).err)
	}
	d := <-decided                               // or nobody hears it any more
	done.Serving = d.fate != nil && d.fate.Stays // who has voted has served its peers, however soon that was
	return errors.Join(s.End(done), d.err)
}

// followAfter is how long an agent that follows waits when its client is gone: the member before it has come up by then, and is not kept waiting
// by this one's silence.
const followAfter = 15 * time.Second

// readOrders hands them on, until over is done. At their end it closes orders: a client that is gone orders nothing any more. But who has been told to
// follow goes on by itself where its client has not called it off.
func readOrders(client, over context.Context, upload io.Reader, orders chan<- datadir.Order, following func()) {
	defer close(orders)
	said, ended := make(chan datadir.Order), make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(upload)
		for lines.Scan() {
			if !give(over, said, datadir.Order(lines.Text())) {
				return
			}
		}
		ended <- lines.Err() // nil: the client has said that this is all
	}()
	follows := false
	for {
		select {
		case o := <-said:
			if o == datadir.OrderFollow {
				follows = true
				following()
			} else if !give(over, orders, o) {
				return
			}
			continue
		case err := <-ended:
			if err == nil {
				return
			}
		case <-client.Done():
		case <-over.Done():
			return
		}
		break
	}
	if !follows {
		return
	}
	select {
	case <-time.After(followAfter):
	case <-over.Done():
		return
	}
	if give(over, orders, datadir.OrderFreeze) {
		give(over, orders, datadir.OrderGo)
	}
}

func give(over context.Context, to chan<- datadir.Order, o datadir.Order) bool {
	select {
	case to <- o:
		return true
	case <-over.Done():
		return false
	}
}

func checkHot(ctx context.Context, p datadir.Place, _ func(string)) (*datadir.HotState, error) {
	return datadir.HotCheck(ctx, p)
}

func note(ctx context.Context, r datadir.NoteRequest, _ func(string)) (*datadir.Noted, error) {
	return datadir.Note(ctx, r)
}

func thawData(ctx context.Context, p datadir.Place, _ func(string)) (*datadir.Thawed, error) {
	return datadir.Thaw(ctx, p)
}
