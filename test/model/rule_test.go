package model

import (
	"slices"
	"testing"
)

// serves says that a majority of one of the two clusters runs.
func (x *explorer) serves(s state) bool {
	nodes := nodesOf(s)
	return count(nodes, func(n node) bool { return n.runs(older) }) >= x.majority() || s.elected && count(nodes, func(n node) bool { return n.runs(newer) }) >= x.majority()
}

// stuck are the states from which no cluster serves again, whatever happens by itself, and with more steps if there are any.
func (x *explorer) stuck(more ...func(*node) bool) (out []state) {
	good := map[state]bool{}
	for grown := true; grown; {
		grown = false
		for s := range x.seen {
			if good[s] {
				continue
			}
			if x.serves(s) || slices.ContainsFunc(append(x.calm(s), x.by(s, more...)...), func(to state) bool { return good[to] }) {
				good[s], grown = true, true
			}
		}
	}
	for s := range x.seen {
		if !good[s] {
			out = append(out, s)
		}
	}
	return out
}

// TestRule: whatever crashes, is cut off or reboots in whatever order, the old cluster never serves once the new one may have, and no
// write of the new one is lost. Some cluster serves again by itself, unless an agent was killed while it held etcd frozen; then a reboot
// of that node helps.
func TestRule(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5} {
		for name, r := range map[string]rule{"": {}, ", votes only": {votesOnly: true}, ", built anew": {rebuild: true}} {
			x := &explorer{rule: r, n: n}
			if way, wrong := x.explore(); wrong != "" {
				t.Errorf("%d nodes%s: %s:\n%v", n, name, wrong, way)
			}
			t.Logf("%d nodes%s: %d states", n, name, len(x.seen))
			if n%2 == 0 { // half and half is no majority of either
				continue
			}
			for _, s := range x.stuck() {
				if count(nodesOf(s), func(n node) bool { return n.process == frozen && n.agent == ended }) == 0 {
					t.Errorf("%d nodes%s: nothing serves again: %v", n, name, s)
				}
			}
			for _, s := range x.stuck(reboot) {
				t.Errorf("%d nodes%s: nothing serves again, and no reboot helps: %v", n, name, s)
			}
		}
	}
}

// TestBrokenRules: each part of the rule is needed, and the explorer sees it.
func TestBrokenRules(t *testing.T) {
	for name, r := range map[string]rule{
		"votes are ignored":          {ignoreVotes: true},
		"looked at without a lock":   {withoutLock: true},
		"votes only, and built anew": {votesOnly: true, rebuild: true},
		"undone by a minority":       {undoMinority: true},
		"undone whatever was voted":  {backAnyway: true},
		"undone while etcd runs":     {backUnfrozen: true},
	} {
		x := &explorer{rule: r, n: 3}
		way, wrong := x.explore()
		if wrong == "" {
			t.Errorf("%s: nothing wrong in %d states", name, len(x.seen))
		}
		t.Logf("%s: %s after %d steps", name, wrong, len(way))
		for _, s := range way {
			t.Log(s)
		}
	}
}
