# Everything that is done with trimood by hand or by a robot; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# A name on the PATH may be a shim without a Python behind it, and Debian's python3 may lack venv: each is tried.
FITS := 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do $$name -c $(FITS) && echo $$name && break; done)
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
	@$(or $(PYTHON),false) -c $(FITS) || { $(NO_PYTHON) exit 1; }
	@echo "Setting up .venv: some 250 packages, 6 GB. The first time on a machine takes minutes, later times seconds."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip install --python $(BIN)/python --compile-bytecode --requirement requirements.txt
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# The command that suits the machine: uv where it is installed, else what the distribution has.
define NO_PYTHON
echo "make: trimood needs Python 3.11, 3.12 or 3.13 with its module venv; found: $(or $(PYTHON),none on the PATH)."; \
if command -v uv >/dev/null; then get="uv python install 3.13"; \
elif command -v apt-get >/dev/null; then get="sudo apt-get install python3-venv"; \
elif command -v dnf >/dev/null; then get="sudo dnf install python3.13"; \
else get="uv python install 3.13 (https://docs.astral.sh/uv has uv)"; fi; \
echo "Install one: $$get"; \
echo "Or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13";
endef

.PHONY: setup
setup: $(STAMP) ## install everything into .venv, in the versions of requirements.txt
	@echo "$$($(BIN)/python --version) in .venv is ready."

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

.PHONY: results
results: $(STAMP) ## all nine experiments on the demo corpus with three seeds, compared; then table and picture in README.md
	$(BIN)/kedro run --pipelines=$(EXPERIMENTS) --params 'seeds=[$(SEEDS)]'
	$(BIN)/kedro run --pipelines=compare
	$(BIN)/python benchmarks/comparison_into_readme.py data/demo/08_reporting/comparison

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
