# Two commands do all the set-up on a machine with Python >= 3.11, make and a C compiler:
#   make run     virtual environment, installation, a session on the made-up market, end card
#   make test    the same installation, then all tests
# make check, make bench and make nightly are for those who change the code.
# Variables: TORCH_INDEX=<address> installs torch from another package index; PYTHON=<program>; VENV=<folder>;
#            ARGS="..." is passed on (to the session, to pytest).

VENV ?= .venv
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)
TORCH_INDEX ?=
ARGS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: help setup run test check nightly bench docs format clean
.DEFAULT_GOAL := help

help:
	@echo "make run      install (first time) and run a session on the made-up market"
	@echo "make test     install (first time) and run all tests"
	@echo "make setup    only install, into $(VENV)"
	@echo "make check    format, lint, types, import contracts, dead code, dependencies"
	@echo "make nightly  slow statistics and soaks"
	@echo "make docs     write the reference pages anew"
	@echo "make bench    benchmarks; figures in docs/benchmarks.md"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed; name it with make PYTHON=..." >&2; exit 2; fi
	@if [ ! -x $(BIN)/python ]; then $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python's venv module is needed (on Debian: the package python3-venv)" >&2; exit 2; }; fi
	@if [ "$$(uname -s)" = Linux ]; then \
	  echo "Downloading about 460 MB (190 MB of it torch's CPU build), 1.9 GB installed in $(VENV)."; \
	  echo "Where the package index has only torch's CUDA build, it is several GB: stop with Ctrl-C and take a CPU index,"; \
	  echo "  make $(firstword $(MAKECMDGOALS) setup) TORCH_INDEX=<address of the index>"; fi
	@if [ -n "$(TORCH_INDEX)" ]; then \
	  $(BIN)/python -m pip install --disable-pip-version-check -qq --no-deps --index-url "$(TORCH_INDEX)" \
	  "$$(grep '^torch==' constraints.txt)"; fi
	$(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt -e '.[dev,postgres]'
	@touch $(STAMP)

run: $(STAMP)
	@$(BIN)/trader run configs/quickstart.toml $(ARGS)

# a worker that dies ends the run: with another in its place pytest-xdist would wait for ever after the last test
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart=0 $(ARGS)

nightly: $(STAMP)
	$(BIN)/python -m pytest -m nightly $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/bandit -q -ll -c pyproject.toml -r trader agents rl portfolio memory

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/python -m trader.cli.reference docs

bench: $(STAMP)
	@for script in $$(ls benchmarks/*.py | grep -v _common); do \
	  echo "== $$script"; $(BIN)/python $$script $(ARGS) || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info .coverage*
