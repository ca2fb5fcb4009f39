PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup test lint format bench docs clean

help:
	@echo "make setup    a virtual environment in $(VENV) with danlu, its tests' tools and PyTorch"
	@echo "make test     all tests"
	@echo "make lint     style, types and the rule of the storeys"
	@echo "make format   let ruff mend what it can"
	@echo "make bench    time danlu against PyTorch and renew the tables of the READMEs"
	@echo "make docs     run every example of the documentation"
	@echo "make clean    remove what these commands made"

setup: $(BIN)/pytest

$(BIN)/pytest: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/run.py --json benchmarks/results.json
	$(BIN)/python benchmarks/table.py

docs: setup
	$(BIN)/python -m pytest danlu tests/unit/test_repository.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
