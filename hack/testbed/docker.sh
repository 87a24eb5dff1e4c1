#!/bin/bash
# A Docker engine. If one answers, it is used; otherwise, on Debian and as root, Debian's is installed and started.
#   docker.sh          make an engine answer
#   docker.sh --stop   end the engine that this script started, and no other
set -euo pipefail
. "$(dirname "$0")/lib.sh"
PIDFILE=$TESTBED/docker.pid
SOCKET=unix://$TESTBED/docker.sock

main() {
  lock docker
  if [ "${1:-}" = --stop ]; then stop; return; fi
  if docker_answers; then say "Docker answers at ${DOCKER_HOST:-its default socket}"; return; fi
  if [ "${DOCKER_HOST:-$SOCKET}" != "$SOCKET" ]; then die "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST"; fi
  # Our own engine's socket may be left over from before a reboot, while the machine's engine answers.
  if (unset DOCKER_HOST && docker_answers); then rm -f "$TESTBED/docker.sock"; say "Docker answers at its default socket"; return; fi
  [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] ||
    die "no Docker engine answers, and one can be started here only by root on Debian: start Docker, or set DOCKER_HOST"
  install_packages docker.io:dockerd iptables:iptables
  raise_inotify_limit
  # Where systemd runs, installing the package has started the engine.
  if docker_answers && ! lacks_cap_sys_resource; then say "Docker answers at its default socket"; return; fi
  start
}

# Every kind node runs systemd, containerd and a kubelet, each with several inotify instances, all of one uid: the
# kernel's default of 128 is used up by about three nodes and the next kubelet fails with "too many open files".
raise_inotify_limit() {
  [ "$(cat /proc/sys/fs/inotify/max_user_instances)" -ge 1024 ] && return
  echo 1024 2>/dev/null >/proc/sys/fs/inotify/max_user_instances || say "note: cannot raise fs.inotify.max_user_instances"
}

start() {
  local runtime=() log=$TESTBED/log/dockerd.log deadline=$((SECONDS + 60))
  if lacks_cap_sys_resource; then
    say "no CAP_SYS_RESOURCE here: containers start through runc-wrap"
    install -m755 "$HERE/runc-wrap" "$TESTBED/runc-wrap" # the engine may outlive this checkout
    runtime=(--add-runtime capless="$TESTBED/runc-wrap" --default-runtime capless)
  fi
  rm -f "$PIDFILE" "$TESTBED/docker.sock"
  setsid dockerd --data-root "$TESTBED/docker" --exec-root "$TESTBED/docker-exec" --pidfile "$PIDFILE" \
    -H "$SOCKET" "${runtime[@]}" >>"$log" 2>&1 </dev/null 9>&- &
  export DOCKER_HOST=$SOCKET
  until docker_answers; do
    [ $SECONDS -lt $deadline ] && kill -0 $! 2>/dev/null || die "dockerd did not start: $(tail -3 "$log")"
    sleep .3
  done
  say "dockerd started, pid $(cat "$PIDFILE")"
}

# Only the process that we started: the pid file may outlive it and the number be somebody else's.
stop() {
  local pid
  pid=$(cat "$PIDFILE" 2>/dev/null) || { say "no engine of ours runs"; return; }
  if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "--pidfile $PIDFILE "; then
    kill "$pid"
    timeout 60 tail --pid="$pid" -f /dev/null || die "dockerd (pid $pid) does not end"
    say "dockerd stopped"
  fi
  rm -f "$PIDFILE" "$TESTBED/docker.sock"
}

main "$@"
