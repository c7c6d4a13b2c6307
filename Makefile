# Everything needs only Python 3.11 or newer and make; the virtual environment is made on first use.
#   make demo        the main job at smoke size, with its report
#   make test        style, types, architecture and the default tests
#   make test-slow   minutes of training and sampling against known answers
#   make bench       speed comparisons, written to benchmarks.json
# PIP_ARGS is passed to pip: the README says which builds of PyTorch there are to choose from.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
BIN := .venv/bin
STAMP := .venv/installed

# Tests run in this many processes, a file at a time.
PYTEST_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile

# One thread in each process: small batches gain nothing from more, and shared cores lose much.
export OMP_NUM_THREADS ?= 1

.PHONY: install demo test test-slow bench lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/workbench demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(PYTEST)

test-slow: $(STAMP)
	$(PYTEST) -m slow

bench: $(STAMP)
	PIP_ARGS="$(PIP_ARGS)" $(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
