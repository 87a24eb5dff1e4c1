package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// watchOpens is how long a watch may take to begin.
const watchOpens = 10 * time.Second

var (
	errSilence    = errors.New("nothing was written")
	errWatchOpens = fmt.Errorf("it has not begun after %s", watchOpens)
)

// Puts watches all keys for a time, and returns the first that was written and
// its revision; an empty key when none was. Deletions do not count: leases expire
// also when nobody writes.
func (c *Conn) Puts(ctx context.Context, during time.Duration) (key string, revision int64, err error) {
	ctx, end := context.WithCancelCause(c.auth(ctx))
	defer end(nil)
	timer := time.AfterFunc(watchOpens, func() { end(errWatchOpens) })
	defer func() { timer.Stop() }()
	stream, err := pb.NewWatchClient(c.grpc).Watch(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("watch %s: %w", c.endpoint, c.plain(err))
	}
	all := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: all}}); err != nil {
		return "", 0, fmt.Errorf("watch %s: %w", c.endpoint, c.plain(err))
	}
	for {
		r, err := stream.Recv()
		cause := context.Cause(ctx)
		switch {
		case err != nil && errors.Is(cause, errSilence):
			return "", 0, nil
		case err != nil && errors.Is(cause, errWatchOpens):
			return "", 0, fmt.Errorf("watch %s: %w", c.endpoint, errWatchOpens)
		case err != nil:
			return "", 0, fmt.Errorf("watch %s: %w", c.endpoint, c.plain(err))
		case r.Canceled:
			return "", 0, fmt.Errorf("watch %s: %s", c.endpoint, r.CancelReason)
		case r.Created: // the time counts from here
			timer.Stop()
			timer = time.AfterFunc(during, func() { end(errSilence) })
		}
		for _, e := range r.Events {
			return string(e.Kv.Key), e.Kv.ModRevision, nil
		}
	}
}

// Value reads one key through a serializable read; nil when it is not there.
func (c *Conn) Value(ctx context.Context, key string) ([]byte, error) {
	r, err := c.kv.Range(c.auth(ctx), &pb.RangeRequest{Key: []byte(key), Serializable: true})
	if err != nil {
		return nil, fmt.Errorf("read %s at %s: %w", key, c.endpoint, c.plain(err))
	}
	if len(r.Kvs) == 0 {
		return nil, nil
	}
	return r.Kvs[0].Value, nil
}

// FirstKey returns the first key that is not below from, through a serializable read; "" when there is none.
func (c *Conn) FirstKey(ctx context.Context, from string) (string, error) {
	r, err := c.kv.Range(c.auth(ctx), &pb.RangeRequest{Key: []byte(from), RangeEnd: []byte{0}, Limit: 1, KeysOnly: true, Serializable: true})
	if err != nil {
		return "", fmt.Errorf("read keys from %s at %s: %w", from, c.endpoint, c.plain(err))
	}
	if len(r.Kvs) == 0 {
		return "", nil
	}
	return string(r.Kvs[0].Key), nil
}

// DisarmAlarm takes one alarm back.
func (c *Conn) DisarmAlarm(ctx context.Context, a Alarm) error {
	kind, ok := pb.AlarmType_value[a.Type]
	if !ok {
		return fmt.Errorf("disarm alarm at %s: %q is not a kind of alarm", c.endpoint, a.Type)
	}
	_, err := c.maint.Alarm(c.auth(ctx), &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: uint64(a.MemberID), Alarm: pb.AlarmType(kind)})
	if err != nil {
		return fmt.Errorf("disarm alarm at %s: %w", c.endpoint, c.plain(err))
	}
	return nil
}

// Compact drops all revisions below rev, and waits until they are gone. That it was done before is no error.
func (c *Conn) Compact(ctx context.Context, rev int64) error {
	_, err := c.kv.Compact(c.auth(ctx), &pb.CompactionRequest{Revision: rev, Physical: true})
	if err != nil && status.Code(err) != codes.OutOfRange {
		return fmt.Errorf("compact %s: %w", c.endpoint, c.plain(err))
	}
	return nil
}

// Defragment gives free pages back to the disk. The member answers nothing meanwhile.
func (c *Conn) Defragment(ctx context.Context) error {
	if _, err := c.maint.Defragment(c.auth(ctx), &pb.DefragmentRequest{}); err != nil {
		return fmt.Errorf("defragment %s: %w", c.endpoint, c.plain(err))
	}
	return nil
}
