# Sourced, not run, by the scripts here, by the Makefile and by anyone who wants the test bed's tools in a shell:
# where everything is kept, which Docker engine is used, and kind, kubectl and etcd's own programs on PATH.
export TESTBED=${TESTBED:-$HOME/.cache/kubectl-etcd-testbed}
# An engine that docker.sh started listens here; the user's own choice goes first.
if [ -z "${DOCKER_HOST:-}" ] && [ -S "$TESTBED/docker.sock" ]; then
  export DOCKER_HOST=unix://$TESTBED/docker.sock
fi
case ":$PATH:" in *":$TESTBED/bin:"*) ;; *) export PATH=$TESTBED/bin:$PATH ;; esac
