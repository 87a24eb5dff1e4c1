#!/bin/bash
# The main job, from nothing: a real kind cluster, data in it, a backup, the proof, what is in it, and a restore. Each command is
# printed before it runs, so that it can be repeated by hand. KEEP=1 keeps the cluster and the files.
set -euo pipefail
cd "$(dirname "$0")/.."
HERE=$PWD
NAME=demo
ETCD_TAG=3.6.8-0 # as upstream ships it: no shell in the image

main() {
  trap clean EXIT
  KUBECONFIG=$(hack/testbed/cluster.sh $NAME 1 $ETCD_TAG)
  . hack/testbed/env.sh
  export KUBECONFIG PATH=$HERE/bin:$PATH
  FOLDER=$(mktemp -d)
  cd "$FOLDER"

  title "Data that must not be lost"
  run kubectl create namespace shop
  run "seq 200 | xargs -P 4 -I{} kubectl -n shop create configmap order-{} --from-literal=item=book --from-literal=number={} >/dev/null"
  run "kubectl -n shop get configmaps -o name | grep -c order-"
  run kubectl -n shop create deployment web --image=registry.k8s.io/pause:3.10
  run kubectl -n shop rollout status deployment/web --timeout=120s

  title "The etcd of this cluster: its image has no shell, and nothing will be pulled"
  run kubectl etcd list --probe-shell
  run kubectl etcd status

  title "A backup. It gets its name only after every byte is proven"
  run kubectl etcd backup --to etcd.db

  title "The proof once more, from the file alone, and a rehearsed restore: a real etcd starts on it"
  run kubectl etcd verify etcd.db --rehearse

  title "What is in it, said by etcd's own etcdutl and by a look at the keys"
  run "PATH=$TESTBED/bin/etcd-3.6:\$PATH etcdutl snapshot status etcd.db -w table"
  run "grep -aoE '/registry/configmaps/shop/order-[0-9]+' etcd.db | sort -u | wc -l"
  run "head -c 600 etcd.db.json; echo …"

  title "Damage of four bytes is found"
  run "cp etcd.db bad.db && printf flip | dd of=bad.db bs=1 seek=100000 conv=notrunc status=none"
  fails kubectl etcd verify bad.db

  title "A namespace is deleted by mistake, and comes back with its pods; nothing else is touched"
  PATH=$TESTBED/bin/etcd-3.6:$TESTBED/bin:$PATH # etcd, etcdutl, kube-apiserver: a real API server is started on the snapshot
  run kubectl delete namespace shop
  run "kubectl etcd open etcd.db -- kubectl -n shop get deployments"
  run "kubectl etcd diff etcd.db -n shop --summary || [ \$? = 3 ]"
  run "kubectl etcd restore objects --from etcd.db -n shop --yes >plan.txt; grep -v configmaps/order- plan.txt"
  run kubectl -n shop rollout status deployment/web --timeout=120s
  run "kubectl -n shop get configmaps -o name | grep -c order-"

  title "All is lost, and brought back: the etcd under this very API server is restored, with kubectl alone"
  run kubectl delete namespace shop
  run kubectl etcd restore --from etcd.db --yes
  run "kubectl -n shop get configmaps -o name | grep -c order-"

  title "Nothing stays behind in the cluster"
  run kubectl etcd cleanup -A --dry-run
  # A deleted pod is there for as long as its node takes to end it.
  local deadline=$((SECONDS + 60))
  until [ "$(kubectl get pods,configmaps -A -l app.kubernetes.io/managed-by=kubectl-etcd -o name)" = "" ]; do
    [ $SECONDS -lt $deadline ] || die "something was left in the cluster"
    sleep 1
  done
  say "demo: done in $SECONDS s"
}

say() { printf '%s\n' "$*"; }
die() { say "demo: $*" >&2; exit 1; }
title() { printf '\n# %s\n' "$*"; }

# run COMMAND: show it and do it.
run() {
  printf '$ %s\n' "$*"
  bash -euo pipefail -c "$*" </dev/null
}

# fails COMMAND: show it and do it; it must fail.
fails() {
  printf '$ %s\n' "$*"
  if bash -euo pipefail -c "$*" </dev/null; then die "this should have failed"; fi
}

clean() {
  local code=$?
  cd "$HERE"
  if [ -n "${KEEP:-}" ]; then
    say "kept: cluster $NAME (export KUBECONFIG=${KUBECONFIG:-}), files in ${FOLDER:-}"
  else
    rm -rf "${FOLDER:-}"
    "$HERE/hack/testbed/clean.sh" $NAME || code=1
  fi
  exit $code
}

main
