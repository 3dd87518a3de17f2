# Two commands to begin with: `make demo` and `make test`. Each sets up its own environment in $(VENV) first.
PYTHON  ?= python3
VENV    ?= .venv
BACKEND ?= local
BIN     := $(VENV)/bin
NBVAL   := -p tests.notebooks.private_clusters -p tests.notebooks.display_updates --nbval --nbval-current-env \
           --nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 120

.PHONY: help setup demo test test-unit test-docker test-notebooks notebooks lab lint bench bench-quick clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

setup: $(BIN)/.ready  ## create the environment with all tools (the other commands do it when needed)

# The demo needs no tools, so it does not wait for them.
$(BIN)/.demo-ready: pyproject.toml | $(BIN)/python
	@echo "Installing clipper_magic into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docker]'
	@touch $@

# Nor do the lessons: this is all that a class installs.
$(BIN)/.lab-ready: pyproject.toml | $(BIN)/python
	@echo "Installing JupyterLab and what the lessons use into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab]'
	@touch $@

$(BIN)/.ready: pyproject.toml | $(BIN)/python
	@echo "Installing clipper_magic and its tools into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "clipper_magic needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

demo: $(BIN)/.demo-ready  ## run the quickstart: cluster, application, model, link, prediction, stop (BACKEND=docker for containers)
	@CLIPPER_BACKEND=$(BACKEND) $(BIN)/python notebooks/scripts/quickstart.py

test: setup lint  ## run every test that this machine can run; skipped ones say why
	$(BIN)/python -m pytest tests
	$(MAKE) test-notebooks

test-unit: setup  ## run the tests that start no process
	$(BIN)/python -m pytest tests/unit

test-docker: setup  ## run the tests that need a Docker engine
	CLIPPER_TEST_REQUIRE=docker $(BIN)/python -m pytest tests/docker

test-notebooks: setup  ## execute the lessons in both languages and compare with their stored outputs
	$(BIN)/python -m notebooks.build --check
	$(BIN)/python -m pytest $(NBVAL) notebooks

notebooks: setup  ## rebuild the French lessons from the English ones and execute both
	$(BIN)/python -m notebooks.build --execute

lab: $(BIN)/.lab-ready  ## open the lessons in JupyterLab
	$(BIN)/jupyter lab --notebook-dir notebooks

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## measure beside the peers (installs them in environments of their own; about an hour)
	$(BIN)/python -m tests.benchmarks.run

bench-quick: setup  ## the same table without peers, in three minutes
	$(BIN)/python -m tests.benchmarks.run --quick

clean:  ## remove the environment and caches
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
