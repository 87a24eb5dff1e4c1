#!/bin/bash
# Put our own node image together from the binaries and the root file system, and give it to Docker with the stand-in
# for kind's load balancer. Half a minute; prints the image's name, which carries the hash of everything in it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
ROOTFS=$TESTBED/rootfs
BIN=$TESTBED/node-bin
WORK=$TESTBED/work # emptied at the end
NODE=$WORK/node    # the node's file tree
IMAGES=$WORK/images # the files of a Docker archive: what a node has preloaded
BUSYBOX_IMAGE=docker.io/library/busybox:1.35
KINDNETD_IMAGE=docker.io/kubectl-etcd/kindnetd:v1
IMAGE_PATH=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

main() {
  local hash image
  KIND=$(cd "$HERE/mod/kind" && go mod download sigs.k8s.io/kind && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)
  LB_IMAGE=$(grep -oP 'const Image = "\K[^"]+' "$KIND/pkg/cluster/internal/loadbalancer/const.go") # fixed in kind
  hash=$(hash_of "$(hash_files node.sh manifests)" "$(cat "$TESTBED"/key/{bin,node-bin}-* "$TESTBED/key/rootfs")")
  image=kubectl-etcd/node:$K8S_VERSION-$hash
  if ! docker image inspect "$image" "$LB_IMAGE" >/dev/null 2>&1; then
    rm -rf "$WORK" && mkdir -p "$IMAGES"
    node_tree
    preloaded_images
    preload
    load_into_docker "$image"
    forget_older "$image"
    rm -rf "$WORK"
  fi
  echo "$image"
}

# ---- the node's file tree ----------------------------------------------------------------------------------------

