package reach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// Hot exchanges the member's data under its etcd, as datadir.Hot does; the request's Place is set here. All of it is
// one conversation. Closing orders calls it off, and etcd runs on.
func (s *Stage) Hot(ctx context.Context, r datadir.HotRequest, orders <-chan datadir.Order, tell func(datadir.HotState)) (*datadir.Switched, error) {
	r.Place = s.place
	done, err := Hot(ctx, s.link.talk(), r, orders, tell)
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", s.link.member.Name, err)
	}
	return done, nil
}

// Hot is that conversation with any agent.
func Hot(ctx context.Context, talk podexec.Talk, r datadir.HotRequest, orders <-chan datadir.Order, tell func(datadir.HotState)) (*datadir.Switched, error) {
	lines, to := io.Pipe()
	defer lines.Close()
	over, end := context.WithCancel(ctx)
	defer end()
	go func() {
		defer to.Close()
		for {
			select {
			case o, ok := <-orders:
				if !ok {
					return
				}
				if _, err := fmt.Fprintln(to, o); err != nil {
					return
				}
			case <-over.Done():
				return
			}
		}
	}()
	reply, err := talk.Call(ctx, podexec.Request{Name: agentapi.RequestHot, Body: r}, podexec.CallOptions{
		Upload: lines, UploadOver: func() { _ = lines.CloseWithError(errOver) },
		Progress: func(raw json.RawMessage) {
			var st datadir.HotState
			if json.Unmarshal(raw, &st) == nil {
				tell(st)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	done := &datadir.Switched{}
	if err := json.Unmarshal(reply.Extra, done); err != nil {
		return nil, fmt.Errorf("read the agent's reply: %w", err)
	}
	return done, nil
}

var errOver = errors.New("the conversation is over")

// HotCheck tells whether Hot could begin.
func (s *Stage) HotCheck(ctx context.Context) (*datadir.HotState, error) {
	return ask[datadir.HotState](ctx, s, agentapi.RequestHotCheck, s.place, nil)
}

// Thaw has the member's etcd run on, if an agent froze it that was ended since.
func (s *Stage) Thaw(ctx context.Context) (*datadir.Thawed, error) {
	return ask[datadir.Thawed](ctx, s, agentapi.RequestThaw, s.place, nil)
}
