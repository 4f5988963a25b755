# make up | make test | make check | make bench | make wheel

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATIC := src/tramontana/control/static
WEB_SOURCES := $(shell find web/src web/public web/patches -type f 2>/dev/null) $(wildcard web/*.html web/*.ts web/package*.json)

# A file of tests stays in one process, and the longest begin first (conftest.py). Three processes keep two cores busy, as tests wait for
# their peers. Whole systems with timing of their own (marked `system`) come by themselves, two at once: each has a core.
PYTEST := $(BIN)/pytest -rs --durations=15 --durations-min=1
SIDE_BY_SIDE := --dist loadfile --no-loadscope-reorder
PROCESSES ?= 3
SYSTEMS ?= 2

.PHONY: up test check test-web bench wheel web setup setup-dev system-packages clean

up: setup web
	@exec $(BIN)/tramontana up $(ARGS)

setup: $(VENV)/.runtime
web: $(STATIC)/phone.html
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@scripts/requirements python
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Python packages (once; about a minute) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock -r requirements-build.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing development packages (once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Install scripts of packages never run (web/.npmrc); our own patches are applied by name.
web/node_modules/.installed: web/package-lock.json web/.npmrc $(wildcard web/patches/*)
	@scripts/requirements node
	@echo "Installing web packages (once) ..."
	@cd web && npm ci --no-progress --loglevel=error >/dev/null && npx --no-install patch-package
	@touch $@

$(STATIC)/phone.html: web/node_modules/.installed $(WEB_SOURCES)
	@echo "Building the phone and the console ..."
	@cd web && npm run --silent build -- --logLevel error
	@touch $@

check: setup-dev web/node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd web && npx --no-install tsc --noEmit

system-packages:
	@scripts/requirements tests

test-web: web/node_modules/.installed
	cd web && npm test --silent

# ARGS: of pytest, instead of all its tests.
test: system-packages setup-dev web .venv-tak
	@$(MAKE) --no-print-directory -j 2 --output-sync=target check test-web
	$(if $(ARGS),$(PYTEST) $(ARGS),$(PYTEST) -n $(PROCESSES) $(SIDE_BY_SIDE) -m "not system" tests web/tests/ui)
	$(if $(ARGS),,$(PYTEST) -n $(SYSTEMS) $(SIDE_BY_SIDE) -m system)

# satgenpy, the peer of the route benchmark, lives in an environment of its own: it needs old and large packages.
.venv-peers: requirements-peers.lock
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --require-hashes -r $<
	@touch $@

# PESQ and ViSQOL, which rate what is heard in bench/voice_quality.py, and the Opus codec for it.
.venv-voice: requirements-voice.lock
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --require-hashes -r $<
	@touch $@

# taky, the TAK server of the tests: it lives apart, since it installs a package `tests` of its own beside its code.
.venv-tak: requirements-tak.lock
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --require-hashes -r $<
	@touch $@

bench: setup-dev .venv-peers .venv-voice web/node_modules/.installed
	@for bench in bench/*.py; do echo; echo "== $$bench"; $(BIN)/python "$$bench"; done

wheel: setup-dev web
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean:
	rm -rf $(VENV) .venv-peers .venv-voice .venv-tak web/node_modules $(STATIC) dist build
