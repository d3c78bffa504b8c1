# `make help` lists the targets. All of them may be run again at any point.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := operator,trainer,agent,client,cli
GENERATED := crds charts/checkrein/templates/crds charts/checkrein/monitoring manifests/install.yaml manifests/base \
	manifests/monitoring docs/install.md docs/api.md docs/metrics.md
NAME ?= dev
JOBS ?= 2
PLANS ?= 1000
NODE_PLANS ?= 24
.DEFAULT_GOAL := help

.PHONY: help venv docs generate verify check test-unit test test-mutations test-faults test-outages images cluster-up cluster-down demo demo-pictures demo-down pictures bench-log bench-decisions bench-override bench-rollout bench-gates bench-offpolicy bench-operator bench-training clean clean-cache

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(BIN)/complete ## Make the development environment in .venv

# A marker after the last step: an interrupted installation is done again.
$(BIN)/complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]' --group dev
	@touch $@

generate: venv ## Write CRDs, manifests, dashboards, alerts and reference pages from the code and the chart
	$(BIN)/python -m checkrein.api.crds write
	$(BIN)/python -m checkrein.api.reference write
	$(BIN)/python -m manifests.monitoring.generate
	$(BIN)/python -m tests.charts.render

verify: generate ## Fail if what is generated is not what is committed
	@git status --porcelain -- $(GENERATED) | { ! grep . ; } \
		|| { echo 'These generated files are not committed: run `make generate` and commit them.'; exit 1; }

check: venv ## Check format, lint, types, layers and the chart
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/cluster tests/demo tests/e2e tests/bench tests/conftest.py
	$(BIN)/mypy manifests/monitoring/generate tests/monitoring
	PYTHONPATH=operator $(BIN)/lint-imports
	$$($(BIN)/python -m tests.cluster.binaries helm) lint --quiet charts/checkrein --values manifests/minio/values.yaml

test-unit: venv ## Run the tests that need no service, in seconds
	$(BIN)/pytest -m 'not store and not controlplane and not cluster and not learning'

test: venv ## Run all tests, those on a real cluster included
	$(BIN)/pytest -n $(JOBS) --no-loadscope-reorder

docs: venv ## Build the documentation's site into build/site
	$(BIN)/mkdocs build --strict --quiet

test-mutations: venv ## Try all mutations of the samples on a running system
	CHECKREIN_ALL_MUTATIONS=1 $(BIN)/pytest -s tests/faults/test_mutations.py

test-faults: venv ## Play 1,000 plans of faults, and 24 on a node, and kill the operator at each write (PLANS=, NODE_PLANS=)
	CHECKREIN_FAULT_PLANS=$(PLANS) OMP_NUM_THREADS=1 $(BIN)/pytest -s tests/faults/test_everything.py
	CHECKREIN_NODE_FAULT_PLANS=$(NODE_PLANS) OMP_NUM_THREADS=1 $(BIN)/pytest -s tests/e2e/test_plans.py

test-outages: venv ## Leave the store and the API server away for ten real minutes
	CHECKREIN_OUTAGE_SECONDS=600 $(BIN)/pytest -n 4 --no-loadscope-reorder --timeout 1500 -m outage

images: venv ## Build the images of this checkout
	$(BIN)/python -m tests.cluster images

cluster-up: venv ## Bring up a local cluster with the images (NAME=dev)
	$(BIN)/python -m tests.cluster up --name $(NAME)

cluster-down: venv ## Take the local cluster down (NAME=dev)
	$(BIN)/python -m tests.cluster down --name $(NAME)

pictures: venv ## Draw the dashboards' data from real processes into build/pictures
	$(BIN)/python -m tests.monitoring.pictures build/pictures

bench-log: venv ## Measure the decision log, and kill its writer, then a replica, 200 times
	$(BIN)/python -m tests.bench.log

demo: venv ## Show the whole story on a local cluster
	$(BIN)/python -m tests.demo

demo-pictures: venv ## The demo, and its dashboards' data in build/pictures
	$(BIN)/python -m tests.demo --pictures build/pictures

demo-down: venv ## Take the demo's cluster down
	$(BIN)/python -m tests.demo down

bench-decisions: venv ## Measure the agent against other servers (docs/benchmarks.md)
	$(BIN)/python -m tests.bench.decisions

bench-override: venv ## Measure how soon an override takes hold
	$(BIN)/python -m tests.bench.override

bench-rollout: venv ## Measure how soon a bad candidate is gone and an old version back, beside Argo Rollouts
	$(BIN)/python -m tests.bench.rollout

bench-offpolicy: venv ## Measure when off-policy estimates are refused, and whether the others are right
	$(BIN)/python -m tests.bench.offpolicy

bench-gates: venv ## Measure what gates promise, on simulated rollouts
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.gates

bench-operator: venv ## Measure the operator with 10,000 objects, killed leaders, and 1,000 jobs beside KubeRay's
	$(BIN)/python -m tests.bench.operator

bench-training: venv ## Measure what a trainer costs beside bare Stable-Baselines3
	$(BIN)/python -m tests.bench.training

clean: ## Remove what was made in the checkout (slow products stay in ~/.cache/checkrein)
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find operator tests -name __pycache__ -prune -exec rm -rf {} +
	find . -maxdepth 2 -name '*.egg-info' -prune -exec rm -rf {} +

clean-cache: ## Remove the slow products, too: programs, images (no node may be running)
	$(BIN)/python -m tests.cluster forget
