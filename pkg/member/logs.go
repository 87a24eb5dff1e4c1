package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const (
	// LookEvery is how often logs are looked at for what keeps a member from catching up.
	LookEvery = 5 * time.Second
	// warnAfter is when that is told, and not only with the time-out: a member that starts is refused for a moment.
	warnAfter = 20 * time.Second
	// logReasons is how many different reasons are told of one log: the newest.
	logReasons = 2
)

// logLine is what of etcd's log is looked at; it has been JSON since etcd 3.4.
type logLine struct {
	Level  string `json:"level"`
	Msg    string `json:"msg"`
	Error  string `json:"error"`
	Remote string `json:"remote-addr"`
	// Which member is meant.
	To     string `json:"to"`
	Peer   string `json:"remote-peer-id"`
	PeerID string `json:"peer-id"`
}

// of tells whether a line of another member's log is about that member, as far as it says about whom it is.
func (l logLine) of(id string) bool {
	about := []string{l.To, l.Peer, l.PeerID}
	return id == "" || slices.Contains(about, id) || strings.Join(about, "") == ""
}

// trouble is what keeps members apart. That somebody only opens and closes a connection, as probes do, is none.
func (l logLine) trouble() bool {
	if l.Error == "EOF" || strings.HasSuffix(l.Error, "connection reset by peer") {
		return false
	}
	for _, begin := range []string{"rejected connection", "prober detected unhealthy status", "failed to dial", "failed to send database snapshot",
		"peer became inactive", "request cluster ID mismatch", "failed to process Raft message", "request sent was ignored"} {
		if strings.HasPrefix(l.Msg, begin) {
			return true
		}
	}
	return l.Level == "fatal" || l.Level == "panic"
}

func (l logLine) String() string {
	s := l.Msg
	if l.Remote != "" {
		s += " from " + l.Remote
	}
	if l.Error != "" {
		s += ": " + l.Error
	}
	return s
}

// readLog finds what a log says of a member, or of all without an id, the newest last, and whether a snapshot has gone to it, or come.
func readLog(log, id string) (reasons []logLine, snapshot bool) {
	for text := range strings.Lines(log) {
		var l logLine
		if json.Unmarshal([]byte(text), &l) != nil || !l.of(id) {
			continue
		}
		switch {
		case strings.HasPrefix(l.Msg, "sent database snapshot"), strings.HasPrefix(l.Msg, "received and saved database snapshot"):
			snapshot = true
		case l.trouble():
			reasons = append(slices.DeleteFunc(reasons, func(o logLine) bool { return o.Msg == l.Msg }), l)
		}
	}
	return reasons[max(0, len(reasons)-logReasons):], snapshot
}

// catchUp looks, while a member is waited for, at what the leader's and its own log say of it.
type catchUp struct {
	r           *Replacement
	began, last time.Time
	seen        string
	certificate bool // one that does not fit is why
	told        bool
}

// look returns what the logs say, as the end of a sentence; "" before it has been looked for the first time.
func (b *catchUp) look(ctx context.Context) string {
	now := b.r.Deps.Now()
	if b.began.IsZero() {
		b.began, b.last = now, now
	}
	if now.Sub(b.last) < LookEvery {
		return b.seen
	}
	b.last = now
	said, reasons := b.ask(ctx)
	if ctx.Err() != nil {
		return b.seen
	}
	b.seen = "; " + strings.Join(said, "; ")
	b.certificate = slices.ContainsFunc(reasons, misfit)
	if len(reasons) > 0 && !b.told && now.Sub(b.began) > warnAfter {
		b.told = true
		b.r.Deps.Report.Warn("member %s does not catch up: %s", b.r.replaced().Name, strings.Join(said, "; "))
	}
	return b.seen
}

// misfit tells that a certificate is refused: by who was called, or by who calls.
func misfit(l logLine) bool {
	return strings.Contains(l.Error, "does not match any of") || strings.Contains(l.Error, "x509: ") || strings.Contains(l.Error, "tls: bad certificate")
}

// ask reads both logs since the member was started on its new data.
func (b *catchUp) ask(ctx context.Context) (said []string, reasons []logLine) {
	r := b.r
	s, err := r.surveyOthers(ctx)
	if err != nil {
		return []string{err.Error()}, nil
	}
	leader, err := r.best(s)
	if err != nil {
		return []string{err.Error()}, nil
	}
	var since time.Time
	if awake := r.StepOf(site.KindRestartPod); awake != nil && awake.Started != nil {
		since = *awake.Started
	}
	log := func(m controlplane.Member, who, id string) (snapshot bool) {
		text, err := r.Cluster.Log(ctx, r.Shared.Namespace, m.PodName, m.Container, since)
		if err != nil {
			said = append(said, fmt.Sprintf("the log of member %s%s cannot be read: %v", m.Name, who, err))
			return false
		}
		found, snapshot := readLog(text, id)
		for i, l := range found {
			if i == 0 {
				said = append(said, fmt.Sprintf("member %s%s says: %s", m.Name, who, l))
			} else {
				said = append(said, "and: "+l.String())
			}
		}
		reasons = append(reasons, found...)
		return snapshot
	}
	snapshot := log(*leader.Source, ", which was asked,", r.Shared.Replace.ID)
	if i := slices.IndexFunc(r.Plane.Members, func(m controlplane.Member) bool { return m.Name == r.replaced().Name }); i >= 0 {
		snapshot = log(r.Plane.Members[i], " itself", "") || snapshot
	}
	if snapshot {
		return append(said, "a snapshot was sent to it"), reasons
	}
	return append(said, "no snapshot was sent to it"), reasons
}

// explain adds to a time-out what to mend, where the logs know it. How to go on then is said with it, see stopped.
func (b *catchUp) explain(err error) error {
	var refused *site.Refusal
	if !b.certificate || errors.As(err, &refused) {
		return err
	}
	return site.Refuse(fmt.Sprintf("the certificate that member %s shows to the others has to name the address or the name that it has now, and be of their CA: renew it", b.r.replaced().Name), "%v", err)
}
