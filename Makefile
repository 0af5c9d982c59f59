# make demo: from a bare clone to speech on a Kubernetes of your own.   make serve: to speech without one.
# make test: everything, end to end included.
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest

.PHONY: demo serve up down bench overload soak fuzz test test-pure test-controlplane test-node lint crds setup

demo: setup ## cluster up, operator installed, a voice that speaks: demo.wav
	$(PYTHON) -m tests.e2e.demo

serve: setup ## the same voice as processes of this machine, at 127.0.0.1:8080; Ctrl-C ends it
	@$(PYTHON) -m voxraga_operator.cli serve -f $(or $(FILE),manifests/examples/voicemodel.yaml)

up: setup ## the cluster of the demo and the tests, kept
	$(PYTHON) -m tests.cluster up

down: ## ends it; leaves no process, mount, interface, namespace or cgroup
	$(PYTHON) -m tests.cluster down

# A tier that cannot run here is named, with what to do about it, and skipped; a build that fails fails its tests.
# Three processes on two cores: the node's tests and the control plane's wait more than they compute.
test: setup lint ## all three tiers
	$(PYTHON) -m tests.cluster build || echo "test: the node tier does not run; see above. The rest does."
	$(PYTEST) -n 3 --no-loadscope-reorder --cov --cov-report=term:skip-covered

test-pure: setup ## needs no root, no cluster
	$(PYTEST) -n 2 -m "not controlplane and not node"

test-controlplane: setup ## etcd, API server and controllers on loopback; needs no root
	$(PYTEST) -m controlplane

test-node: setup ## real containers, real audio
	$(PYTEST) -m node -s

bench: ## our server beside coqui's own: one table for each model (docs/bench.md); ARGS=--quick for a short look
	scripts/setup --group bench
	@$(PYTHON) -m tests.bench $(ARGS)

overload: ## 200 clients for five minutes, and some that mean no good (docs/robustness.md); ARGS="--minutes 1"
	scripts/setup --group bench
	@$(PYTHON) -m tests.bench.overload $(ARGS)

soak: ## 5000 requests, and whether the memory stays where it is; ARGS="--requests 500"
	scripts/setup --group bench
	@$(PYTHON) -m tests.bench.soak $(ARGS)

fuzz: ## strange bytes, a minute for each target; ARGS="--seconds 600 bundle" for more of one
	scripts/setup --group fuzz
	@PYTHONPATH=runtime:. $(PYTHON) -m tests.fuzz $(ARGS)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy tests/bench tests/cluster tests/e2e tests/fuzz tests/speech
	.venv/bin/lint-imports
	$(PYTHON) -m voxraga_operator crds --check crds/voxraga.io_voicemodels.yaml

crds: setup ## regenerate the CustomResourceDefinitions from the models
	$(PYTHON) -m voxraga_operator crds > crds/voxraga.io_voicemodels.yaml

setup:
	scripts/setup
