#!/bin/bash
# check.sh NAME: does this cluster do what the tests need? For whoever changes the test bed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
NAMESPACE=testbed-check
PKI=/etc/kubernetes/pki/etcd

main() {
  export KUBECONFIG=$TESTBED/kubeconfig-${1:?usage: check.sh NAME}
  local etcd node
  SCRATCH=$(mktemp -d)
  trap clean EXIT
  etcd=$(kubectl -n kube-system get pod -l component=etcd -o jsonpath='{.items[0].metadata.name}')
  node=$(kubectl -n kube-system get pod "$etcd" -o jsonpath='{.spec.nodeName}')
  check_etcd "$etcd"
  check_pods "$node"
  check_port_forward "$etcd" "$node"
  kubectl -n kube-system logs "$etcd" --tail=1 >/dev/null && say "ok: logs"
}

clean() {
  kill "${FORWARD:-}" 2>/dev/null || true
  kubectl delete namespace $NAMESPACE --ignore-not-found --wait=false >/dev/null 2>&1 || true
  rm -rf "$SCRATCH"
}

check_etcd() {
  local tls="--cacert $PKI/ca.crt --cert $PKI/healthcheck-client.crt --key $PKI/healthcheck-client.key"
  kubectl -n kube-system exec "$1" -- etcdctl $tls endpoint health --cluster
  kubectl -n kube-system exec "$1" -- etcdctl $tls endpoint status --cluster -w table
  kubectl -n kube-system exec "$1" -- etcdutl version | head -1
  if kubectl -n kube-system exec "$1" -- sh -c true 2>/dev/null; then say "ok: exec; etcd's image has a shell"; else say "ok: exec; etcd's image has no shell"; fi
}

# pods NODE: one on etcd's node with its data and certificates, one with a dynamic volume, wherever it lands.
pods() {
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: util}
spec:
  nodeName: $1
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:1.35
    command: [sleep, "3600"]
    volumeMounts: [{name: data, mountPath: /etcd, readOnly: true}, {name: pki, mountPath: /pki, readOnly: true}]
  volumes:
  - {name: data, hostPath: {path: /var/lib/etcd, type: Directory}}
  - {name: pki, hostPath: {path: $PKI, type: Directory}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: volume}
spec:
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox:1.35
    command: [sh, -c, "echo hello > /data/f; sleep 3600"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
EOF
}

check_pods() {
  local k="kubectl -n $NAMESPACE" sum
  kubectl create namespace $NAMESPACE >/dev/null
  # The namespace's own account is made a moment later; a pod before that is refused.
  kubectl -n $NAMESPACE wait --for=create serviceaccount/default --timeout=60s >/dev/null
  pods "$1" | $k apply -f - >/dev/null
  $k wait --for=condition=Ready pod/util pod/volume --timeout=120s >/dev/null
  $k exec util -- test -s /etcd/member/snap/db && say "ok: hostPath"
  until [ "$($k exec volume -- cat /data/f)" = hello ]; do sleep .2; done; say "ok: dynamic volume"
  $k exec util -- sh -c 'nc -w 5 $KUBERNETES_SERVICE_HOST 443 </dev/null' && say "ok: Service address"
  $k exec util -- nslookup kubernetes.default.svc.cluster.local >/dev/null && say "ok: DNS"
  head -c 20000000 /dev/urandom >"$SCRATCH/random"
  sum=$($k exec -i util -- sha256sum <"$SCRATCH/random" | cut -d' ' -f1)
  [ "$sum" = "$(sha256sum <"$SCRATCH/random" | cut -d' ' -f1)" ] && say "ok: exec with 20 MB on stdin"
}

check_port_forward() {
  local deadline=$((SECONDS + 30)) port
  kubectl -n kube-system port-forward "pod/$1" :2379 >"$SCRATCH/forward" 2>&1 &
  FORWARD=$!
  until port=$(grep -oPm1 '127.0.0.1:\K\d+' "$SCRATCH/forward"); do [ $SECONDS -lt $deadline ] || die "port-forward: $(cat "$SCRATCH/forward")"; sleep .1; done
  docker exec "$2" tar -cC $PKI . | tar -xC "$SCRATCH"
  local tls="--endpoints https://127.0.0.1:$port --cacert $SCRATCH/ca.crt --cert $SCRATCH/healthcheck-client.crt --key $SCRATCH/healthcheck-client.key"
  "$TESTBED/bin/etcd-3.6/etcdctl" $tls snapshot save "$SCRATCH/snapshot.db" >/dev/null 2>&1
  "$TESTBED/bin/etcd-3.6/etcdutl" snapshot status "$SCRATCH/snapshot.db" -w table
  say "ok: port-forward, a snapshot through it"
}

main "$@"
