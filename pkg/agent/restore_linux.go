package agent

import (
	"context"
	"errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
)

// refusals are in order: an error can be several of them, and the first says most.
var refusals = []struct {
	err  error
	code string
}{
	{datadir.ErrNoSpace, frame.CodeNoSpace},
	{datadir.ErrLocked, agentapi.CodeLocked},
	{datadir.ErrTooOld, agentapi.CodeTooOld},
	{rehearse.ErrNoBinary, agentapi.CodeNoTool},
	{datadir.ErrInode, agentapi.CodeInode},
	{datadir.ErrDifferent, agentapi.CodeDifferent},
	{datadir.ErrBusy, agentapi.CodeBusy},
	{datadir.ErrBadSnapshot, agentapi.CodeBadSnapshot},
	{datadir.ErrSeparateLog, agentapi.CodeSeparateLog},
	{datadir.ErrJoined, agentapi.CodeJoined},
	{datadir.ErrNoExchange, agentapi.CodeNoExchange},
	{datadir.ErrHolder, agentapi.CodeHolder},
	{datadir.ErrInvalid, frame.CodeBadRequest},
	{datadir.ErrThawed, agentapi.CodeThawed},
}

// onDataDir makes a handler of what is done to a data directory. A reply that could not be sent is no loss: everything
// can be asked again.
func onDataDir[Request, Reply any](do func(ctx context.Context, r Request, progress func(string)) (Reply, error)) Handler {
	return func(ctx context.Context, s *Session) error {
		var r Request
		if err := s.Decode(&r); err != nil {
			return err
		}
		reply, err := do(ctx, r, func(step string) { s.Progress(step) })
		if err != nil {
			return refusal(err)
		}
		return s.End(reply)
	}
}

// refusal gives an error its code, if it has one.
func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return frame.Errorf(r.code, "%v", err)
		}
	}
	return err
}

func inspectData(ctx context.Context, p datadir.Place, _ func(string)) (*datadir.State, error) {
	return datadir.Inspect(ctx, p)
}

func prepareData(ctx context.Context, r agentapi.PrepareRequest, _ func(string)) (*datadir.Prepared, error) {
	return datadir.Prepare(ctx, r.Place, r.Size)
}

func exchangeData(ctx context.Context, r datadir.ExchangeRequest, _ func(string)) (*datadir.Exchanged, error) {
	return datadir.Exchange(ctx, r)
}

func dropData(ctx context.Context, r datadir.DropRequest, _ func(string)) (*datadir.Discarded, error) {
	return datadir.Drop(ctx, r)
}

func discardData(ctx context.Context, p datadir.Place, _ func(string)) (*datadir.Discarded, error) {
	return datadir.Discard(ctx, p)
}
