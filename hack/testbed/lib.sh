# Sourced by every script of the test bed.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/env.sh"
mkdir -p "$TESTBED"/{bin,node-bin,key,log,lock,clusters}

K8S_VERSION=v1.36.3
# The newest patch of each minor that the Go module proxy has; for 3.6, the one that kubeadm 1.36 asks for.
ETCD_VERSIONS="3.5.35 3.6.8 3.7.3"
ETCD_DEFAULT_TAG=3.6.8-0
PUBLISHED_IMAGE=kindest/node:$K8S_VERSION

# One clock for a run that spans several scripts.
export TESTBED_T0=${TESTBED_T0:-$(date +%s)}

# say TEXT: a progress line. Always on stderr: stdout is for results.
say() { printf '[testbed %3ds] %s\n' $(($(date +%s) - TESTBED_T0)) "$*" >&2; }
die() { say "error: $*"; exit 1; }

# lock NAME: hold a lock until this script ends, so that two runs at once share one result.
# fd 9 must not leak into a daemon (9>&-), which would hold the lock for its whole life.
lock() {
  exec 9>"$TESTBED/lock/$1"
  flock -n 9 && return
  say "waiting for another run that holds $TESTBED/lock/$1"
  flock -w 2400 9 || die "no lock on $TESTBED/lock/$1 after 40 minutes"
}

# hash_of WORD...: one hash over words.
hash_of() { printf '%s\n' "$@" | sha256sum | cut -c1-16; }

# hash_files PATH...: one hash over the contents of files and folders here. Names are relative, so that another checkout
# of the same sources hits the same cache.
hash_files() {
  (cd "$HERE" && find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# up_to_date NAME HASH FILE: was FILE made from the inputs with this hash? done_with records it.
up_to_date() { [ -e "$3" ] && [ "$(cat "$TESTBED/key/$1" 2>/dev/null)" = "$2" ]; }
done_with() { printf '%s\n' "$2" >"$TESTBED/key/$1"; }

# lacks_cap_sys_resource: some sandboxes and nested machines take this one away, also from root. Docker's --privileged
# and containers with a lowered oom_score_adj then cannot be started. It is bit 24 of the bounding set.
lacks_cap_sys_resource() {
  local bounding
  bounding=$(awk '/^CapBnd/ { print $2 }' /proc/self/status)
  ! (((16#$bounding >> 24) & 1))
}
docker_answers() { timeout 20 docker info >/dev/null 2>&1; }

# install_packages PACKAGE:PROGRAM...: those whose program is missing.
install_packages() {
  local pair missing=()
  for pair; do command -v "${pair#*:}" >/dev/null || missing+=("${pair%%:*}"); done
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

apt_install() {
  say "installing $*"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
    >"$TESTBED/log/apt.log" 2>&1 || die "apt-get install $* failed: $TESTBED/log/apt.log"
}
