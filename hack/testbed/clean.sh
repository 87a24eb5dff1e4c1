#!/bin/bash
# clean.sh [NAME...]: delete these clusters, or all; only those that this test bed made.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  local name names=("$@")
  if [ $# = 0 ]; then mapfile -t names < <(ls "$TESTBED/clusters" 2>/dev/null | grep -v '\.yaml$'); fi
  if [ ${#names[@]} = 0 ]; then say "no clusters of ours"; return; fi
  docker_answers || die "no Docker engine answers: clusters cannot be deleted"
  for name in "${names[@]}"; do delete "$name"; done
}

delete() {
  if [ ! -e "$TESTBED/clusters/$1" ]; then say "cluster $1: not ours or already gone"; return; fi
  lock "cluster-$1"
  kind delete cluster -q --name "$1" --kubeconfig "$TESTBED/kubeconfig-$1"
  rm -f "$TESTBED/clusters/$1" "$TESTBED/clusters/$1.yaml" "$TESTBED/kubeconfig-$1"
  say "cluster $1: deleted"
}

main "$@"
