package snapshot

import (
	"strings"
	"time"
)

// maxNamePart bounds each part, so that the whole name with ".json" and a temporary suffix stays below the 255 bytes
// that a file name may have.
const maxNamePart = 60

// FileName is the name of a snapshot that is stored in a folder: context, namespace and name of the control plane, and
// the time in UTC, as in prod_kube-system_etcd_20260102T150405Z.db. It is legal on every file system: letters, digits,
// dots and dashes are kept, everything else becomes a dash. Empty parts are left out. extension is all behind the time.
func FileName(context, namespace, name string, t time.Time, extension string) string {
	var parts []string
	if p := PlaneName(context, namespace, name); p != "" {
		parts = append(parts, p)
	}
	// The time is never left out, so that the name is never one that Windows reserves (con, nul, …).
	parts = append(parts, t.UTC().Format("20060102T150405Z"))
	return strings.Join(parts, "_") + extension
}

// PlaneName is what FileName says before the time: the folder of a control plane's snapshots where there are many.
func PlaneName(context, namespace, name string) string {
	var parts []string
	for _, p := range []string{context, namespace, name} {
		if p = namePart(p); p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "_")
}

// namePart keeps the end of what is too long: contexts such as arn:aws:eks:…:cluster/prod say there what matters.
func namePart(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
	for strings.Contains(clean, "--") {
		clean = strings.ReplaceAll(clean, "--", "-")
	}
	if len(clean) > maxNamePart {
		clean = clean[len(clean)-maxNamePart:]
	}
	return strings.Trim(clean, ".-")
}
