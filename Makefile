# kubectl etcd: targets for users and developers. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CGO_ENABLED := 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
PKG     := github.com/kubectl-etcd/kubectl-etcd
LDFLAGS := -s -w -X $(PKG)/pkg/plugin.Version=$(VERSION) -X $(PKG)/pkg/plugin.Commit=$(COMMIT) -X $(PKG)/pkg/plugin.Date=$(DATE)
GOBUILD := go build -trimpath -buildvcs=false
SOURCES := $(shell find cmd pkg manifests -name '*.go' -not -name '*_test.go') go.mod go.sum
AGENTS  := manifests/agents/agent-linux-amd64.zst manifests/agents/agent-linux-arm64.zst

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The agents do not depend on who builds when: their sha256 is part of the plugin.
manifests/agents/agent-linux-%.zst: $(SOURCES)
	GOOS=linux GOARCH=$* $(GOBUILD) -ldflags "-s -w -buildid=" -o bin/agent-linux-$* ./cmd/kubectl-etcd-agent
	go run ./hack/pack bin/agent-linux-$* $@

.PHONY: agents
agents: $(AGENTS) ## build the agents that the plugin carries

bin/kubectl-etcd: $(SOURCES) $(AGENTS) manifests/rbac-backup.yaml
	$(GOBUILD) -ldflags "$(LDFLAGS)" -o $@ ./cmd/kubectl-etcd

.PHONY: build
build: bin/kubectl-etcd ## build bin/kubectl-etcd, agents included
