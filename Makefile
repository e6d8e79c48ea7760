# Every target that does something names each of its steps and how long it took, and begins nothing new when one fails.
# `make times` shows where the time went; CONTRIBUTING.md tells more.
#   VERBOSE=1   shows the output of all steps as it comes, not only of one that fails
#   LANES=1     one step after the other; two lanes if unset
#   WAIT=1      waits for another run to end

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

STEPS := python3 e2e/checks/steps
STEP := e2e/checks/step
TOOL := e2e/checks/tool
CARGO := e2e/checks/cargo
LANES ?= 2

CHECK_STEPS := check-fmt programs check-clippy tests check-unit check-doc check-go check-generated check-deny check-manifests \
	check-documents check-cluster check-conformance check-local
E2E_STEPS := programs e2e-go e2e-start e2e-image e2e-load e2e-vault e2e-redis e2e-api-server e2e-stories

# A run of make is two: the outer one has the runner look whether the run can succeed, and keep its times; the inner one,
# which the runner starts, has the rules.
ifndef STEPS_RUN

.NOTPARALLEL:
WHOLE := test check e2e
RECORDED := $(WHOLE) demo try soak bench generate image release release-check $(sort $(CHECK_STEPS) $(E2E_STEPS))

.PHONY: $(RECORDED)
$(RECORDED):
	@$(STEPS) run $@ $(MAKE_COMMAND) $(if $(filter $(WHOLE),$@),-j$(LANES)) $@

else

# Two lanes share the two cores. Each step waits for the one before it in its lane, beside what it needs: so no two compile
# with cargo at once, one of which would only wait for the other's lock, and nothing runs beside the stories.
LANE_1 := check-fmt programs check-clippy tests check-unit e2e-stories
LANE_2 := check-go e2e-go e2e-start check-deny check-cluster check-manifests e2e-api-server e2e-image e2e-load \
	check-generated check-documents check-conformance check-local e2e-vault e2e-redis check-doc

STEPS_OF_test := $(CHECK_STEPS) $(E2E_STEPS)
STEPS_OF_check := $(CHECK_STEPS)
STEPS_OF_e2e := $(E2E_STEPS)
# $(call lane,a b c) lets b wait for a, and c for b.
lane = $(if $(word 2,$1),$(eval $(word 2,$1): | $(word 1,$1))$(call lane,$(wordlist 2,$(words $1),$1)))
$(call lane,$(filter $(STEPS_OF_$(MAKECMDGOALS)),$(LANE_1)))
$(call lane,$(filter $(STEPS_OF_$(MAKECMDGOALS)),$(LANE_2)))

# What runs the compiled programs.
check-generated check-documents check-conformance check-local e2e-image e2e-vault e2e-redis: programs
check-manifests check-documents: check-go
check-unit: tests
# The compiler is free while tests run. Documentation comes last: what is begun before it has found by then that it is compiled, for
# which it would wait while documentation compiles.
ifeq ($(MAKECMDGOALS),test)
e2e-vault: tests
e2e-stories: check-doc
endif
ifeq ($(MAKECMDGOALS),check)
check-doc: check-unit
endif
e2e-start: e2e-go
e2e-load: e2e-start e2e-image
e2e-vault: e2e-go
e2e-api-server: e2e-start
e2e-stories: e2e-load e2e-api-server e2e-vault e2e-redis

##@ See it work

.PHONY: demo
demo: ## Show the product on a cluster on this machine; PLATFORM=vault, argocd, jenkins, circleci or cloudwatch
	@e2e/demo/run

.PHONY: try
try: ## Show a connector on this machine, without a cluster and without root; VAULT_ADDR and VAULT_TOKEN for a Vault
	@e2e/try/run

##@ Check it

.PHONY: test
test: $(STEPS_OF_test) ## Everything: check and e2e

.PHONY: check
check: $(CHECK_STEPS) ## Everything that needs no cluster

.PHONY: e2e
e2e: $(E2E_STEPS) ## Stories on a real cluster; e2e/run says what can be set

.PHONY: programs
programs:
	@$(STEP) "build the programs" e2e/checks/programs

.PHONY: check-go
check-go:
	@$(STEP) "build kubectl, helm and Argo CD" e2e/cluster/cluster build --only kubectl helm argocd kstatus

.PHONY: check-fmt
check-fmt: ## The code is formatted
	@$(STEP) "format" cargo fmt --all --check

