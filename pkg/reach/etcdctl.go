package reach

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// errNoTool says that the image has no etcdctl (Gardener's, for one).
var errNoTool = errors.New("no etcdctl in the member's image")

// commandTimeout is etcdctl's own; the exec around it gets a little more.
const commandTimeout = 10 * time.Second

// hashTimeout is for HashKV, which reads the whole database.
const hashTimeout = 5 * time.Minute

// etcdctl's JSON is the API's own messages. Ids are numbers beyond what a
// float64 holds, so they are decoded into uint64 fields.
type (
	ctlHeader struct {
		ClusterID uint64 `json:"cluster_id"`
		MemberID  uint64 `json:"member_id"`
		Revision  int64  `json:"revision"`
	}
	ctlStatus []struct {
		Endpoint string
		Status   struct {
			Header           ctlHeader `json:"header"`
			Version          string    `json:"version"`
			StorageVersion   string    `json:"storageVersion"`
			DBSize           int64     `json:"dbSize"`
			DBSizeInUse      int64     `json:"dbSizeInUse"`
			DBSizeQuota      int64     `json:"dbSizeQuota"`
			Leader           uint64    `json:"leader"`
			IsLearner        bool      `json:"isLearner"`
			RaftTerm         uint64    `json:"raftTerm"`
			RaftIndex        uint64    `json:"raftIndex"`
			RaftAppliedIndex uint64    `json:"raftAppliedIndex"`
			Errors           []string  `json:"errors"`
		}
	}
	ctlHealth []struct {
		Endpoint string `json:"endpoint"`
		Health   bool   `json:"health"`
		Took     string `json:"took"`
		Error    string `json:"error"`
	}
	ctlMembers struct {
		Members []struct {
			ID         uint64   `json:"ID"`
			Name       string   `json:"name"`
			PeerURLs   []string `json:"peerURLs"`
			ClientURLs []string `json:"clientURLs"`
			IsLearner  bool     `json:"isLearner"`
		} `json:"members"`
	}
	ctlAlarms struct {
		Alarms []struct {
			MemberID uint64 `json:"memberID"`
			Alarm    int    `json:"alarm"`
		} `json:"alarms"`
	}
	ctlHash []struct {
		Endpoint string
		HashKV   struct {
			Header          ctlHeader `json:"header"`
			Hash            uint32    `json:"hash"`
			CompactRevision int64     `json:"compact_revision"`
			HashRevision    int64     `json:"hash_revision"`
		}
	}
)

// alarmNames are etcd's AlarmType values.
var alarmNames = map[int]string{1: "NOSPACE", 2: "CORRUPT"}

func (l *execLink) Query(ctx context.Context, q Question) (*agentapi.QueryReply, error) {
	r := &agentapi.QueryReply{}
	for _, ask := range []struct {
		wanted bool
		do     func(context.Context, *agentapi.QueryReply) error
	}{{q.Status, l.status}, {q.Members, l.members}, {q.Alarms, l.alarms}, {q.HashAt != nil, func(ctx context.Context, r *agentapi.QueryReply) error {
		return l.hash(ctx, *q.HashAt, r)
	}}} {
		if !ask.wanted {
			continue
		}
		if err := ask.do(ctx, r); err != nil {
			return nil, fmt.Errorf("ask member %s: %w", l.member.Name, err)
		}
	}
	return r, nil
}

func (l *execLink) status(ctx context.Context, r *agentapi.QueryReply) error {
	var out ctlStatus
	if err := l.etcdctlJSON(ctx, &out, "endpoint", "status"); err != nil {
		return err
	}
	i, err := l.mine(len(out), func(i int) string { return out[i].Endpoint })
	if err != nil {
		return err
	}
	s := out[i].Status
	r.Status = &etcd.Status{
		ClusterID: etcd.ID(s.Header.ClusterID), MemberID: etcd.ID(s.Header.MemberID), Version: s.Version, StorageVersion: s.StorageVersion,
		DBSize: s.DBSize, DBSizeInUse: s.DBSizeInUse, DBSizeQuota: s.DBSizeQuota, Leader: etcd.ID(s.Leader), IsLearner: s.IsLearner,
		Revision: s.Header.Revision, RaftTerm: s.RaftTerm, RaftIndex: s.RaftIndex, RaftAppliedIndex: s.RaftAppliedIndex, Errors: s.Errors,
	}
	if s.IsLearner {
		return nil // a learner serves no linearizable reads
	}
	return l.health(ctx, r.Status)
}

// alarmed is how etcdctl's health begins when the read was served and an alarm
// of any member is active; alarms are asked for on their own.
const alarmed = "Active Alarm(s)"

func (l *execLink) health(ctx context.Context, s *etcd.Status) error {
	var h ctlHealth
	err := l.etcdctlJSON(ctx, &h, "endpoint", "health")
	i, merr := l.mine(len(h), func(i int) string { return h[i].Endpoint })
	switch {
	case merr == nil && (h[i].Health || strings.HasPrefix(h[i].Error, alarmed)):
		s.Latency, _ = time.ParseDuration(h[i].Took)
	case merr == nil:
		s.Errors = append(s.Errors, "linearizable read: "+h[i].Error)
	case err != nil:
		s.Errors = append(s.Errors, "linearizable read: "+err.Error())
	default:
		return merr
	}
	return nil
}

// mine finds this member among the answers. There is one, except where the
// container's own environment names the endpoints, mostly those of all members.
func (l *execLink) mine(n int, endpoint func(int) string) (int, error) {
	if !l.leftOut("ETCDCTL_ENDPOINTS") {
		if n != 1 {
			return 0, fmt.Errorf("etcdctl gave %d answers, want 1", n)
		}
		return 0, nil
	}
	own := slices.Concat([]string{l.member.Endpoint, l.member.PodEndpoint}, l.member.AdvertiseClientURLs, l.member.ListenClientURLs)
	for i := range n {
		if slices.Contains(own, endpoint(i)) {
			return i, nil
		}
	}
	return 0, errNoTool // it speaks of other members only
}

