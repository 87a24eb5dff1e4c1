# kubectl etcd: targets for users and developers. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The same flags everywhere, so that programs, tests and linters share what is compiled once.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false $(GOFLAGS)

# Without it the client of GCS brings all of gRPC's load balancers: 19 MB.
TAGS := disable_grpc_modules
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
# A release's version has to be one: where no tag says it, it is a pre-release of nothing.
RELEASE ?= $(if $(filter v%,$(VERSION)),$(VERSION),v0.0.0-g$(COMMIT))
PKG     := github.com/kubectl-etcd/kubectl-etcd
LDFLAGS  = -s -w -X $(PKG)/pkg/plugin.Version=$(1) -X $(PKG)/pkg/plugin.Commit=$(COMMIT) -X $(PKG)/pkg/plugin.Date=$(DATE)
SOURCES := $(shell find cmd pkg manifests -name '*.go' -not -name '*_test.go') go.mod go.sum
LOADERS := manifests/loader/loader-amd64 manifests/loader/loader-arm64
AGENTS  := manifests/agents/agent-linux-amd64.zst manifests/agents/agent-linux-arm64.zst

TESTBED ?= $(HOME)/.cache/kubectl-etcd-testbed
export TESTBED
export ETCD_BINARIES ?= $(TESTBED)/bin

# For `make cluster` and `make e2e`.
NODES ?= 1
ETCD  ?= 3.6.8-0
NAME  ?= dev
RUN   ?=
# For `make unit`: so many busy loops beside the tests.
LOAD  ?= 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# ---- build -----------------------------------------------------------------------------------------------------------

.PHONY: build
build: bin/kubectl-etcd ## build bin/kubectl-etcd, agents included

bin/kubectl-etcd: $(SOURCES) $(AGENTS) $(LOADERS) $(wildcard manifests/rbac-*.yaml)
	go build -tags $(TAGS) -ldflags "$(call LDFLAGS,$(VERSION))" -o $@ ./cmd/kubectl-etcd

.PHONY: agents
agents: $(AGENTS) ## build the agents that the plugin carries

# The agents do not depend on who builds when: their sha256 is part of the plugin.
manifests/agents/agent-linux-%.zst: $(SOURCES)
	GOOS=linux GOARCH=$* go build -ldflags "-s -w -buildid=" -o bin/agent-linux-$* ./cmd/kubectl-etcd-agent
	go run ./hack/pack bin/agent-linux-$* $@

.PHONY: loader
loader: ## rebuild the loader from C (kept in git; needs gcc for amd64 and arm64)
	manifests/loader/build.sh

.PHONY: docs
docs: ## write docs/reference from the commands' own help
	go run ./hack/docs docs/reference

.PHONY: dist
dist: $(AGENTS) ## make release archives for all platforms, and the krew manifest
	go run ./hack/dist -version $(RELEASE) -ldflags "$(call LDFLAGS,$(RELEASE))" -out dist

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin dist $(AGENTS)

# ---- see it work ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: build ## a real cluster, a backup of its etcd, the proof, what is in it, and a restore (KEEP=1 keeps the cluster)
	hack/demo.sh

.PHONY: cluster
cluster: ## make or reuse a kind cluster: NODES=3 ETCD=3.7.3-0 NAME=dev
	@kubeconfig=$$(hack/testbed/cluster.sh $(NAME) $(NODES) $(ETCD)); echo "export KUBECONFIG=$$kubeconfig PATH=$(CURDIR)/bin:$(TESTBED)/bin:\$$PATH"

.PHONY: clean-clusters
clean-clusters: ## delete every cluster made here
	hack/testbed/clean.sh

.PHONY: testbed
testbed: ## a Docker engine and the node image that clusters are made of (eleven minutes once)
	hack/testbed/image.sh

.PHONY: testbed-bin
testbed-bin: ## only etcd's own programs, which the unit tests start
	hack/testbed/binaries.sh tools

.PHONY: compiler
compiler: ## a C compiler, which the race detector needs
	hack/testbed/compiler.sh

# ---- test ----------------------------------------------------------------------------------------------------------------

.PHONY: test
test: build testbed-bin testbed compiler ## every test: unit, streaming, race, dist, e2e
	go run ./hack/suites unit streaming race dist e2e

.PHONY: unit
unit: testbed-bin $(AGENTS) ## tests without a cluster, but with real etcd processes (RUN=regexp; LOAD=6 beside six busy loops)
	go run ./hack/suites -run '$(RUN)' -load $(LOAD) unit

.PHONY: streaming
streaming: ## transfers against the real streaming server, with faults on both legs (RUN=regexp)
	go run ./hack/suites -run '$(RUN)' streaming

.PHONY: race
race: testbed-bin compiler $(AGENTS) ## what starts goroutines, under the race detector; it needs a C compiler (RUN=regexp)
	go run ./hack/suites -run '$(RUN)' race

.PHONY: dist-test
dist-test: $(AGENTS) ## a release archive for this machine: the same twice, unpacks, runs
	go run ./hack/suites dist

.PHONY: e2e
e2e: build ## the plugin against real clusters (RUN=regexp KEEP=1)
	go run ./hack/suites -run '$(RUN)' e2e

.PHONY: e2e-full
e2e-full: build testbed-bin testbed ## every interruption of a restore, and every end-to-end test (hours)
	hack/testbed/binaries.sh older
	RESTORE_CELLS=all go test -count=1 -timeout=120m -run='Interrupted' -v ./test/operations
	E2E_SHARE=all go test -count=1 -tags=e2e -timeout=600m -v ./test/e2e/...

.PHONY: bench
bench: build ## the tables of docs/performance.md, measured here
	$(MAKE) bench-backup
	hack/testbed/clean.sh bench
	$(MAKE) bench-restore bench-static bench-open

.PHONY: bench-backup
bench-backup: build ## only those of backups
	@kubeconfig=$$(hack/testbed/cluster.sh bench 1 3.6.8-0-sh); . hack/testbed/env.sh; go run ./hack/bench -cluster bench -kubeconfig "$$kubeconfig"

.PHONY: bench-restore
bench-restore: build ## only that of restores (BENCH_RESTORE_SIZES=64Mi,2Gi BENCH_RESTORE_ROUNDS=3)
	@report=$$(mktemp); trap 'cat "$$report"; rm -f "$$report"' EXIT; \
	BENCH_RESTORE_REPORT=$$report go test -count=1 -tags=e2e,bench -timeout=300m -run='^TestRestoreBench$$' -v ./test/e2e >&2

.PHONY: bench-static
bench-static: build ## only that of restores of a cluster's own etcd (BENCH_STATIC_SIZES=64Mi,1Gi BENCH_STATIC_ROUNDS=3)
	@report=$$(mktemp); trap 'cat "$$report"; rm -f "$$report"' EXIT; \
	BENCH_STATIC_REPORT=$$report go test -count=1 -tags=e2e,bench -timeout=300m -run='^TestStaticBench$$' -v ./test/e2e >&2

.PHONY: bench-open
bench-open: build ## only that of opening a snapshot (BENCH_OPEN_SIZES=64Mi,1Gi)
	@report=$$(mktemp); trap 'cat "$$report"; rm -f "$$report"' EXIT; \
	BENCH_OPEN_REPORT=$$report go test -count=1 -tags=e2e,bench -timeout=60m -run='^TestOpenBench$$' -v ./test/e2e >&2

.PHONY: verify
verify: ## everything but tests: format, vet, linters, generated files, manifests
	hack/verify.sh
