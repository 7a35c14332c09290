# The commands of the project; CI runs the same ones. Everything they need is installed by them (see README.md).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E env PATH="$$PATH" HOME="$$HOME")
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# Checks the whole machine for remains of clusters.
ALONE := tests/e2e/test_cluster.py
# Some test files at a time: most tests mostly wait. Those on a cluster have one for each worker.
BESIDE := -n 3 --dist loadfile
ON_CLUSTERS := -n 2 --dist loadfile --no-loadscope-reorder
# Three worker processes on two cores: component tests mostly wait.
QUICKLY := -n 3 --dist worksteal
KEEP ?=
KUBE ?= 1.37
# Provider of clusters: kind-docker, kind-podman or local. Default: kind where Docker can pull the image of its nodes, else local.
PROVIDER ?=
export KUBE PROVIDER
# Write compiled modules to disk even where the environment disables it: tests start many processes.
export PYTHONDONTWRITEBYTECODE :=
# One file for each slow check that passed; it runs again when an input is newer. `make clean` removes them.
PASSED := build/lint
# What shows that the product works on clusters of another provider.
ON_KIND := tests/contract/kube tests/e2e/test_install.py \
  tests/e2e/test_build.py::test_build_is_ready_only_with_a_job_that_ran_on_every_node \
  tests/e2e/test_runners.py::test_a_job_gets_a_pod_and_nothing_is_left_of_it

.PHONY: help demo demo-runners check lint quick unit coverage component contract test e2e soak bench bench-runners bench-strangers bench-triggers docs session crds image cluster-up cluster-down cluster-sweep clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.venv/ready: pyproject.toml uv.lock .ci/setup
	.ci/setup
	@touch $@

demo: .venv/ready ## bare metal to a verified Slurm job, live; KEEP=1 leaves it running
	$(SUDO) $(PY) -m tests.support.demo $(if $(KEEP),--keep)

demo-runners: .venv/ready ## twenty GitLab jobs on pods that are created and deleted, live; KEEP=1 leaves it running
	$(SUDO) $(PY) -m tests.support.demo_runners $(if $(KEEP),--keep)

check: lint docs quick ## the inner loop: lint, documents, unit and component tests

lint: .venv/ready ## style, types, layers, generated files, charts, roles
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-types lint-code $(PASSED)/charts $(PASSED)/playbooks

.PHONY: lint-types lint-code
lint-types:
	.venv/bin/mypy

lint-code:
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/lint-imports
	$(PY) -m bessemer.crdgen --check

$(PASSED)/charts: uv.lock $(wildcard crds/*) $(shell find helm examples tests/support/chart tools/local-kubernetes/local_kubernetes/binaries tools/local-kubernetes/local_kubernetes/go -not -name '*.pyc' -not -name __pycache__)
	$(PY) -m tests.support.chart
	@mkdir -p $(@D) && touch $@

$(PASSED)/playbooks: uv.lock .ansible-lint $(shell find playbooks)
	ANSIBLE_COLLECTIONS_PATH=/dev/null .venv/bin/ansible-lint -q playbooks
	@mkdir -p $(@D) && touch $@

quick: .venv/ready ## unit and component tests in one run, without coverage; property and crash tests with a fifth of their cases
	BESSEMER_TEST_EXAMPLES=few $(PYTEST) tests/unit tools tests/component $(QUICKLY)

unit: .venv/ready ## unit tests; they need nothing installed
	$(PYTEST) tests/unit tools -n auto

coverage: .venv/ready ## what unit tests cover, which takes twice their time; property and crash tests with a fifth of their cases
	BESSEMER_TEST_EXAMPLES=few $(PYTEST) tests/unit tools -n auto --cov=bessemer --cov-report=term:skip-covered --cov-fail-under=85

component: .venv/ready ## several modules together, on loopback
	$(PYTEST) tests/component $(QUICKLY)

contract: .venv/ready ## the fake and the real service behind each client interface pass the same tests
	$(SUDO) $(PYTEST) tests/contract $(BESIDE)

e2e: .venv/ready ## on real Kubernetes with the rack, two clusters side by side; PROVIDER=kind-docker|kind-podman: a few tests on kind
ifneq ($(filter kind-%,$(PROVIDER)),)
	$(SUDO) $(PY) -m tests.support.prepare
	$(SUDO) $(PY) -m local_kubernetes run $(PROVIDER) -- $(PYTEST) $(ON_KIND)
else
	$(SUDO) $(PYTEST) $(ALONE) -m "not soak"
	$(SUDO) $(PYTEST) tests/e2e --ignore $(ALONE) -m "not soak" $(ON_CLUSTERS)
endif

# Contract tests often wait, for installers, daemons and Slurm; meanwhile the processors run unit and component tests.
test: lint docs ## everything except the long tests
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target contract in-pauses
	$(MAKE) --no-print-directory e2e

.PHONY: in-pauses
in-pauses:
	nice $(MAKE) --no-print-directory unit
	nice $(MAKE) --no-print-directory component

soak: .venv/ready ## the long tests: many kills, many nodes; and some tests on kind
	$(SUDO) $(PYTEST) tests/e2e -m soak $(ON_CLUSTERS)
	$(MAKE) e2e PROVIDER=kind-docker
	$(MAKE) e2e PROVIDER=kind-podman

bench: .venv/ready ## measure builds; prints a table and JSON
	$(SUDO) $(PY) -m tests.bench

bench-runners: .venv/ready ## measure runner pools, and GitLab's own executor for comparison
	$(SUDO) $(PY) -m tests.bench.runners

bench-strangers: .venv/ready ## measure the operator's web server under a flood of unauthenticated requests
	$(PY) -m tests.bench.flood

bench-triggers: .venv/ready ## measure build triggers: from a push to the ClusterBuild, and a burst of 1,000
	$(SUDO) $(PY) -m tests.bench.triggers

docs: .venv/ready ## the documents as a site, in build/site; links are checked
	$(PY) -m tests.support.docsite

session: .venv/ready ## draw the session of README.md from its record
	$(PY) -m tests.support.session

crds: .venv/ready ## generate crds/, the CRD chart, the field reference and the table of the chart's values
	$(PY) -m bessemer.crdgen
	$(PY) -m tests.support.chart --write

image: .venv/ready ## build the operator's image as an OCI archive
	$(SUDO) $(PY) -m tests.support.image

cluster-up: .venv/ready ## start a Kubernetes cluster for development
	$(SUDO) $(PY) -m local_kubernetes up

cluster-down: .venv/ready ## remove that cluster
	$(SUDO) $(PY) -m local_kubernetes down

cluster-sweep: .venv/ready ## remove clusters that were left by killed test runs
	$(SUDO) $(PY) -m local_kubernetes sweep

clean: ## remove build products from this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage dist build