node_tree() {
  local name
  cp -a --reflink=auto "$ROOTFS" "$NODE"
  # kind waits for a log line of its own entrypoint and calls its own scripts: take them from kind's module.
  cp -r --no-preserve=mode,ownership "$KIND/images/base/files/." "$NODE/"
  chmod 0755 "$NODE"/usr/local/bin/{entrypoint,clean-install} "$NODE"/kind/bin/*.sh
  trim_systemd
  mkdir -p "$NODE"/etc/kubernetes/manifests "$NODE"/opt/cni "$NODE"/etc/cni/net.d "$NODE"/kind/manifests
  ln -s /usr/lib/cni "$NODE/opt/cni/bin"
  install -m755 "$BIN/kube" "$NODE/usr/bin/kube"
  for name in kubelet kubeadm kubectl; do ln -s kube "$NODE/usr/bin/$name"; done
  install -m755 "$BIN"/{containerd,ctr,containerd-shim-runc-v2} "$NODE/usr/local/bin/"
  printf %s "$K8S_VERSION" >"$NODE/kind/version"
  chroot "$NODE" ctr oci spec |
    jq '.hooks.createContainer |= . + [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' >"$NODE/etc/containerd/cri-base.json"
  cp "$HERE"/manifests/*.yaml "$NODE/kind/manifests/"
  say "node's file tree: $(du -sh "$NODE" | cut -f1)"
}

# As kind's own Dockerfile does: of systemd only what a container needs.
trim_systemd() {
  rm -f "$NODE"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
    "$NODE"/lib/systemd/system/{multi-user,local-fs,basic}.target.wants/* "$NODE"/etc/systemd/system/*.wants/* \
    "$NODE"/lib/systemd/system/sockets.target.wants/*{udev,initctl}*
  echo ReadKMsg=no >>"$NODE/etc/systemd/journald.conf"
  ln -sf /usr/lib/systemd/systemd "$NODE/sbin/init"
  chroot "$NODE" systemctl --quiet enable kubelet.service containerd.service undo-mount-hacks.service
  chroot "$NODE" systemctl --quiet mask systemd-binfmt.service
}

# ---- the images preloaded into it ----------------------------------------------------------------------------------

preloaded_images() {
  local version tag layer busybox kube_tags=()
  kube_tree "$WORK/kube"
  for tag in kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do kube_tags+=("registry.k8s.io/$tag:$K8S_VERSION"); done
  image "{}" "$(layer_of "$WORK/kube")" "${kube_tags[@]}" "$KINDNETD_IMAGE"

  busybox_tree "$WORK/busybox"
  busybox=$(layer_of "$WORK/busybox")
  image '{"Cmd":["sh"]}' "$busybox" "$BUSYBOX_IMAGE"

  for version in $ETCD_VERSIONS; do
    # As upstream ships it: three programs and no shell. The variant with one is the same with busybox on top.
    layer=$(layer_of "$(tree "etcd-$version" /usr/local/bin "$TESTBED/bin/etcd-${version%.*}"/{etcd,etcdctl,etcdutl})")
    image "{}" "$layer" "registry.k8s.io/etcd:$version-0"
    image "{}" "$layer $busybox" "registry.k8s.io/etcd:$version-0-sh"
  done
  image '{"Entrypoint":["/coredns"]}' "$(layer_of "$(tree coredns / "$BIN/coredns")")" "$(kubeadm_images | grep /coredns:)"
  # 3.10 is what containerd's configuration in the node asks for.
  image '{"Entrypoint":["/pause"]}' "$(layer_of "$(tree pause / "$BIN/pause")")" "$(kubeadm_images | grep /pause:)" registry.k8s.io/pause:3.10
  for tag in $(kubeadm_images); do
    grep -qF "\"$tag\"" "$IMAGES/manifests" || die "kubeadm $K8S_VERSION asks for $tag, which is not among the images"
  done
  say "images for the node: $(du -sh "$IMAGES" | cut -f1)"
}

kubeadm_images() { (exec -a kubeadm "$BIN/kube" config images list --kubernetes-version "$K8S_VERSION"); }

# tree NAME FOLDER FILE...: a file tree with these files; prints where.
tree() {
  local root=$WORK/$1 folder=$2
  shift 2
  mkdir -p "$root/$folder" "$root/tmp" && chmod 1777 "$root/tmp"
  cp "$@" "$root/$folder/"
  echo "$root"
}

busybox_tree() {
  mkdir -p "$1"/{bin,etc,root,sbin,tmp,usr/bin,usr/sbin} && chmod 1777 "$1/tmp"
  cp "$NODE/bin/busybox" "$1/bin/"
  chroot "$1" /bin/busybox --install -s
  echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
}

# One layer for every component of Kubernetes, with iptables and nft for kube-proxy.
kube_tree() {
  local root=$1 name file
  tree kube /usr/local/bin "$BIN/kube" >/dev/null
  for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kindnetd; do ln -s kube "$root/usr/local/bin/$name"; done
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
  for name in bin sbin lib lib64; do if [ -L "$NODE/$name" ]; then cp -a "$NODE/$name" "$root/"; fi; done
  (cd "$NODE" && cp -a --parents usr/lib/*-linux-gnu/xtables "$root/")
  # The plugins of xtables are looked at too: libxt_statistic.so needs libm, which iptables itself does not. Without it
  # everything looks Ready, and every Service with two or more endpoints silently fails.
  for file in usr/sbin/{xtables-nft-multi,xtables-legacy-multi,nft,conntrack} $(cd "$NODE" && ls usr/lib/*-linux-gnu/xtables/lib*.so); do
    (cd "$NODE" && cp -a --parents "$file" "$root/")
    printf '%s\n' "$file"
  done | chroot "$NODE" xargs -I{} ldd /{} | grep -oE '/[^ ]+\.so[^ :]*' | sort -u | while read -r file; do
    # By the name that the loader asks for; the link's target comes with its content.
    (cd "$NODE" && cp -L --parents "$(chroot . readlink -f "$(dirname "$file")" | cut -c2-)/$(basename "$file")" "$root/")
  done
  for name in iptables ip6tables; do
    for file in "" -save -restore; do ln -sf xtables-nft-multi "$root/usr/sbin/$name$file"; done
  done
  # Proof that nothing is missing.
  chroot "$root" iptables -m statistic --help >/dev/null
  { chroot "$root" nft --version && chroot "$root" conntrack --version && chroot "$root" kube-proxy --version; } >/dev/null
}

# layer_of FOLDER: pack a tree as a layer; prints the layer's file name, which is its hash.
layer_of() {
  local sum
  sum=$(tar -C "$1" --sort=name --numeric-owner --owner=0 --group=0 --mtime=@0 -c . | tee "$IMAGES/part" | sha256sum | cut -d' ' -f1)
  mv "$IMAGES/part" "$IMAGES/$sum.tar"
  echo "$sum"
}

# image CONFIG "LAYER..." TAG...: one image of the archive in $IMAGES, described as `docker save` does.
image() {
  local config=$1 layers=$2 sum
  shift 2
  sum=$(jq -cn --argjson c "$config" --arg path "$IMAGE_PATH" --arg layers "$layers" --arg arch "$(go env GOARCH)" '
    {architecture: $arch, os: "linux", created: "2026-01-01T00:00:00Z", config: ({Env: [$path]} + $c),
     rootfs: {type: "layers", diff_ids: ($layers | split(" ") | map("sha256:" + .))},
     history: ($layers | split(" ") | map({created: "2026-01-01T00:00:00Z"}))}' | tee "$IMAGES/part" | sha256sum | cut -d' ' -f1)
  mv "$IMAGES/part" "$IMAGES/$sum.json"
  jq -cn --arg config "$sum.json" --arg layers "$layers" '{Config: $config, RepoTags: $ARGS.positional, Layers: ($layers | split(" ") | map(. + ".tar"))}' \
    --args "$@" >>"$IMAGES/manifests"
}

# archive FOLDER: the images of a folder as one stream that both Docker and containerd read.
archive() {
  (cd "$1" && jq -cs . manifests >manifest.json && rm manifests && tar -c manifest.json [0-9a-f]*.json [0-9a-f]*.tar)
}

# ---- into the node, without starting one ---------------------------------------------------------------------------

# containerd unpacks the images in a chroot on the disk's own file system: an overlayfs cannot stand on an overlayfs, as it
# would in a container. The mounts die with the shell.
preload() {
  archive "$IMAGES" | unshare -m bash -euc '
    node=$1
    mount --make-rprivate / && mount --bind "$node" "$node"
    mount -t proc proc "$node/proc"; mount -t sysfs sysfs "$node/sys"; mount --rbind /dev "$node/dev"
    mount -t tmpfs tmpfs "$node/run"; mount -t tmpfs tmpfs "$node/tmp"
    chroot "$node" containerd </dev/null & pid=$!
    for try in $(seq 100); do chroot "$node" ctr version </dev/null >/dev/null 2>&1 && break; sleep .2; done
    chroot "$node" ctr -n k8s.io images import --local --snapshotter overlayfs --discard-unpacked-layers --label=io.cri-containerd.pinned=pinned -
    # The blobs of unpacked layers go only when the garbage collector runs: removing an image with --sync runs it.
    chroot "$node" ctr -n k8s.io images tag registry.k8s.io/pause:3.10 gc:now
    chroot "$node" ctr -n k8s.io images rm --sync gc:now
    kill $pid; wait $pid || true
  ' preload "$NODE" >"$TESTBED/log/preload.log" 2>&1 || die "images cannot be preloaded: $(tail -3 "$TESTBED/log/preload.log")"
  rm -rf "$NODE"/run/* "$NODE"/tmp/* "$NODE"/var/log/*
  say "images preloaded; the node is $(du -sh "$NODE" | cut -f1)"
}

# ---- into Docker ---------------------------------------------------------------------------------------------------

load_into_docker() {
  local name=$1 busybox
  rm -rf "$IMAGES" && mkdir -p "$IMAGES"
  # systemd, as the first process, takes this signal as "power off".
  image '{"Env":["container=docker","'"$IMAGE_PATH"'"],"Entrypoint":["/usr/local/bin/entrypoint","/sbin/init"],"StopSignal":"SIGRTMIN+3"}' \
    "$(node_layer)" "$name"
  # kind starts its load balancer through "bash -c".
  printf '#!/bin/sh\nexec /bin/sh "$@"\n' >"$WORK/bash" && chmod 755 "$WORK/bash"
  busybox=$(layer_of "$WORK/busybox")
  image "{}" \
    "$busybox $(layer_of "$(tree lb /usr/local/bin "$BIN/envoy" "$WORK/bash")")" "$LB_IMAGE"
  archive "$IMAGES" | docker load -q >/dev/null
  say "Docker has $name"
}

# Owners and modes matter here (systemd, containerd's snapshots), so not as in layer_of.
node_layer() {
  local sum
  sum=$(tar -C "$NODE" --numeric-owner -c . | tee "$IMAGES/part" | sha256sum | cut -d' ' -f1)
  mv "$IMAGES/part" "$IMAGES/$sum.tar"
  echo "$sum"
}

# Older node images, unless a cluster still stands on one (docker refuses).
forget_older() {
  local old
  docker images --format '{{.Repository}}:{{.Tag}}' kubectl-etcd/node | while read -r old; do
    [ "$old" = "$1" ] || docker rmi "$old" >/dev/null 2>&1 || say "kept $old: in use"
  done
}

main "$@"
