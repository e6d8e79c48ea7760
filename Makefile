# Every target that does something names each of its steps and how long it took, and stops at the first that fails.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

STEP := e2e/checks/step
TOOL := e2e/checks/tool

##@ See it work

.PHONY: demo
demo: ## Show the product on a cluster on this machine; PLATFORM=vault, argocd, jenkins, circleci or cloudwatch
	@e2e/demo/run

.PHONY: try
try: ## Show a connector on this machine, without a cluster and without root; VAULT_ADDR and VAULT_TOKEN for a Vault
	@e2e/try/run

##@ Check it

.PHONY: test
test: check e2e ## Everything: check, then e2e

.PHONY: check
check: check-fmt check-clippy check-unit check-doc check-generated check-deny check-manifests check-cluster check-conformance check-local ## Everything that needs no cluster

.PHONY: check-fmt
check-fmt: ## The code is formatted
	@$(STEP) "format" cargo fmt --all --check

.PHONY: check-clippy
check-clippy: ## The linter finds nothing
	@$(STEP) "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: check-unit
check-unit: ## Unit tests pass
	@$(STEP) "unit tests" cargo test --locked --workspace

.PHONY: check-doc
check-doc: ## Documentation builds without a warning
	@$(STEP) "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: check-generated
check-generated: ## Generated files are what `make generate` would write
	@$(STEP) "generated files" e2e/checks/generate --check

.PHONY: check-deny
check-deny: ## Dependencies have allowed licences and sources, and no known vulnerability
	@$(STEP) "licences, bans and sources" $(TOOL) cargo-deny --locked check --hide-inclusion-graph \
		-D unmatched-skip -D unnecessary-skip licenses bans sources
	@$(STEP) "advisories" e2e/checks/advisories

.PHONY: check-manifests
check-manifests: ## Charts, manifests, alerts and dashboards are sound and agree
	@$(STEP) "charts and manifests" $(TOOL) python -m pytest -m "not cluster" e2e/checks

.PHONY: check-cluster
check-cluster: ## The unit tests of the test cluster's program pass
	@$(STEP) "tests of the test cluster" env PYTHONPATH=e2e/cluster $(TOOL) python -m pytest -q -p no:cacheprovider e2e/cluster/tests

.PHONY: check-conformance
check-conformance: ## The protocol's conformance suites pass on a server that has every fixture they call
	@$(STEP) "build the programs" e2e/checks/programs >/dev/null
	@$(STEP) "conformance suites" $(TOOL) python -m pytest e2e/conformance

.PHONY: check-local
check-local: ## The same manifests work without a cluster, with real clients
	@$(STEP) "build the programs" e2e/checks/programs >/dev/null
	@$(STEP) "without a cluster" $(TOOL) python -m pytest e2e/local

.PHONY: e2e
e2e: ## Stories on a real cluster; e2e/run says what can be set
	@e2e/run

.PHONY: soak
soak: ## Put a connector under load whose platform fails now and then, and see that nothing grows; DURATION=1h, RATE=200
	@$(STEP) "build the programs" e2e/checks/programs >/dev/null
	@$(STEP) "soak" env PYTHONPATH=e2e $(TOOL) python -m soak --duration $(or $(DURATION),1h) --rate $(or $(RATE),200)

.PHONY: bench
bench: ## Measure the server beside its peers, guards under stress, platforms, the operator, local, and the agent; writes benches/RESULTS.md
	@$(STEP) "bench serve" python3 -m benches.serve
	@$(STEP) "bench resilience" python3 -m benches.resilience
	@$(STEP) "bench platforms" python3 -m benches.platforms
	@$(STEP) "bench operator" python3 -m benches.operator
	@$(STEP) "bench local" python3 -m benches.local
	@$(STEP) "build vault" e2e/cluster/cluster build --only vault >/dev/null
	@$(STEP) "bench agent" python3 -m benches.agent

##@ Build it

.PHONY: generate
generate: ## Write crds/, the chart's copy of them, config/samples, config/argocd, docs/api.md, docs/platforms.md and its table in the README
	@$(STEP) "generate" e2e/checks/generate
	@$(STEP) "states for Argo CD" env MCP_CONNECTORS_WRITE_STATES=1 cargo test --locked --quiet --lib status::states

.PHONY: image
image: ## Build the image as an OCI archive in build/; PROFILE=quick for a quicker build
	@$(STEP) "image" e2e/image/build

.PHONY: release
release: ## Write a release into build/release; IMAGE=registry/name, ARCH=amd64 or arm64, ALLOW_DIRTY=1
	@$(STEP) "release" e2e/release/build $(if $(IMAGE),--image "$(IMAGE)") $(if $(ARCH),--architecture "$(ARCH)") \
		$(if $(ALLOW_DIRTY),--allow-dirty)

.PHONY: release-check
release-check: ## Build a release twice, in two folders, and compare; takes as long as two full builds
	@$(STEP) "release is reproducible" e2e/release/check

.PHONY: cluster-up
cluster-up: ## Start the test cluster
	@$(STEP) "cluster up" e2e/cluster/cluster up

.PHONY: cluster-down
cluster-down: ## Stop the test cluster and leave nothing of it behind
	@$(STEP) "cluster down" e2e/cluster/cluster down

.PHONY: clean
clean: ## Remove what was built in this folder
	@$(STEP) "clean" bash -c 'cargo clean && rm -rf build && find e2e -name __pycache__ -prune -exec rm -rf {} +'

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
