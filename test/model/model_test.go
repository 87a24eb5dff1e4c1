// Package model is the rule by which a node decides that is left alone after its etcd's data were exchanged: every state that it can lead to is
// visited. It stands for datadir.Hot (freeze, exchange, kill, and its thaw when no order comes), for datadir.Alone (watching and locking below),
// for elected in pkg/datadir/wal_linux.go (marked), and for Switch and Back in pkg/restore/exchange (the client's forward, finish and undo).
package model

import (
	"fmt"
	"slices"
	"strings"
)

// Data is which folder a node's `member` is: the old one, or the restored one. The other lies beside it.
type data uint8

const (
	older data = iota
	newer
)

// process is a node's etcd. It runs on what `member` is.
type process uint8

const (
	down    process = iota // the kubelet will start it, unless its database is locked
	running                //
	frozen                 // by the node's agent
)

// agent is that of the operation on a node.
type agent uint8

const (
	ready    agent = iota // waits for the order to freeze
	holding               // has frozen etcd, and waits for the order to go on
	watching              // has exchanged and killed; waits for its member's fate
	locking               // its deadline is over: etcd is frozen, or its database locked, so that none starts
	looked                // only where a broken rule looks first and exchanges later
	ended                 // has done what it had to, or has crashed
	backing               // has frozen etcd, or locked its database, with those of all other nodes, and waits for the order to go back
)

// node is one member's node.
type node struct {
	data    data
	process process
	agent   agent
	// marked: the log of the new folder has a term of its own: a vote that was given, or what a leader has sent. It is written
	// before anybody is told, and stays.
	marked bool
	// has: that log has the write that clients of the new cluster were told of.
	has bool
}

// client is who gives orders: at most one at a time.
type client uint8

const (
	gone    client = iota
	forward        // begins: freezes, exchanges
	finish         // has seen that a majority is new and has voted, and brings the others there
	back           // has all frozen and has seen that nobody has voted on the new data, and takes all back
	undo           // has seen that a majority serves on the old data, and takes the others back
)

// state is all of it. Nodes are sorted: which is which does not matter.
type state struct {
	nodes  string // one byte for each, see pack
	client client
	// elected: a majority has voted at some time, so that a new cluster can have served. acked: it has told somebody of a write.
	elected, acked bool
	// undone: it is going back, and never forward any more; what was built is discarded in the end.
	undone bool
}

func pack(n node) byte {
	b := byte(n.data) | byte(n.process)<<1 | byte(n.agent)<<3
	if n.marked {
		b |= 1 << 6
	}
	if n.has {
		b |= 1 << 7
	}
	return b
}

func unpack(b byte) node {
	return node{data(b & 1), process(b >> 1 & 3), agent(b >> 3 & 7), b>>6&1 == 1, b>>7 == 1}
}

// rule is how agents and clients decide; the zero value is the right one.
type rule struct {
	ignoreVotes  bool // an agent goes back whatever its member's log says
	withoutLock  bool // it looks at the log while etcd can still start
	votesOnly    bool // only votes count, not what a leader has sent
	rebuild      bool // whoever brings a node to the new data builds these anew instead of exchanging them in again
	undoMinority bool // whoever sees one node on the old data takes the others back
	backAnyway   bool // whoever has all frozen does not look at the votes
	backUnfrozen bool // it looks while etcd runs, and goes back later
}

// explorer visits all states of n nodes under a rule.
type explorer struct {
	rule
	n     int
	seen  map[state]state // to where it came from
	queue []state
}

func (x *explorer) majority() int { return x.n/2 + 1 }

func count(nodes []node, is func(node) bool) (n int) {
	for _, m := range nodes {
		if is(m) {
			n++
		}
	}
	return n
}

func (n node) runs(d data) bool { return n.data == d && n.process == running }

func nodesOf(s state) []node {
	out := make([]node, len(s.nodes))
	for i := range out {
		out[i] = unpack(s.nodes[i])
	}
	return out
}