.PHONY: check-clippy
check-clippy: ## The linter finds nothing
	@$(STEP) "clippy" $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@e2e/checks/dependencies keep

.PHONY: tests
tests:
	@$(STEP) "build the tests" $(CARGO) test --locked --workspace --no-run
	@e2e/checks/dependencies keep

.PHONY: check-unit
check-unit: ## Unit tests pass
	@$(STEP) "unit tests" e2e/checks/unit-tests --locked --workspace

.PHONY: check-doc
check-doc: ## Documentation builds without a warning
	@$(STEP) "documentation" env RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

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
	@$(STEP) "charts and manifests" $(TOOL) python -m pytest -m "not cluster" --ignore e2e/checks/test_documents.py e2e/checks

.PHONY: check-documents
check-documents: ## Every command in a document is one that the programs take
	@$(STEP) "documents" $(TOOL) python -m pytest e2e/checks/test_documents.py

.PHONY: check-cluster
check-cluster: ## The unit tests of the test cluster's program pass
	@$(STEP) "tests of the test cluster" env PYTHONPATH=e2e/cluster $(TOOL) python -m pytest -q -p no:cacheprovider e2e/cluster/tests

.PHONY: check-conformance
check-conformance: ## The protocol's conformance suites pass on a server that has every fixture they call
	@$(STEP) "conformance suites" $(TOOL) python -m pytest e2e/conformance

.PHONY: check-local
check-local: ## The same manifests work without a cluster, with real clients
	@$(STEP) "without a cluster" $(TOOL) python -m pytest --numprocesses 2 e2e/local

.PHONY: e2e-go
e2e-go:
	@$(STEP) "build the cluster's programs" e2e/cluster/cluster build --for test

.PHONY: e2e-start
e2e-start:
	@$(STEP) "start the cluster" e2e/run start

.PHONY: e2e-image
e2e-image:
	@$(STEP) "build the image" e2e/run image

.PHONY: e2e-load
e2e-load:
	@$(STEP) "load the image" e2e/run load

.PHONY: e2e-vault
e2e-vault:
	@$(STEP) "Vault's client on a real Vault" e2e/run vault

.PHONY: e2e-redis
e2e-redis:
	@$(STEP) "the shared rate limit on a real Redis" e2e/run redis

.PHONY: e2e-api-server
e2e-api-server:
	@$(STEP) "manifests on a real API server" e2e/run api-server

.PHONY: e2e-stories
e2e-stories:
	@e2e/run stories

.PHONY: soak
soak: programs ## Put a connector under load whose platform fails now and then, and see that nothing grows; DURATION=1h, RATE=200
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
	@$(STEP) "states for Argo CD" env MCP_CONNECTORS_WRITE_STATES=1 $(CARGO) test --locked --quiet --package mcp-connectors-operator --lib status::states

.PHONY: image
image: ## Build the image as an OCI archive in build/; PROFILE=dev for a quicker build
	@$(STEP) "image" e2e/image/build

.PHONY: release
release: ## Write a release into build/release; IMAGE=registry/name, ARCH=amd64 or arm64, ALLOW_DIRTY=1
	@$(STEP) "release" e2e/release/build $(if $(IMAGE),--image "$(IMAGE)") $(if $(ARCH),--architecture "$(ARCH)") \
		$(if $(ALLOW_DIRTY),--allow-dirty)

.PHONY: release-check
release-check: ## Build a release twice, in two folders, and compare; takes as long as two full builds
	@$(STEP) "release is reproducible" e2e/release/check

endif

.PHONY: versions
versions: ## Stories of Argo CD and Vault on an older version of both, and on a newer Vault; e2e/versions says which
	@e2e/versions

.PHONY: cluster-up
cluster-up: ## Start the test cluster
	@$(STEP) "cluster up" e2e/cluster/cluster up

.PHONY: cluster-down
cluster-down: ## Stop the test cluster and leave nothing of it behind
	@$(STEP) "cluster down" e2e/cluster/cluster down

.PHONY: clean
clean: ## Remove what was built in this folder
	@$(STEP) "clean" bash -c 'cargo clean && rm -rf build && find e2e -name __pycache__ -prune -exec rm -rf {} +'

.PHONY: times
times: ## Show again where the time of the last run went
	@$(STEPS) times

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
