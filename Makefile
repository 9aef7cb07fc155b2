# make demo | demo-moe | demo-mdfed | demo-motrv2 | demo-adatad | dashboard | test | check | bench | lock
SHELL := /bin/bash
HOST_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
STAMP := $(VENV)/.assay-ready
PORT ?= 8050
WORKERS ?= 2

.PHONY: demo demo-moe demo-mdfed demo-motrv2 demo-adatad dashboard test check bench env lock clean

demo: env            ## train, search, compare and promote on real handwriting
	$(BIN)/assay demo

demo-moe: env        ## routed experts and the dense detector of the same cost, side by side
	$(BIN)/assay demo moe

demo-mdfed: env      ## a training that does not converge: made, diagnosed, cured
	$(BIN)/assay demo mdfed

demo-motrv2: env     ## a tracker taught eight classes, and what each strategy forgets
	$(BIN)/assay demo motrv2

demo-adatad: env     ## actions in long videos: a new head, adapters, or all of the network
	$(BIN)/assay demo adatad

dashboard: env       ## serve the app on http://127.0.0.1:$(PORT)
	$(BIN)/assay dashboard --port $(PORT)

test: env check      ## checks and all tests, in $(WORKERS) processes of one thread
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 \
		$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: env           ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env           ## each benchmark prints a ratio taken in one run
	for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(HOST_PYTHON) -m venv $(VENV)
	@test -n "$(UV)" || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "making the environment (about a minute; torch is large)"
	$(or $(UV),$(BIN)/uv) pip install --quiet --python $(BIN)/python -r requirements.lock
	$(or $(UV),$(BIN)/uv) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

lock:                ## write requirements.lock anew; it names no registry
	$(or $(UV),$(BIN)/uv) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--all-extras --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