func canonical(nodes []node, s state) state {
	b := make([]byte, len(nodes))
	for i, n := range nodes {
		b[i] = pack(n)
	}
	slices.Sort(b)
	s.nodes = string(b)
	return s
}

// next are all states that one step leads to. Whatever needs a network may also not happen, which is a partition.
func (x *explorer) next(s state) (out []state) {
	out = append(x.by(s, crash, reboot), x.calm(s)...)
	nodes := nodesOf(s)
	out = append(out, x.by(s, func(n *node) bool { return x.ordered(s.client, n) })...)
	for _, c := range x.clients(s, nodes) {
		to := s
		to.client, to.undone = c, s.undone || c == back || c == undo
		if c == back {
			to = x.hold(nodes, to)
		}
		out = append(out, to)
	}
	return out
}

// hold is the state in which whoever goes back has the agents of all nodes: etcd is frozen where it runs, and starts nowhere.
func (x *explorer) hold(nodes []node, s state) state {
	held := slices.Clone(nodes)
	for i := range held {
		if held[i].agent = backing; held[i].process == running && !x.backUnfrozen {
			held[i].process = frozen
		}
	}
	return canonical(held, s)
}

// calm are the states that nobody's fault and nobody's order leads to.
func (x *explorer) calm(s state) []state {
	nodes := nodesOf(s)
	return x.by(s, start, x.alone, func(n *node) bool { return x.raft(s, nodes, n) })
}

// by are the states after one node has taken one of these steps.
func (x *explorer) by(s state, steps ...func(*node) bool) (out []state) {
	nodes := nodesOf(s)
	for _, step := range steps {
		for i := range nodes {
			changed := slices.Clone(nodes)
			if step(&changed[i]) {
				to := s
				to.elected = s.elected || count(changed, func(n node) bool { return n.marked }) >= x.majority()
				to.acked = s.acked || to.elected && count(changed, func(n node) bool { return n.has }) >= x.majority()
				out = append(out, canonical(changed, to))
			}
		}
	}
	return out
}

// crash: an agent is killed. What it has frozen stays so; what it has locked is free.
func crash(n *node) bool {
	was := n.agent
	n.agent = ended
	return was != ended
}

// reboot: nothing of ours comes back.
func reboot(n *node) bool {
	n.agent, n.process = ended, down
	return true
}

// start is the kubelet's.
func start(n *node) bool {
	can := n.process == down && n.agent != locking && n.agent != backing
	n.process = running
	return can
}

// alone is what an agent does without anybody's word.
func (x *explorer) alone(n *node) bool {
	switch n.agent {
	case ready: // told to follow, its client gone; here whoever is ready may have been
		if !n.runs(older) {
			return false
		}
		n.data, n.process, n.agent = newer, down, watching
	case holding: // no order came: etcd runs on
		n.process, n.agent = running, ended
	case watching: // the deadline
		switch {
		case n.marked && !x.ignoreVotes:
			n.agent = ended
		case x.withoutLock:
			n.agent = looked
		default:
			if n.agent = locking; n.process == running {
				n.process = frozen
			}
		}
	case locking: // nobody votes: what the log says stays so
		switch {
		case !n.marked || x.ignoreVotes:
			n.data, n.process = older, down // it is killed
		case n.process == frozen:
			n.process = running
		}
		n.agent = ended
	case backing: // no order came
		if n.agent = ended; n.process == frozen {
			n.process = running
		}
	case looked:
		n.data, n.process, n.agent = older, down, ended
	default:
		return false
	}
	return true
}

// raft is what members of the new cluster do: vote, once a majority of them can be asked or somebody has begun; take what a leader
// sends, once a majority has voted.
func (x *explorer) raft(s state, nodes []node, n *node) bool {
	if !n.runs(newer) {
		return false
	}
	switch {
	case x.votesOnly && s.elected && !n.has:
		n.has = true
		return true
	case !n.marked:
		n.marked = true
		return count(nodes, func(n node) bool { return n.runs(newer) }) >= x.majority() || count(nodes, func(n node) bool { return n.marked }) > 0
	case !n.has:
		n.has = true
		return s.elected
	}
	return false
}

