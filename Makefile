# Everything that is done with trimood by hand or by a robot; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
STAMP := .venv/.installed
SEEDS := 1,2,3
PORT := 7860
comma := ,
empty :=
EXPERIMENTS := $(subst $(empty) $(empty),$(comma),$(sort $(basename $(notdir $(wildcard conf/base/parameters/experiments/*.yml)))))

$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) on the PATH. trimood needs Python 3.11; say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --requirement requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

.PHONY: setup
setup: $(STAMP) ## the virtual environment .venv, with the exact versions of requirements.txt

.PHONY: demo
demo: $(STAMP) ## exp4 on a small generated corpus, tracked in MLflow (2 minutes)
	$(BIN)/kedro run --pipelines=exp4

.PHONY: ui
ui: $(STAMP) ## the MLflow page that compares the runs: http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --workers 1 --backend-store-uri sqlite:///mlflow.db --port 5000

.PHONY: app
app: $(STAMP) ## a page to try trained models on clips and words: http://127.0.0.1:7860 (other data: make app ENV=ecf)
	$(BIN)/kedro app --port=$(PORT) $(addprefix --env=,$(ENV))

.PHONY: viz
viz: $(STAMP) ## the pipelines as a picture to click through: http://127.0.0.1:4141
	$(BIN)/kedro viz run

.PHONY: docs
docs: $(STAMP) ## build the documentation site into site/
	$(BIN)/python scripts/write_api_pages.py
	$(BIN)/zensical build --strict

.PHONY: results
results: $(STAMP) ## run and compare all nine experiments; write docs/results.md (10 min)
	$(BIN)/kedro run --pipelines=$(EXPERIMENTS) --params 'seeds=[$(SEEDS)]'
	$(BIN)/kedro run --pipelines=compare
	$(BIN)/python scripts/write_results.py data/demo/08_reporting/comparison

.PHONY: test
test: $(STAMP) ## all tests that need neither a GPU nor the Hugging Face hub
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not gpu and not hub"

.PHONY: test-quick
test-quick: $(STAMP) ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow and not gpu and not hub"

.PHONY: check
check: $(STAMP) lint test ## format, lint, types, import contracts, tests

.PHONY: lint
lint: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## writes the code in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: $(STAMP) ## requirements*.txt anew: the newest versions that pyproject.toml allows
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --no-annotate --no-header --group dev pyproject.toml --output-file requirements.txt
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --no-annotate --no-header --group reference --output-file requirements-reference.txt

.PHONY: reference
reference: $(STAMP) ## the reference arrays of the tests anew, from the PyPI package languagebind in an environment of its own
	test -x .venv-reference/bin/python || $(PYTHON) -m venv .venv-reference
	$(UV) pip install --quiet --python .venv-reference/bin/python --requirement requirements-reference.txt
	.venv-reference/bin/python tests/model/make_reference.py
	.venv-reference/bin/python tests/media/make_reference.py

.PHONY: clean
clean: ## removes the demo's data and all caches; MLflow runs and real data stay
	rm -rf data/demo .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