func (l *execLink) members(ctx context.Context, r *agentapi.QueryReply) error {
	var out ctlMembers
	if err := l.etcdctlJSON(ctx, &out, "member", "list"); err != nil {
		return err
	}
	for _, m := range out.Members {
		r.Members = append(r.Members, etcd.Member{ID: etcd.ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.IsLearner})
	}
	return nil
}

func (l *execLink) alarms(ctx context.Context, r *agentapi.QueryReply) error {
	var out ctlAlarms
	if err := l.etcdctlJSON(ctx, &out, "alarm", "list"); err != nil {
		return err
	}
	for _, a := range out.Alarms {
		r.Alarms = append(r.Alarms, etcd.Alarm{MemberID: etcd.ID(a.MemberID), Type: alarmNames[a.Alarm]})
	}
	return nil
}

func (l *execLink) hash(ctx context.Context, rev int64, r *agentapi.QueryReply) error {
	var out ctlHash
	err := l.etcdctlJSON(ctx, &out, "endpoint", "hashkv", "--rev", strconv.FormatInt(rev, 10))
	var exit *podexec.ExitError
	if errors.As(err, &exit) && (strings.Contains(err.Error(), "required revision") || strings.Contains(err.Error(), "future revision")) {
		r.NotNow = true
		return nil
	}
	if err != nil {
		return err
	}
	i, err := l.mine(len(out), func(i int) string { return out[i].Endpoint })
	if err != nil {
		return err
	}
	h := out[i].HashKV
	r.Hash = &etcd.HashKV{Hash: h.Hash, Revision: h.HashRevision, CompactRevision: h.CompactRevision}
	if r.Hash.Revision == 0 { // before etcd 3.6 the answer does not say it
		if r.Hash.Revision = rev; rev == 0 {
			r.Hash.Revision = h.Header.Revision
		}
	}
	return nil
}

// etcdctlJSON runs etcdctl in the member's container, with the next of its TLS
// files when the first are not there or not accepted. Where none serves, the
// error is of the first: the others are guesses. What it printed is decoded also
// when it failed: health says so and exits 1.
func (l *execLink) etcdctlJSON(ctx context.Context, into any, args ...string) error {
	for {
		err := l.etcdctlOnce(ctx, into, args)
		if err == nil {
			l.refused = nil
			return nil
		}
		all := clientTLS(l.member)
		used := all[l.tls]
		if !l.tries.Failed(used.CA, used.Cert, used.Key, err) {
			return err
		}
		if l.refused == nil {
			l.refused = err
		}
		next := slices.IndexFunc(all[l.tls+1:], func(f controlplane.TLSFiles) bool { return l.tries.Worth(f.CA, f.Cert, f.Key) })
		if next < 0 {
			return l.refused
		}
		l.tls += 1 + next
		l.opts.log("member %s: its TLS files %s do not serve; trying %s", l.member.Name, named(used), named(all[l.tls]))
	}
}

// named are the files that make the difference.
func named(f controlplane.TLSFiles) string {
	return strings.TrimSuffix("CA "+f.CA+", "+f.Cert, ", ")
}

func (l *execLink) etcdctlOnce(whole context.Context, into any, args []string) error {
	limit := commandTimeout
	if args[1] == "hashkv" {
		limit = hashTimeout
	}
	ctx, cancel := context.WithTimeout(whole, limit+20*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := l.exec(ctx, podexec.Cmd{Args: slices.Concat(l.etcdctlArgs(limit), args, l.asJSON()), Stdout: &out})
	jerr := json.Unmarshal(out.Bytes(), into)
	if name := conflict(err); name != "" && l.clear(name) {
		return l.etcdctlOnce(whole, into, args)
	}
	if err != nil && notFound(err) {
		if l.clearing == byShell { // there is none, and none is needed where nothing is to be cleared
			l.clearing = byLeavingOut
			return l.etcdctlOnce(whole, into, args)
		}
		return errNoTool
	}
	if conflict(err) != "" {
		return errNoTool // it cannot be told what to do: its environment comes from elsewhere
	}
	if err != nil {
		return fmt.Errorf("etcdctl %s: %w", strings.Join(args[:2], " "), plainExit(err))
	}
	if jerr != nil {
		return fmt.Errorf("read output of etcdctl %s: %w", strings.Join(args[:2], " "), jerr)
	}
	return nil
}

// plainExit says in words what went wrong: etcdctl's own words, often no more
// than "context deadline exceeded", with the cause from the JSON log lines
// that it prints before.
func plainExit(err error) error {
	var exit *podexec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	var words []string
	cause := ""
	for line := range strings.Lines(exit.Stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "{") {
			var log struct {
				Error string `json:"error"`
			}
			if json.Unmarshal([]byte(line), &log) == nil && log.Error != "" {
				cause = log.Error
			}
		} else if line != "" {
			words = append(words, strings.TrimPrefix(line, "Error: "))
		}
	}
	if len(words) == 0 {
		return err
	}
	said := strings.Join(words, "; ")
	// gRPC nests its sentences; the last one is the cause.
	if i := strings.LastIndex(cause, "desc = "); i >= 0 {
		cause = strings.TrimPrefix(strings.Trim(cause[i+len("desc = "):], `"`), "transport: ")
	}
	if cause != "" && !strings.Contains(said, cause) {
		said += ": " + cause
	}
	return &podexec.ExitError{Code: exit.Code, Stderr: said}
}
