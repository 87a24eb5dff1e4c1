package rehearse

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// compare asks etcd for what the snapshot holds. All answers are of the snapshot's revision: once etcd runs, keys with
// a lease expire.
func compare(ctx context.Context, c *clientv3.Client, endpoint string, report *verify.Report, r *Result) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := c.Status(ctx, endpoint)
	if err != nil {
		return fmt.Errorf("%w: status: %w", errNoAnswer, err)
	}
	r.Revision, r.DBSize = status.Header.Revision, status.DbSize
	// An empty etcd is at revision 1.
	want := max(report.Revision, 1)
	if r.Revision < want {
		return &MismatchError{Field: "revision", Snapshot: want, Etcd: r.Revision}
	}
	// From the first possible key to the end. The empty key, a mark that a restore with a bumped revision leaves behind,
	// is not part of it, and not of the report's number either.
	all, err := c.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithRev(want))
	if err != nil {
		return fmt.Errorf("%w: count keys: %w", errNoAnswer, err)
	}
	if r.LiveKeys = all.Count; r.LiveKeys != report.LiveKeys {
		return &MismatchError{Field: "liveKeys", Snapshot: report.LiveKeys, Etcd: r.LiveKeys}
	}
	hash, err := c.HashKV(ctx, endpoint, want)
	if err != nil {
		return fmt.Errorf("%w: hash: %w", errNoAnswer, err)
	}
	r.HashKV, r.CompactRevision = hash.Hash, max(hash.CompactRevision, 0)
	if report.HashKV != 0 {
		r.HashKVCompared = true
		if r.HashKV != report.HashKV {
			return &MismatchError{Field: "hashKV", Snapshot: int64(report.HashKV), Etcd: int64(r.HashKV)}
		}
	}
	alarms, err := c.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("%w: alarms: %w", errNoAnswer, err)
	}
	for _, a := range alarms.Alarms {
		r.Alarms = append(r.Alarms, a.Alarm.String())
	}
	return nil
}