// ordered is what a client has a node do.
func (x *explorer) ordered(c client, n *node) bool {
	switch {
	case c == forward && (n.agent == ready || n.agent == ended) && n.runs(older): // also whoever goes on with it later
		n.process, n.agent = frozen, holding
	case c == forward && n.agent == holding:
		n.data, n.process, n.agent = newer, down, watching
	case c == finish && n.data == older && n.agent == ended:
		n.data, n.process = newer, down
		if x.rebuild {
			n.marked, n.has = false, false
		}
	case c == back && n.data == newer && n.agent == backing:
		n.data, n.process, n.agent = older, down, ended
	case c == undo && n.data == newer && n.agent == ended:
		n.data, n.process = older, down
	default:
		return false
	}
	return true
}

// clients: one can be killed at any time. Another one decides by what it sees, and acts later, when much may have changed.
func (x *explorer) clients(s state, nodes []node) (out []client) {
	if s.client != gone {
		return []client{gone}
	}
	if !s.undone {
		out = append(out, forward)
	}
	if s.elected && count(nodes, func(n node) bool { return n.runs(newer) }) >= x.majority() {
		out = append(out, finish)
	}
	// An agent that works on a node's data has it for itself: one that waits for its orders, too. One that only watches has not.
	if count(nodes, func(n node) bool { return n.agent != ended && n.agent != watching }) > 0 {
		return out
	}
	if count(nodes, func(n node) bool { return n.marked }) == 0 || x.backAnyway {
		out = append(out, back)
	}
	if old := count(nodes, func(n node) bool { return n.runs(older) }); old >= x.majority() || x.undoMinority && old > 0 {
		out = append(out, undo)
	}
	return out
}

// wrong says what must never be, or "".
func (x *explorer) wrong(s state) string {
	nodes := nodesOf(s)
	switch {
	case s.elected && count(nodes, func(n node) bool { return n.runs(older) }) >= x.majority():
		return "the old cluster serves after the new one may have"
	case s.acked && count(nodes, func(n node) bool { return !n.has }) >= x.majority():
		return "a majority can elect a leader that lacks a write which clients were told of"
	}
	return ""
}

// explore visits everything, and returns the way to the first state that is wrong.
func (x *explorer) explore() (way []state, wrong string) {
	begin := canonical(make([]node, x.n), state{client: forward})
	nodes := nodesOf(begin)
	for i := range nodes {
		nodes[i] = node{process: running}
	}
	begin = canonical(nodes, begin)
	x.seen = map[state]state{begin: begin}
	x.queue = []state{begin}
	for i := 0; i < len(x.queue); i++ {
		s := x.queue[i]
		if wrong = x.wrong(s); wrong != "" {
			for ; s != x.seen[s]; s = x.seen[s] {
				way = append(way, s)
			}
			slices.Reverse(way)
			return way, wrong
		}
		for _, to := range x.next(s) {
			if _, been := x.seen[to]; !been {
				x.seen[to] = s
				x.queue = append(x.queue, to)
			}
		}
	}
	return nil, ""
}

func (s state) String() string {
	var out []string
	for _, n := range nodesOf(s) {
		text := []string{"old", "new"}[n.data] + " " + []string{"down", "running", "frozen"}[n.process] + " " + []string{"ready", "holding", "watching", "locking", "looked", "ended", "backing"}[n.agent]
		if n.marked {
			text += " voted"
		}
		if n.has {
			text += " has it"
		}
		out = append(out, text)
	}
	return fmt.Sprintf("%s: %s", []string{"no client", "forward", "finish", "back", "undo"}[s.client], strings.Join(out, "; "))
}
