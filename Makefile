# Everything is set up in .venv on first use; nothing else is needed before any target.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MANY := -n 4 --dist loadfile  # these mostly wait for processes and servers

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test check format lint types bench throughput sessions clean

help:  ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "fastask needs Python 3.11 or newer; run: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

setup: $(VENV)/.ready  ## make the environment

demo: setup  ## run the quickstart by itself and show what happens
	@$(BIN)/python -m examples.quickstart.demo

dev: setup  ## keep the quickstart app running on port 8000
	$(BIN)/python -m uvicorn examples.quickstart.app:app --reload --port 8000

test: setup  ## run all tests
	$(BIN)/python -m pytest tests/unit tests/typing
	$(BIN)/python -m pytest tests/behaviour tests/integration tests/parity $(MANY) -m "not faults"
	$(BIN)/python -m pytest tests/faults tests/integration -n 4 -m faults

check: format lint types test  ## what CI runs

format: setup  ## check the format
	$(BIN)/ruff format --check .

lint: setup  ## check the style
	$(BIN)/ruff check .

types: setup  ## check the types
	$(BIN)/mypy
	$(BIN)/pyright

bench: setup  ## measure what dependencies, sending, waiting, blocking calls and the import cost
	$(BIN)/python -m benchmarks.dependencies
	$(BIN)/python -m benchmarks.dependencies --memory
	$(BIN)/python -m benchmarks.enqueue
	$(BIN)/python -m benchmarks.results
	$(BIN)/python -m benchmarks.blocking
	$(BIN)/python -m benchmarks.imports

throughput: setup  ## measure how many tasks get through, beside other libraries
	$(BIN)/python -m benchmarks.throughput

sessions: setup  ## the tests on every Python, and with the oldest dependencies
	$(BIN)/nox

clean:  ## remove the environment and all caches
	rm -rf $(VENV) .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -exec rm -rf {} +
