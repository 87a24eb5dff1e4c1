#!/bin/bash
# The node image that clusters are made of; its name is printed on stdout. The published one where it can be had,
# otherwise our own, built from Go modules and Debian packages: eleven minutes on two cores once, then kept until an
# input changes.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
ANSWER=$TESTBED/node-image-source # "published" or "built": asked once; delete it to ask again

main() {
  command -v go >/dev/null || die "the test bed's programs are built with Go, which is not on PATH"
  lock image
  "$HERE/docker.sh"
  [ -s "$ANSWER" ] || ask_for_published
  if [ "$(cat "$ANSWER")" = published ]; then use_published; else use_built; fi
}

ask_for_published() {
  # A pull that works is quick to start; where no container registry is reachable it may hang instead of failing.
  if timeout 120 docker pull -q "$PUBLISHED_IMAGE" >"$TESTBED/log/pull.log" 2>&1; then
    echo published >"$ANSWER"
  else
    echo built >"$ANSWER"
    say "$PUBLISHED_IMAGE cannot be pulled ($(tail -1 "$TESTBED/log/pull.log" | cut -c1-120)): building our own"
  fi
}

use_published() {
  say "node image: $PUBLISHED_IMAGE as published (only etcd $ETCD_DEFAULT_TAG is in it)"
  run_jobs "binaries.sh kube" "binaries.sh tools"
  record "$PUBLISHED_IMAGE"
}

use_built() {
  can_build
  # Kubernetes has one long link step and debootstrap mostly waits for dpkg: the three together use both cores.
  run_jobs "binaries.sh kube" rootfs.sh "binaries.sh tools node"
  record "$("$HERE/node.sh")"
}

can_build() {
  [ "$(id -u)" = 0 ] || die "$PUBLISHED_IMAGE cannot be pulled, and building our own needs root (debootstrap, chroot)"
  install_packages debootstrap:debootstrap jq:jq
}

record() { echo "$1" >"$TESTBED/node-image" && echo "$1"; }

# run_jobs COMMAND...: scripts of this folder, all at once; a line now and then, so that a long build is not taken for a hang.
run_jobs() {
  local command pid failed=0 last=$SECONDS running
  declare -A command_of=()
  for command; do
    "$HERE"/$command 9>&- &
    command_of[$!]=$command
  done
  while running=$(jobs -rp) && [ -n "$running" ]; do
    sleep 1
    if ((SECONDS - last < 60)); then continue; fi
    last=$SECONDS
    say "still at work: $(for pid in $running; do echo "${command_of[$pid]}"; done | paste -sd,)"
  done
  for pid in "${!command_of[@]}"; do wait "$pid" || failed=1; done
  [ $failed = 0 ] || die "a part of the node image could not be built (see above)"
}

main "$@"
