# make demo: from a bare clone to speech on a Kubernetes of your own.   make serve: to speech without one.
# make test: everything, end to end included.
SHELL := /bin/bash
UV := PATH="$$PATH:$${XDG_CACHE_HOME:-$$HOME/.cache}/voxraga/uv/bin" uv run --no-sync --quiet
PYTHON := $(UV) python
PYTEST := $(UV) pytest

.PHONY: demo serve up down test test-pure test-controlplane test-node lint crds images setup setup-pure

demo: setup ## cluster up, operator installed, a voice that speaks: demo.wav
	$(PYTHON) -m tests.e2e.demo

serve: setup-pure ## the same voice as processes of this machine, at 127.0.0.1:8080; Ctrl-C ends it
	@$(PYTHON) -m voxraga_operator.cli serve -f $(or $(FILE),manifests/examples/voicemodel.yaml)

up: setup ## the cluster of the demo and the tests, kept
	$(PYTHON) -m tests.cluster up

down: ## ends it; leaves no process, mount, interface, namespace or cgroup
	$(PYTHON) -m tests.cluster down

test: setup lint ## all three tiers
	$(PYTHON) -m tests.cluster build
	$(PYTEST) --cov --cov-report=term:skip-covered

test-pure: setup-pure ## seconds; needs no root
	$(PYTEST) -m "not controlplane and not node"

test-controlplane: setup ## etcd, API server and controllers on loopback; needs no root
	$(PYTEST) -m controlplane

test-node: setup ## real containers, real audio
	$(PYTHON) -m tests.cluster build
	$(PYTEST) -m node -s

lint:
	$(UV) ruff check .
	$(UV) ruff format --check .
	$(UV) mypy
	$(UV) lint-imports
	$(PYTHON) -m voxraga_operator crds --check crds

crds: ## regenerate crds/ from the models
	$(PYTHON) -m voxraga_operator crds

setup:
	scripts/setup cluster

setup-pure:
	scripts/setup pure
