package catalog

import (
	"fmt"
	"time"
)

// fresh is how long nothing is removed, whatever a policy says.
const fresh = time.Hour

// Policy says what is kept, of each control plane, and of what a schedule and what somebody by hand has asked for.
type Policy struct {
	Last, Daily, Weekly, Monthly int
	Within                       time.Duration
}

// Empty says that it would keep nothing.
func (p Policy) Empty() bool { return p == Policy{} }

// Decision is what becomes of a snapshot.
type Decision struct {
	Entry
	// Keep are the reasons for which it is kept; none: it is removed.
	Keep []string `json:"keep,omitempty"`
}

// group is what a policy is applied to.
type group struct {
	plane     string
	scheduled bool
}

// slots are what is left of a policy within a group, the newest first.
type slots struct {
	last  int
	every []*period
}

// period keeps the newest of each day, or week, or month.
type period struct {
	name string
	left int
	of   func(time.Time) string
	seen map[string]bool
}

func (p Policy) slots() *slots {
	of := func(name string, n int, key func(time.Time) string) *period {
		return &period{name, n, key, map[string]bool{}}
	}
	return &slots{p.Last, []*period{
		of("daily", p.Daily, func(t time.Time) string { return t.Format("2006-01-02") }),
		of("weekly", p.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-", w) }),
		of("monthly", p.Monthly, func(t time.Time) string { return t.Format("2006-01") }),
	}}
}

// Apply decides on all, which are sorted by time, the newest first. Only what is proven takes the place that a policy keeps. What is
// not proven, or not complete, may be all that somebody has of a bad day: it is left for them to delete.
func (p Policy) Apply(all []Entry, now time.Time) []Decision {
	groups := map[group]*slots{}
	newest := map[string]bool{}
	out := make([]Decision, 0, len(all))
	for _, e := range all {
		d := Decision{Entry: e}
		switch {
		case e.Wrong != "":
			d.Keep = []string{e.Wrong}
		case !e.Proven():
			d.Keep = []string{"unproven"}
		default:
			if !newest[e.Plane()] {
				newest[e.Plane()] = true
				d.Keep = append(d.Keep, "newest")
			}
			g := group{e.Plane(), e.Snapshot.Scheduled}
			if groups[g] == nil {
				groups[g] = p.slots()
			}
			d.Keep = append(d.Keep, groups[g].reasons(e.Snapshot.Created.UTC())...)
			age := now.Sub(e.Snapshot.Created)
			if age < p.Within {
				d.Keep = append(d.Keep, "within")
			}
			if age < fresh {
				d.Keep = append(d.Keep, "fresh")
			}
		}
		out = append(out, d)
	}
	return out
}

func (s *slots) reasons(t time.Time) (keep []string) {
	if s.last > 0 {
		s.last--
		keep = append(keep, "last")
	}
	for _, p := range s.every {
		if key := p.of(t); p.left > 0 && !p.seen[key] {
			p.left--
			p.seen[key] = true
			keep = append(keep, p.name)
		}
	}
	return keep
}

// StaleUpload is how old an upload is that nobody will end.
const StaleUpload = 24 * time.Hour
