PYTHON ?= python3.11
HOURS ?= 8
PART ?=
RECIPE ?= recipes/quickstart.yaml
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Two processes of one thread: much of a test is waiting, for a killed run or a pause of the network, and a file's tests
# share what they set up; in order, since the files with few tests (killed runs) take longest and would come last.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: help quickstart setup lint check test format tree docs replicate bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

quickstart: $(VENV)/.train ## install, distil the offline lab recipe, print the table and the path of the page
	$(BIN)/feints run $(RECIPE)

setup: $(VENV)/.dev ## make .venv with everything for development

lint: $(VENV)/.dev ## format, lint, types and import contracts
	$(BIN)/ruff format --check --quiet src tests benchmarks
	$(BIN)/ruff check --quiet src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## the gate: lint, then the fast tests
	$(PYTEST) -m "not slow and not browser"

test: lint ## everything: lint, then the fast, the slow and the browser tests
	$(PYTEST)

format: $(VENV)/.dev ## put the code into the house style
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

tree: $(VENV)/.dev ## write the file tree of the README anew from the docstrings
	$(BIN)/python tests/readme_tree.py

docs: $(VENV)/.dev ## build the documentation into site/
	$(BIN)/mkdocs build --strict

replicate: $(VENV)/.dev ## try every claim of the papers in the lab: PART="tdg ..." for a part, HOURS=8; resumes
	$(BIN)/python benchmarks/replicate.py run --hours $(HOURS) --part $(PART)

bench: $(VENV)/.dev ## measure beside the peers, each in its own environment: PART="verify ..." for a part, AGAIN=1; resumes
	$(BIN)/python benchmarks/bench.py --part "$(PART)" $(if $(AGAIN),--again)

clean: ## remove .venv and everything built
	rm -rf $(VENV) .bench site build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

# torch comes first and by its exact version, so that a machine with a CPU build of it takes that one
$(VENV)/.train: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(INSTALL) --editable '.[dev]'
	@touch $@
