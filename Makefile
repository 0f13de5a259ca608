# The only door. Each target makes what it needs; the first run downloads, the next ones start at once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=
# Each has a PostgreSQL and a RabbitMQ of its own.
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready
BENCH := .venv-bench
BENCH_READY := $(BENCH)/ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/ready
ASSETS := .venv-assets
ASSETS_READY := $(ASSETS)/ready
MODULES := assets/node_modules/.package-lock.json
COMPILE = $(VENV)/bin/uv pip compile pyproject.toml --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet

.PHONY: help demo clients test check bench bench-faces bench-national bench-matching weights soak mutants schemas vendor basemap pins clean

help: ## say what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 24

$(READY): requirements/dev.txt
	@test ! -L $(VENV) \
		|| { echo "$(VENV) is a link: it is somebody else's, who may be using it; make it ready where it belongs"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv is missing: apt install python3-venv (Debian, Ubuntu)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(BENCH_READY): requirements/bench.txt
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

$(PEERS_READY): requirements/peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@

$(ASSETS_READY): requirements/assets.txt
	$(PYTHON) -m venv --clear $(ASSETS)
	$(ASSETS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/assets.txt
	@touch $@

$(MODULES): assets/package-lock.json
	cd assets && npm ci

demo: $(READY) ## a whole federation on this machine (options: ARGS="--networks 3 --no-broker")
	@exec $(RUN) -m demo $(ARGS)

clients: $(READY) ## what the tests read a sync with: npm packages by their lock file, GDAL
	@$(RUN) -m tests.clients.programs

test: clients ## the whole suite, on real PostgreSQL and RabbitMQ that it starts itself
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal --durations 15 $(ARGS)

soak: clients ## the suite with the full counts of injected faults
	MAILLAGE_SOAK=1 $(RUN) -m pytest $(ARGS)

check: $(READY) ## style, types, import rules, drift of generated files, pins
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q tests/test_boundaries.py
	$(RUN) -m schemas --check
	$(RUN) -m tests.vectors --check
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@! grep -nE '://|--(extra-)?index-url|--find-links|--trusted-host' requirements/*.txt \
		&& ! grep -n '"resolved"' tests/clients/package-lock.json \
		|| { echo "a pinned file names a host"; exit 1; }

bench: $(READY) ## measure (options: ARGS)
	$(RUN) -m bench $(ARGS)

bench-faces: $(READY) $(PEERS_READY) ## measure what GIS programs are answered, beside tipg and pygeoapi (needs wrk and PostGIS; options: ARGS)
	$(RUN) -m bench.faces --peers $(PEERS) $(ARGS)

bench-national: $(READY) ## measure the national view at size, and how far its ids move (options: ARGS)
	$(RUN) -m bench.national $(ARGS)

bench-matching: $(BENCH_READY) ## measure the matcher beside others, on the labelled pairs
	$(BENCH)/bin/python -W ignore -m bench.matching $(ARGS)

weights: $(BENCH_READY) ## learn the points of the matcher's policy from labelled pairs (options: ARGS="--pairs … --records …")
	$(BENCH)/bin/python -m bench.learn_weights $(ARGS)

mutants: clients ## hand-made mutants of the important predicates, which the suite must kill
	$(RUN) -m tests.mutants $(ARGS)

schemas: $(READY) ## generate schemas/json and schemas/vectors again
	$(RUN) -m schemas
	$(RUN) -m tests.vectors

vendor: $(READY) $(MODULES) ## take the browser libraries of the pages again, as assets/package-lock.json pins them
	$(RUN) -m assets.vendor

basemap: $(ASSETS_READY) $(MODULES) ## draw the base map of the pages again
	$(ASSETS)/bin/python -m assets.basemap

pins: $(READY) ## compile requirements/*.txt again from pyproject.toml
	$(COMPILE) -o requirements/run.txt
	$(COMPILE) --extra dev -o requirements/dev.txt
	$(COMPILE) --extra bench -o requirements/bench.txt
	$(COMPILE) --extra assets -o requirements/assets.txt
	$(COMPILE) --extra peers -o requirements/peers.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) $(BENCH) $(ASSETS) $(PEERS) assets/node_modules tests/clients/node_modules .cache .demo .mypy_cache .ruff_cache .pytest_cache
