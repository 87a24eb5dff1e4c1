#!/bin/bash
# The root file system of a node: a minimal Debian with what kind's entrypoint, the kubelet and containerd call.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
ROOTFS=$TESTBED/rootfs
SUITE=bookworm
# util-linux, mount, kmod, procps, hostname: kind's entrypoint. conntrack, iptables, nftables, ethtool, iproute2: kube-proxy and
# the kubelet. runc and the CNI plugins: pods. busybox-static: the images with a shell. jq: image.sh, inside the chroot.
PACKAGES=systemd,systemd-sysv,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,e2fsprogs,bash,ca-certificates,jq,procps,runc,busybox-static,hostname,containernetworking-plugins

main() {
  local hash
  hash=$(hash_of "$SUITE" "$PACKAGES")
  up_to_date rootfs "$hash" "$ROOTFS/etc/debian_version" && return
  rm -rf "$ROOTFS"
  say "root file system: debootstrap $SUITE"
  debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$ROOTFS" >"$TESTBED/log/debootstrap.log" 2>&1 ||
    die "debootstrap failed: $TESTBED/log/debootstrap.log"
  rm -rf "$ROOTFS"/var/cache/apt/archives/*.deb "$ROOTFS"/var/lib/apt/lists/* "$ROOTFS"/usr/share/{doc,man,locale,info}/* "$ROOTFS"/var/log/*
  done_with rootfs "$hash"
  say "root file system: done, $(du -sh "$ROOTFS" | cut -f1)"
}

main "$@"
