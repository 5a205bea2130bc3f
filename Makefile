# `make help` lists the targets. CLUSTER=kind, kwok or existing makes every target use that cluster.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Everything that is fetched or built once lives here, outside the tree, shared by all clones.
CACHE := $(or $(KERAS_OPERATOR_CACHE),$(HOME)/.cache/keras-operator)
UV_VERSION := 0.13.9
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
RUN := .venv/bin/
DEVCLUSTER := python3 -m devcluster
PYTEST := $(RUN)python -m pytest
CLANGXX := clang++

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "%-16s %s\n", $$1, $$2}'

.PHONY: setup
setup: .venv/.synced ## Make .venv with everything that development needs, from uv.lock

$(UV):
	@python3 -m venv $(CACHE)/uv-$(UV_VERSION) || { echo "python3 -m venv failed: apt-get install python3-venv" >&2; exit 1; }
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock hatch_build.py $(wildcard model_server/*/*.cpp) | $(UV)
	@$(UV) sync --quiet --frozen --all-extras
	@touch $@

.PHONY: generate
generate: setup ## Write crds/ and docs/api.md from the types
	@$(RUN)python -m keras_operator.api.generate

.PHONY: format
format: setup ## Format the code
	@$(RUN)ruff format --quiet . && $(RUN)ruff check --quiet --fix .

.PHONY: lint
lint: setup ## Check style, types, import directions and that crds/ is what the types say
	@$(RUN)ruff format --check --quiet . || { echo "not formatted: make format" >&2; exit 1; }
	@$(RUN)ruff check --quiet .
	@$(RUN)mypy
	@$(RUN)lint-imports
	@$(RUN)python -m keras_operator.api.generate --check

.PHONY: unit
unit: setup ## Test what needs no cluster
	@$(PYTEST) tests/unit

.PHONY: fuzz
fuzz: setup ## Send the runtime N=10000 damaged requests over each protocol
	@FUZZED_REQUESTS=$(or $(N),10000) $(PYTEST) tests/unit/model_server/test_mutated_requests.py --timeout 1800

.PHONY: fuzz-lists
fuzz-lists: setup ## Look for N=60 seconds for bytes that break the compiled reader of JSON lists (takes clang++)
	@command -v $(CLANGXX) > /dev/null || { echo "no $(CLANGXX): apt-get install clang libclang-rt-14-dev, or name another, as CLANGXX=clang++-14" >&2; exit 1; }
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && mkdir $$folder/corpus && \
		printf '[[1,2.5e3],[-3,0.123456789012345678]]' > $$folder/corpus/floats && \
		printf '[[[12345678901234567890]]]' > $$folder/corpus/integers && \
		$(CLANGXX) -g -O1 -std=c++17 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
			tests/fuzz/number_lists.cpp -o $$folder/fuzz $$($(RUN)python tests/fuzz/python_flags.py) && \
		$$folder/fuzz -max_total_time=$(or $(N),60) -max_len=300 -artifact_prefix=/tmp/ $$folder/corpus

.PHONY: idle-clients
idle-clients: setup ## Let N=10000 clients stay connected to the runtime and say nothing
	@ulimit -n $$(ulimit -Hn) && IDLE_CLIENTS=$(or $(N),10000) $(PYTEST) tests/unit/model_server/test_idle_clients.py

.PHONY: test-cluster
test-cluster: setup cluster ## Test against the real API server
	@$(PYTEST) tests/cluster

.PHONY: e2e
e2e: setup cluster images ## Test end to end on the real node
	@$(PYTEST) tests/e2e

.PHONY: dogs
dogs: setup cluster images ## Train, serve and fine-tune the examples of 120 dog breeds on the real node
	@LONG_TESTS=1 $(PYTEST) tests/e2e/test_dogs.py

.PHONY: store-away
store-away: setup cluster images ## Train and publish while the store is away for more than five minutes
	@LONG_TESTS=1 $(PYTEST) tests/e2e/test_store_away.py -s

.PHONY: request-rate
request-rate: setup cluster images ## Scale a model by requests a second, as Prometheus and prometheus-adapter count them
	@LONG_TESTS=1 $(PYTEST) tests/e2e/test_request_rate.py

.PHONY: hanging-runtime
hanging-runtime: setup cluster images ## Stop a runtime without ending it, and wait for the kubelet to start it again
	@LONG_TESTS=1 $(PYTEST) tests/e2e/test_hanging_runtime.py

.PHONY: two-nodes
two-nodes: setup ## Serve and train on two nodes, drain one, switch it off and on again; ends the cluster
	@trap '$(DEVCLUSTER) down' EXIT; export NODES=2; $(DEVCLUSTER) up; $(DEVCLUSTER) images; $(PYTEST) tests/e2e/test_two_nodes.py

.PHONY: judges
judges: ## Build what judges models in tests: kstatus, Argo CD's Lua, Flux
	@$(DEVCLUSTER) build kstatus argocd-health flux

.PHONY: test-gitops
test-gitops: setup cluster judges images ## Test with Flux, and what kstatus and Argo CD make of every phase
	@$(PYTEST) tests/gitops tests/e2e/test_gitops.py

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }

.PHONY: test-browser
test-browser: setup chromium ## Look at a version's report in Chromium, which is installed where it is missing
	@$(PYTEST) tests/browser

.PHONY: takeovers
takeovers: setup cluster ## Kill, cut off and freeze the leader of two replicas 50 times
	@CHAOS_TAKEOVERS=50 $(PYTEST) tests/chaos/test_takeovers.py -s

.PHONY: partition
partition: setup cluster ## Cut the operator off from its API server for ten minutes
	@CHAOS_PARTITION_SECONDS=600 $(PYTEST) tests/chaos/test_faults.py -k partition

.PHONY: upgrade-test
upgrade-test: setup cluster ## Upgrade the operator under 100 models (UPGRADE_FROM=COMMIT)
	@UPGRADE_MODELS=100 $(PYTEST) tests/chaos/test_upgrade.py -s

# What talks to the node waits for it most of the time. What does not fills that time, at the lowest priority, so that no
# pod waits for it; there a test may take long without having failed.
NODE_TESTS := tests/chaos tests/cluster tests/e2e tests/gitops

.PHONY: test
test: setup chromium ## Test everything, from static checks to end to end, in two lanes at once
	@echo "two lanes: $(NODE_TESTS) on the node, and all other tests; each is printed when it has ended"
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target test-on-the-node test-beside-it

# The first three one after the other, whatever --jobs says.
.PHONY: test-on-the-node
test-on-the-node:
	@$(MAKE) --no-print-directory cluster
	@$(MAKE) --no-print-directory judges
	@$(MAKE) --no-print-directory images
	@$(PYTEST) $(NODE_TESTS) --durations=15

.PHONY: test-beside-it
test-beside-it: lint
	@nice -n 19 $(PYTEST) tests $(NODE_TESTS:%=--ignore=%) --timeout 900 --durations=15

.PHONY: documents
documents: setup cluster ## Try N=100000 generated models (SEED=2) on the real API server, and their children
	@GENERATED_DOCUMENTS=$(or $(N),100000) GENERATED_SEED=$(or $(SEED),2) $(PYTEST) tests/cluster/test_crds_generated.py -s

.PHONY: simulation
simulation: setup ## Live simulated worlds in which everything goes wrong: STEPS=1000000 in all, from world SEED=0 on
	@$(RUN)python -m tests.simulation --steps $(or $(STEPS),1000000) --seed $(or $(SEED),0)

.PHONY: mutation
mutation: setup ## Break plan line by line and see whether a test notices (takes a while)
	@$(RUN)python -m benchmarks.mutation

.PHONY: bench-control-plane
bench-control-plane: setup ## Measure the operator with 500 models and with 500 life cycles, on kwok's nodes (MODELS=5000 RUNS=3)
	@$(RUN)python -m benchmarks.control_plane --runs $(or $(RUNS),1) $(foreach N,$(or $(MODELS),500),--models $(N)) $(if $(LIFECYCLES),--lifecycles $(LIFECYCLES))

.PHONY: bench-serving
bench-serving: setup ## Measure the runtime beside other servers and the limit (ROW=rest for one row, RUNS=3)
	@UV=$(UV) $(RUN)python -m benchmarks.serving --runs $(or $(RUNS),1) $(foreach ROW,$(ROW),--row $(ROW))

.PHONY: bench-rollouts
bench-rollouts: setup cluster images ## Change a served model in every way under vegeta and ghz, and count what fails (an hour and a quarter)
	@$(RUN)python -m benchmarks.rollouts $(if $(REQUESTS),--requests $(REQUESTS))

.PHONY: bench-training
bench-training: setup ## Measure training against what one would write by hand (ROW=pipeline for one row, RUNS=3)
	@$(RUN)python -m benchmarks.training --runs $(or $(RUNS),1) $(foreach ROW,$(ROW),--row $(ROW))

# Read with the Makefile, before anything is built: the demo's time is that of everything a person waits for.
demo: DEMO_STARTED := $(shell date +%s.%N)
demo: DEMO_COLD := $(if $(wildcard $(CACHE)/bin/*),,--cold)
.PHONY: demo
demo: setup cluster images ## Train, publish and serve a model on a real node, and ask it about images it never saw
	@$(RUN)python -m benchmarks.demo --started $(DEMO_STARTED) $(DEMO_COLD)

.PHONY: demo-down
demo-down: cluster-down ## Remove the demo and its cluster

.PHONY: cluster
cluster: ## Start a real Kubernetes node with object storage, or what of it is missing (NODES=2 for two nodes)
	@$(DEVCLUSTER) up

.PHONY: env
env: ## Print what a shell needs to talk to the cluster: . <(make -s env)
	@$(DEVCLUSTER) env

.PHONY: cluster-status
cluster-status: ## Show the cluster's processes and addresses
	@$(DEVCLUSTER) status

.PHONY: cluster-logs
cluster-logs: ## Show the cluster's logs; NAME=kubelet for all of one
	@$(DEVCLUSTER) logs $(NAME)

.PHONY: cluster-down
cluster-down: ## End the cluster and remove every trace of it
	@$(DEVCLUSTER) down

.PHONY: images
images: ## Build the images that changed and load them into the cluster
	@$(DEVCLUSTER) images
