# VPP Core. `make` alone says what there is; every target works from a fresh clone.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready

# The scenario of `make demo`, and the command that runs it.
DEMO := mv-open-ring
RUN := $(BIN)/vpp run $(DEMO)

# Two workers, whole files each: compiled kernels and cached networks are shared by the tests of one file.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
BENCHMARKS = $(sort $(wildcard benchmarks/[a-z]*.py))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long bench lint format glossary pins clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## a virtual environment in .venv with everything in it, and a browser for the dashboard's tests
	@:

demo: setup ## a simulated day of the MV scenario, its summary, and how to look at it
	@$(RUN)
	@echo
	@echo "See it in the dashboard:  $(BIN)/vpp dash $$(ls -dt runs/$(DEMO)-* | head -n 1)"

test: setup ## all tests but the long ones, house rules included (about 20 minutes)
	@$(PYTEST)

test-long: setup ## all tests (hours: parity over each protocol is an hour of ticks)
	@$(PYTEST) -m "long or not long"

bench: setup ## every benchmark, each as ratios against a named peer
	@set -e; for script in $(BENCHMARKS); do printf '\n== %s\n' "$$script"; $(BIN)/python "$$script"; done

lint: setup ## ruff, mypy and the layers
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

format: setup ## put the code into its one form
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

glossary: setup ## write docs/glossary.md anew from the signals
	@$(BIN)/python docs/make_glossary.py

pins: ## write constraints.txt anew, with the newest versions that pyproject.toml allows
	@rm -rf .venv.pins && $(find-python) && "$$python" -m venv .venv.pins
	@.venv.pins/bin/pip install --quiet --editable ".[dashboard,dnp3,iec61850,dev,oracles]"
	@.venv.pins/bin/pip freeze --exclude-editable > constraints.txt
	@rm -rf .venv.pins

clean: ## take away caches and builds; .venv and runs stay
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Python 3.11 is what the pins were made with; any newer one may do.
define find-python
for python in python3.11 python3.12 python3.13 python3; do \
  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
done; \
test -n "$$python" || { echo "Python 3.11 or newer with venv is needed (Debian: apt-get install python3 python3-venv)"; exit 1; }
endef

# The dashboard's tests drive a real browser.
define find-browser
for browser in chromium chromium-browser google-chrome google-chrome-stable none; do \
  command -v "$$browser" >/dev/null && break; \
done; \
if [ "$$browser" = none ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
  echo "Installing chromium for the dashboard's tests"; \
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium fonts-liberation; } \
    >/dev/null 2>&1 || echo "chromium could not be installed: the dashboard's tests will say so"; \
elif [ "$$browser" = none ]; then \
  echo "No chromium or chrome found; the dashboard's tests need one (Debian: apt-get install chromium fonts-liberation)"; \
fi
endef

$(READY): pyproject.toml constraints.txt
	@$(find-python); test -x $(BIN)/python || "$$python" -m venv .venv
	@echo "Installing into .venv (a minute or two)"
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dashboard,dnp3,iec61850,dev,oracles]"
	@$(find-browser)
	@touch $@
