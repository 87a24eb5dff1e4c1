package plugin

import (
	"flag"
	"regexp"
	"strconv"

	"k8s.io/klog/v2"
)

// From requestLevel on client-go says what it asks of the API server, as kubectl does; above maxLevel it would say bodies, and
// with them Secrets.
const (
	requestLevel = 6
	maxLevel     = 7
)

var (
	level      = regexp.MustCompile(`^\d+$`)
	levelShort = regexp.MustCompile(`^-v\d+$`)
)

// verbosity lets -v have its number as kubectl's has: -v 6, -v6. A flag that also stands alone takes only -v=6.
func verbosity(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--":
			return append(out, args[i:]...)
		case (a == "-v" || a == "--verbose") && i+1 < len(args) && level.MatchString(args[i+1]):
			i++
			out = append(out, a+"="+args[i])
		case levelShort.MatchString(a):
			out = append(out, "-v="+a[2:])
		default:
			out = append(out, a)
		}
	}
	return out
}

// logRequests lets client-go speak, which it does on standard error.
func (a *app) logRequests() {
	if a.verbose < requestLevel {
		return
	}
	klog.ClearLogger()
	f := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(f)
	_ = f.Set("v", strconv.Itoa(min(a.verbose, maxLevel))) // a number it takes
}
