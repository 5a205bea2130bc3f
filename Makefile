# `make help` lists the targets. CLUSTER=kind or CLUSTER=existing make every target use that cluster.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV ?= uv
DEVCLUSTER := python3 -m devcluster

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "%-16s %s\n", $$1, $$2}'

.PHONY: setup
setup: .venv/.synced ## Make .venv with everything that development needs, from uv.lock

.venv/.synced: pyproject.toml uv.lock
	$(UV) sync --frozen --all-extras
	@touch $@

.PHONY: cluster
cluster: ## Start a real Kubernetes node with object storage, or what of it is missing
	@$(DEVCLUSTER) up

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
