#!/bin/bash
# The programs of the test bed, built from Go modules. What is up to date is kept.
#   binaries.sh tools   kind, three minors of etcd, servers for object stores: needed with any node image
#   binaries.sh kube    Kubernetes as one multi-call program: six minutes on two cores, most of a cold run
#   binaries.sh older   an API server of the minor before, to write what snapshots of it hold: only for make e2e-full
#   binaries.sh node    the rest of our own node image: containerd, CoreDNS, pause, kind's load balancer
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export CGO_ENABLED=0 # one static file each: the images have no libc
STRIP="-s -w"

# build PATH MODULE PACKAGE LDFLAGS [GO BUILD FLAG...]: $TESTBED/PATH from mod/MODULE. bin/ is on PATH; node-bin/ is not,
# or the engine's own containerd would start our newer shim.
build() {
  local name=$1 module=$2 package=$3 ldflags=$4 out=$TESTBED/$1 step=${1//\//-} started=$SECONDS hash
  shift 4
  hash=$(hash_of "$(hash_files "mod/$module")" "$package" "$ldflags" "$*" "$(cd "$HERE/mod/$module" && go env GOVERSION GOARCH)")
  up_to_date "$step" "$hash" "$out" && return
  mkdir -p "${out%/*}"
  (cd "$HERE/mod/$module" && go build -trimpath -o "$out" -ldflags="$ldflags" "$@" "$package") \
    >"$TESTBED/log/build-$step.log" 2>&1 ||
    die "building $name failed: $(tail -3 "$TESTBED/log/build-$step.log")"
  done_with "$step" "$hash"
  say "built $name in $((SECONDS - started)) s"
}

tools() {
  local version minor program package
  build bin/kind kind sigs.k8s.io/kind "$STRIP"
  build bin/versitygw s3 github.com/versity/versitygw/cmd/versitygw "$STRIP"
  build bin/fake-gcs-server gcs github.com/fsouza/fake-gcs-server "$STRIP"
  for version in $ETCD_VERSIONS; do
    minor=${version%.*}
    for program in etcd etcdctl etcdutl; do
      package=go.etcd.io/etcd/$program/v3
      [ "$program" != etcd ] || package=go.etcd.io/etcd/server/v3
      build "bin/etcd-$minor/$program" "etcd${minor/./}" "$package" "$STRIP"
    done
  done
}

# flags_of VERSION: with a fixed date and tree state, since kubeadm compares versions, and the build must not change from day to day.
flags_of() {
  local component=k8s.io/component-base/version minor=${1#v1.}
  echo "$STRIP -X $component.gitVersion=$1 -X $component.gitMajor=1 -X $component.gitMinor=${minor%%.*} -X $component.gitTreeState=clean -X $component.buildDate=2026-01-01T00:00:00Z"
}

kube() {
  build node-bin/kube kube . "$(flags_of "$K8S_VERSION")"
  ln -sf ../node-bin/kube "$TESTBED/bin/kubectl"
  ln -sf ../node-bin/kube "$TESTBED/bin/kube-apiserver" # on which snapshots are opened
}

# Not below bin/, whose programs make the node image what it is.
older() {
  build kube-older/kube-apiserver kube135 k8s.io/kubernetes/cmd/kube-apiserver "$(flags_of "$(version_in kube135 k8s.io/kubernetes)")"
}

node() {
  local name
  for name in containerd containerd-shim-runc-v2 ctr; do
    build "node-bin/$name" containerd "github.com/containerd/containerd/v2/cmd/$name" \
      "$STRIP -X github.com/containerd/containerd/v2/version.Version=$(version_in containerd github.com/containerd/containerd/v2)" -tags no_btrfs,no_zfs,no_devmapper,no_aufs
  done
  build node-bin/coredns coredns . "$STRIP"
  build node-bin/envoy lb . "$STRIP"
  # Its own program and not a name of kube's: that one's start-up would cost memory in every pod.
  build node-bin/pause pause . "$STRIP"
}

# version_in MODULE REQUIRED: the version that a module requires.
version_in() { awk -v of="$2" '$2 == of { print $3; exit } $1 == of { print $2; exit }' "$HERE/mod/$1/go.mod"; }

for part; do
  case "$part" in
  tools | kube | older | node) "$part" ;;
  *) die "usage: binaries.sh tools|kube|older|node..." ;;
  esac
done
