#!/bin/bash
# cluster.sh NAME NODES ETCD_TAG [WORKERS]: a kind cluster with this many control plane nodes and this etcd, created or
# reused, and ready for tests. Prints the path of its kubeconfig. Tags: 3.5.35-0, 3.6.8-0, 3.7.3-0 as upstream ships them
# (no shell), and each with -sh at the end (with busybox).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
  [ $# -ge 3 ] && [ $# -le 4 ] || die "usage: cluster.sh NAME NODES ETCD_TAG [WORKERS]"
  NAME=$1 NODES=$2 ETCD_TAG=$3 WORKERS=${4:-0}
  STATE=$TESTBED/clusters/$NAME # what it was made from; that it exists means that this cluster is ours
  KUBECONFIG_FILE=$TESTBED/kubeconfig-$NAME
  local image want started=$SECONDS
  image=$("$HERE/image.sh")
  . "$HERE/env.sh" # the engine's socket may be new
  check_tag "$image"
  lock "cluster-$NAME"
  want=$(hash_of "$image" "$(config | sed "s|$HERE||")" "$(hash_files patches)")
  if reusable "$want"; then
    say "cluster $NAME: reused"
  else
    create "$image"
    echo "$want $(addresses)" >"$STATE"
  fi
  wait_ready
  say "cluster $NAME: ready after $((SECONDS - started)) s"
  echo "$KUBECONFIG_FILE"
}

check_tag() {
  local version tags=()
  if [ "$1" = "$PUBLISHED_IMAGE" ]; then
    tags=("$ETCD_DEFAULT_TAG")
  else
    for version in $ETCD_VERSIONS; do tags+=("$version-0" "$version-0-sh"); done
  fi
  [[ " ${tags[*]} " == *" $ETCD_TAG "* ]] || die "etcd tag $ETCD_TAG is not in $1; there are: ${tags[*]}"
}

# reusable HASH: made from the same inputs, all its nodes running where they were made, its API answering. An engine that
# was started anew may give nodes each other's addresses, for which their certificates are not valid.
reusable() {
  [ "$(cat "$STATE" 2>/dev/null)" = "$1 $(addresses)" ] && [ -s "$KUBECONFIG_FILE" ] || return
  [ "$(docker ps -q --filter "label=io.x-k8s.kind.cluster=$NAME" --filter "label=io.x-k8s.kind.role" | wc -l)" -ge $((NODES + WORKERS)) ] || return
  kube get --raw /readyz --request-timeout=20s >/dev/null 2>&1
}

# addresses: of the nodes that run, in the order of their names.
addresses() {
  local nodes
  nodes=$(docker ps -q --filter "label=io.x-k8s.kind.cluster=$NAME" --filter "label=io.x-k8s.kind.role")
  [ -z "$nodes" ] || docker inspect -f '{{.Name}}={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $nodes | sort | tr -d '/' | tr '\n' ' '
}

kube() { kubectl --kubeconfig "$KUBECONFIG_FILE" "$@"; }

create() {
  local image=$1 log=$TESTBED/log/cluster-$NAME.log clusters
  # All of it first: a grep that has seen enough ends a pipe's writer, which pipefail would take for "there is none".
  clusters=$(kind get clusters -q)
  if grep -qxF "$NAME" <<<"$clusters"; then
    # Never somebody else's: a cluster of that name that we did not make stays.
    [ -e "$STATE" ] || die "a kind cluster $NAME exists that this test bed did not make: choose another name"
    say "cluster $NAME: made from other inputs or not healthy, making it anew"
    kind delete cluster -q --name "$NAME" --kubeconfig "$KUBECONFIG_FILE"
  fi
  echo creating >"$STATE"
  config >"$TESTBED/clusters/$NAME.yaml"
  say "cluster $NAME: creating, $NODES control plane node(s), $WORKERS worker(s), etcd $ETCD_TAG"
  if ! kind create cluster --name "$NAME" --image "$image" --config "$TESTBED/clusters/$NAME.yaml" \
    --kubeconfig "$KUBECONFIG_FILE" --retain >"$log" 2>&1 9>&-; then
    kind export logs "$TESTBED/log/nodes-$NAME" --name "$NAME" >/dev/null 2>&1 || true
    kind delete cluster -q --name "$NAME" --kubeconfig "$KUBECONFIG_FILE" || true
    die "cluster $NAME was not created: $(grep -i "error" "$log" | tail -1); see $log and $TESTBED/log/nodes-$NAME"
  fi
  # An engine that is started later must not start it, too: nobody may want it, and it would take the machine from what is run then.
  docker ps -aq --filter "label=io.x-k8s.kind.cluster=$NAME" | xargs docker update --restart=no >/dev/null
}

config() {
  local i
  cat <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
kubeadmConfigPatches:
- |
  kind: ClusterConfiguration
  etcd:
    local:
      imageTag: $ETCD_TAG
EOF
  if [[ $ETCD_TAG == 3.5.* ]]; then etcd35_patches; fi
  machine_patches
  echo "nodes:"
  for ((i = 0; i < NODES; i++)); do echo "- role: control-plane"; mounts; done
  for ((i = 0; i < WORKERS; i++)); do echo "- role: worker"; mounts; done
}

# kubeadm 1.36 gives every etcd two arguments that 3.5 does not know and would not start with. The patches take them out;
# each names the argument that it expects at that place, so that a kubeadm with another order fails instead of losing
# another argument.
etcd35_patches() {
  cat <<'EOF'
- |
  kind: InitConfiguration
  patches: {directory: /kind/etcd-patches/init}
- |
  kind: JoinConfiguration
  patches: {directory: /kind/etcd-patches/join}
EOF
}

# What this machine cannot do: only where it is so, since tests should run as near to the usual as they can.
machine_patches() {
  if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then # cgroup v1, which the kubelet refuses unless told otherwise
    cat <<'EOF'
- |
  kind: KubeletConfiguration
  failCgroupV1: false
EOF
  fi
  if lacks_cap_sys_resource; then # then oom_score_adj cannot be lowered, and no pod with a guarantee would start
    cat <<'EOF'
containerdConfigPatches:
- |-
  [plugins."io.containerd.grpc.v1.cri"]
    restrict_oom_score_adj = true
EOF
  fi
}

# Workers too: their JoinConfiguration names the folder, and kubeadm insists that it is there.
mounts() {
  if [[ $ETCD_TAG == 3.5.* ]]; then
    printf '  extraMounts:\n  - {hostPath: "%s", containerPath: /kind/etcd-patches, readOnly: true}\n' "$HERE/patches/etcd-3.5"
  fi
}

# kind's own --wait is for the first node only; tests need every node, etcd, DNS and the account that pods run as.
wait_ready() {
  wait_for "nodes" kube wait --for=condition=Ready nodes --all --timeout=10s
  wait_for "etcd" etcd_ready
  wait_for "CoreDNS" kube -n kube-system rollout status deployment/coredns --timeout=10s
  wait_for "the default service account" kube get serviceaccount default
}

etcd_ready() {
  [ "$(kube -n kube-system get pods -l component=etcd -o name | wc -l)" = "$NODES" ] || return
  kube -n kube-system wait --for=condition=Ready pod -l component=etcd --timeout=10s
}

# wait_for WHAT COMMAND...: until it succeeds, at most four minutes.
wait_for() {
  local what=$1 deadline=$((SECONDS + 240)) out
  shift
  until out=$("$@" 2>&1); do
    [ $SECONDS -lt $deadline ] || die "cluster $NAME: $what not ready after 4 minutes: $(tail -1 <<<"$out")"
    sleep .5
  done
}

main "$@"
