# The commands of the project; CI runs the same ones. Everything they need is installed by them (see README.md).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E env PATH="$$PATH" HOME="$$HOME")
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# Looks at the whole machine for what a cluster has left.
ALONE := tests/e2e/test_cluster.py
# Two files of tests at a time: most of them mostly wait.
BESIDE := -n 2 --dist loadfile
KEEP ?=
KUBE ?= 1.37
# What makes clusters: kind-docker, kind-podman or local. Default: kind where Docker can pull the image of its nodes, else local.
PROVIDER ?=
export KUBE PROVIDER
# What shows that the product works on clusters of another provider.
ON_KIND := tests/contract/kube tests/e2e/test_install.py \
  tests/e2e/test_build.py::test_build_is_ready_only_with_a_job_that_ran_on_every_node \
  tests/e2e/test_runners.py::test_a_job_gets_a_pod_and_nothing_is_left_of_it

.PHONY: help demo demo-runners check lint unit component contract test e2e soak bench bench-runners bench-strangers docs session crds image cluster-up cluster-down cluster-sweep clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.venv/ready: pyproject.toml uv.lock .ci/setup
	.ci/setup
	@touch $@

demo: .venv/ready ## bare metal to a verified Slurm job, before your eyes; KEEP=1 leaves it running
	$(SUDO) $(PY) -m tests.support.demo $(if $(KEEP),--keep)

demo-runners: .venv/ready ## twenty GitLab jobs on pods that come and go, before your eyes; KEEP=1 leaves it running
	$(SUDO) $(PY) -m tests.support.demo_runners $(if $(KEEP),--keep)

check: lint docs unit component ## the inner loop: lint, types, contracts, generated files, unit and component tests

lint: .venv/ready ## style, types, layers, generated files, charts
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m bessemer.crdgen --check
	$(PY) -m tests.support.chart
	ANSIBLE_COLLECTIONS_PATH=/dev/null .venv/bin/ansible-lint -q playbooks

unit: .venv/ready ## unit tests with coverage; they need nothing installed
	$(PYTEST) tests/unit tools -n auto --cov=bessemer --cov-report=term:skip-covered --cov-fail-under=85

component: .venv/ready ## several modules together, on loopback
	$(PYTEST) tests/component

contract: .venv/ready ## the fake and the real thing behind each door pass the same tests
	$(SUDO) $(PYTEST) tests/contract $(BESIDE)

e2e: .venv/ready ## on real Kubernetes with the rack, two clusters side by side; PROVIDER=kind-docker|kind-podman: a few tests on kind
ifneq ($(filter kind-%,$(PROVIDER)),)
	$(SUDO) $(PY) -m tests.support.prepare
	$(SUDO) $(PY) -m local_kubernetes run $(PROVIDER) -- $(PYTEST) $(ON_KIND)
else
	$(SUDO) $(PYTEST) $(ALONE) -m "not soak"
	$(SUDO) $(PYTEST) tests/e2e --ignore $(ALONE) -m "not soak" $(BESIDE)
endif

test: check contract e2e ## everything but the long ones

soak: .venv/ready ## the long ones: many kills, many nodes; and on kind
	$(SUDO) $(PYTEST) tests/e2e -m soak
	$(MAKE) e2e PROVIDER=kind-docker
	$(MAKE) e2e PROVIDER=kind-podman

bench: .venv/ready ## figures, as a table and JSON
	$(SUDO) $(PY) -m tests.bench

bench-runners: .venv/ready ## figures of runner pools, beside GitLab's own executor
	$(SUDO) $(PY) -m tests.bench.runners

bench-strangers: .venv/ready ## figures of the operator's web server, flooded by strangers
	$(PY) -m tests.bench.flood

docs: .venv/ready ## the documents as a site, in build/site; links are checked
	$(PY) -m tests.support.docsite

session: .venv/ready ## draw the session of README.md from its record
	$(PY) -m tests.support.session

crds: .venv/ready ## generate crds/, the CRD chart, the field reference and the table of the chart's values
	$(PY) -m bessemer.crdgen
	$(PY) -m tests.support.chart --write

image: .venv/ready ## build the operator's image as an OCI archive
	$(SUDO) $(PY) -m tests.support.image

cluster-up: .venv/ready ## a Kubernetes for a developer
	$(SUDO) $(PY) -m local_kubernetes up

cluster-down: .venv/ready ## and away with it
	$(SUDO) $(PY) -m local_kubernetes down

cluster-sweep: .venv/ready ## remove the clusters that killed test runs left
	$(SUDO) $(PY) -m local_kubernetes sweep

clean: ## remove what the build left in this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage dist build
