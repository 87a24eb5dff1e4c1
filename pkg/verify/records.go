package verify

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

// This file reads what an etcd stores beside the keys of its clients: members, alarms, users. It is information only: an
// entry that cannot be read is no reason to call a snapshot bad.

// Member is an entry of the snapshot's member list.
type Member struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs,omitempty"`
	Learner  bool     `json:"learner,omitempty"`
}

// Alarm was raised when the snapshot was taken, and comes back with it.
type Alarm struct {
	// Type is NOSPACE or CORRUPT.
	Type string `json:"type"`
	// MemberID is whose it is, in hex as in Members; 0 where etcd could not tell.
	MemberID string `json:"memberID"`
}

// User is one of etcd's own. What proves who one is stays in the snapshot.
type User struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles,omitempty"`
}

var alarmTypes = map[uint64]string{1: "NOSPACE", 2: "CORRUPT"}

// memberEntry takes a member from the bucket of members; a restore replaces them all.
func (c *content) memberEntry(id string, value []byte) {
	var m struct {
		Name      string   `json:"name"`
		PeerURLs  []string `json:"peerURLs"`
		IsLearner bool     `json:"isLearner"`
	}
	if err := json.Unmarshal(value, &m); err != nil {
		c.undecoded("member %q cannot be decoded: %v", id, err)
		return
	}
	if len(c.report.Members) >= maxRecords {
		return
	}
	c.report.Members = append(c.report.Members, Member{ID: id, Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.IsLearner})
}

// alarmEntry decodes an etcdserverpb.AlarmMember{1: member id, 2: type}, which is the key.
func (c *content) alarmEntry(key []byte) {
	var id, kind uint64
	err := mvcc.EachField(key, func(n protowire.Number, _ []byte, varint uint64) error {
		switch n {
		case 1:
			id = varint
		case 2:
			kind = varint
		}
		return nil
	})
	name, known := alarmTypes[kind]
	switch {
	case err != nil:
		c.undecoded("alarm %x cannot be decoded: %v", key, err)
		return
	case kind == 0, len(c.report.Alarms) >= maxRecords: // none
		return
	case !known:
		name = fmt.Sprint(kind)
	}
	c.report.Alarms = append(c.report.Alarms, Alarm{Type: name, MemberID: fmt.Sprintf("%x", id)})
}

// userEntry decodes an authpb.User{1: name, 2: password, 3: roles}.
func (c *content) userEntry(name string, value []byte) {
	u := User{Name: name}
	err := mvcc.EachField(value, func(n protowire.Number, bytes []byte, _ uint64) error {
		if n == 3 {
			u.Roles = append(u.Roles, string(bytes))
		}
		return nil
	})
	switch {
	case err != nil:
		c.undecoded("user %q cannot be decoded: %v", name, err)
	case len(c.report.AuthUsers) < maxRecords:
		c.report.AuthUsers = append(c.report.AuthUsers, u)
	}
}

// maxRecords bounds what is kept of members, alarms, users and records that cannot be read. A cluster has a few; a file can hold anything.
const maxRecords = 1024

func (c *content) undecoded(format string, args ...any) {
	if len(c.report.Notes) < maxRecords {
		c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
	}
}

// tellAlarms notes what is wrong with the data itself: NOSPACE is not.
func (r *Report) tellAlarms() {
	if slices.ContainsFunc(r.Alarms, func(a Alarm) bool { return a.Type == "CORRUPT" }) {
		r.Notes = append(r.Notes, "etcd had found that its members' data differs when the snapshot was taken (alarm CORRUPT)")
	}
}

// MemberName is how a member is called whose id the snapshot tells.
func (r *Report) MemberName(id string) string {
	for _, m := range r.Members {
		if m.ID == id && m.Name != "" {
			return m.Name
		}
	}
	return id
}
