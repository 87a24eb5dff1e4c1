#!/bin/bash
# Everything but tests. Each check says one line; what a failed one printed follows it. All checks run, whatever fails.
#   verify.sh           all
#   verify.sh NAME...   only these (the names are in the output)
set -euo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="${GOFLAGS:--trimpath -buildvcs=false}" CGO_ENABLED=0
. hack/testbed/env.sh
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PASSED=0 FAILED=0 SKIPPED=0
# The compiler that made the committed loaders: another one makes other bytes of the same source.
LOADER_GCC=12.2.0

main() {
  local checks=(format vet other-systems staticcheck lint loader reference tidy krew commits vulnerabilities) check
  if [ $# -gt 0 ]; then checks=("$@"); fi
  for check in "${checks[@]}"; do run "$check"; done
  echo "verify: $PASSED checks passed, $FAILED failed, $SKIPPED skipped in $SECONDS s"
  [ "$FAILED" = 0 ]
}

# run NAME: a check is the function check_NAME. It fails by its exit code; with 77 it was not possible, and its last line says why.
run() {
  local name=$1 started=$SECONDS code=0
  # A subshell of its own, not in a condition, so that the first failing command ends the check.
  set +e
  (set -e; "check_${name//-/_}") >"$WORK/out" 2>&1
  code=$?
  set -e
  case $code in
  0) PASSED=$((PASSED + 1)) && printf 'ok       %-16s %3d s\n' "$name" $((SECONDS - started)) && { grep '^warning:' "$WORK/out" || true; } ;;
  77) SKIPPED=$((SKIPPED + 1)) && printf 'skipped  %-16s %s\n' "$name" "$(tail -1 "$WORK/out")" ;;
  *) FAILED=$((FAILED + 1)) && printf 'FAILED   %-16s %3d s\n' "$name" $((SECONDS - started)) && cat "$WORK/out" ;;
  esac
}

skip() { echo "$*"; exit 77; }

check_format() {
  local bad
  bad=$(gofmt -l cmd pkg manifests hack test)
  [ -z "$bad" ] || { echo "not formatted (gofmt -w): $bad"; exit 1; }
}

check_vet() {
  go vet ./...
  go vet -tags e2e,bench ./test/e2e/...
  go vet -tags dist ./hack/dist
  (cd test/streaming && go vet ./...)
  # Not kube and coredns of the test bed: vet looks at all that they link, three minutes for three files.
  local module
  for module in lb pause; do (cd "hack/testbed/mod/$module" && go vet ./...); done
}

# What only other systems compile: locks, terminals, signals. By its types: to compile all that the plugin links, twice more,
# takes minutes.
check_other_systems() {
  (cd hack/tools && go build -o "$WORK/typecheck" ./typecheck)
  local system
  for system in windows/amd64 darwin/arm64; do
    export GOOS=${system%/*} GOARCH=${system#*/}
    go list -deps -f '{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}' ./cmd/kubectl-etcd | xargs "$WORK/typecheck"
  done
}

check_staticcheck() {
  (cd hack/tools && go build -o "$WORK/staticcheck" honnef.co/go/tools/cmd/staticcheck)
  "$WORK/staticcheck" -tags e2e,bench,dist ./...
  (cd test/streaming && "$WORK/staticcheck" ./...)
}

check_lint() { go run ./hack/lint; }

check_loader() {
  local program missing=()
  for program in x86_64-linux-gnu-gcc aarch64-linux-gnu-gcc; do command -v $program >/dev/null || missing+=("${program%-gcc}"); done
  if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || skip "no C compiler for ${missing[*]}, and only root on Debian can install it here"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gcc-x86-64-linux-gnu gcc-aarch64-linux-gnu; } >"$WORK/apt" 2>&1 ||
      skip "the C compilers cannot be installed: $(tail -1 "$WORK/apt")"
  fi
  for program in x86_64-linux-gnu-gcc aarch64-linux-gnu-gcc; do
    [ "$($program -dumpfullversion)" = "$LOADER_GCC" ] || skip "the loader was made by gcc $LOADER_GCC; $program here is $($program -dumpfullversion) and makes other bytes"
  done
  mkdir "$WORK/loader"
  manifests/loader/build.sh "$WORK/loader"
  for arch in amd64 arm64; do
    cmp "$WORK/loader/loader-$arch" "manifests/loader/loader-$arch" || { echo "the committed loader is not what its source gives; run: make loader"; exit 1; }
  done
}

check_reference() { go run ./hack/docs -check docs/reference; }

check_tidy() {
  local module bad=0
  for module in $(find . -name go.mod -not -path './bin/*' -not -path './dist/*' | sort); do
    (cd "$(dirname "$module")" && GOFLAGS= go mod tidy -diff) >"$WORK/tidy" 2>"$WORK/tidy.err" || { bad=1; echo "$module: not tidy"; cat "$WORK/tidy" "$WORK/tidy.err"; }
  done
  [ $bad = 0 ]
}

check_krew() { go run ./hack/dist -check-template; }

# Subjects since this commit; those before it are longer.
COMMITS_SINCE=932ccc3c82e46803926512947bc0fcbe9f860c96
check_commits() {
  git merge-base --is-ancestor $COMMITS_SINCE HEAD 2>/dev/null || skip "${COMMITS_SINCE:0:7}, since which subjects are short, is not in the history that is here"
  local long
  long=$(git log --no-merges --format='%h %s' "$COMMITS_SINCE..HEAD" | awk '{ h = $1; s = substr($0, length(h) + 2); if (length(s) > 72) print h ": " length(s) " characters: " s }')
  [ -z "$long" ] || { echo "a subject has at most 72 characters"; echo "$long"; exit 1; }
}

check_vulnerabilities() {
  (cd hack/tools && go build -o "$WORK/govulncheck" golang.org/x/vuln/cmd/govulncheck)
  # The smallest question first: without its database there is nothing to say, and it would take minutes to find out.
  timeout 30 "$WORK/govulncheck" -mode=query -json stdlib@go1.26.0 >/dev/null 2>&1 || skip "govulncheck: database not reachable, skipped"
  "$WORK/govulncheck" ./cmd/...
}

main "$@"
