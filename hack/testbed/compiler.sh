#!/bin/bash
# A C compiler with libc's headers: Go's race detector links with cgo, and nothing else here does. One that is missing is
# installed, which needs root and Debian.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

CC=$(go env CC)
can() { printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | "$CC" -x c -o /dev/null - 2>"$TESTBED/log/cc.log"; }

can && exit
say "the race detector needs a C compiler with libc's headers, and $CC does not serve: $(tail -1 "$TESTBED/log/cc.log")"
apt_install gcc libc6-dev
can || die "$CC does not serve: $(tail -1 "$TESTBED/log/cc.log")"
