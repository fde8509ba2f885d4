# All commands of the project; `make help` lists them.
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
VIZ_PORT := 4141
PIPELINE := exp4
comma := ,
empty :=
PUBLISHED := exp[1-6] exp[4-6]_head
EXPERIMENTS := $(subst $(empty) $(empty),$(comma),$(sort $(basename $(notdir $(wildcard $(PUBLISHED:%=conf/base/experiments/%.yml))))))

$(STAMP): requirements.txt pyproject.toml
	@test -x $(BIN)/python || $(or $(PYTHON),false) -c $(FITS) || { $(NO_PYTHON) exit 1; }
	@echo "Installing about 250 packages (7 GB) into .venv: minutes the first time, seconds when they are there already."
	@echo "1 of 4: a virtual environment in .venv"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "2 of 4: uv $(UV_VERSION), which installs the packages"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "3 of 4: downloading, unpacking and compiling the packages; a terminal shows the progress of each"
	$(UV) pip install --python $(BIN)/python --compile-bytecode --requirement requirements.txt
	@echo "4 of 4: trimood itself, from this folder"
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "Installed. The first command starts slowly, because it reads all libraries from disk; later ones start faster."

# Names the command that suits the machine: uv where it is installed, else the distribution's own.
define NO_PYTHON
echo "make: trimood needs Python 3.11, 3.12 or 3.13 with the module venv; $(or $(PYTHON),what the PATH has) does not fit."; \
if command -v uv >/dev/null; then get="uv python install 3.13"; \
elif command -v apt-get >/dev/null && ! python3 -c "import ensurepip" 2>/dev/null; then get="sudo apt-get install python3-venv"; \
elif command -v dnf >/dev/null; then get="sudo dnf install python3.13"; \
else get="uv python install 3.13 (uv itself: pip install uv)"; fi; \
echo "Install one: $$get"; \
echo "Or say where one is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13";
endef

.PHONY: setup
setup: $(STAMP) ## install everything into .venv, in the versions of requirements.txt
	@echo "$$($(BIN)/python --version) in .venv is ready."

.PHONY: demo
demo: $(STAMP) ## run exp4 on a small generated corpus, tracked in MLflow (2 min)
	$(BIN)/kedro run --pipelines=exp4

.PHONY: ui
ui: $(STAMP) ## compare runs in MLflow: http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --workers 1 --backend-store-uri sqlite:///mlflow.db --port 5000

.PHONY: app
app: $(STAMP) ## try trained models: http://127.0.0.1:7860 (make app ENV=ecf)
	$(BIN)/kedro app --port=$(PORT) $(addprefix --env=,$(ENV))

# Kedro-Viz opens a pipeline at a zoom at which everything fits; without the boxes of datasets, names can be read.
.PHONY: viz
viz: $(STAMP) ## show the pipeline of exp4: http://127.0.0.1:4141 (make viz PIPELINE=compare)
	$(BIN)/python scripts/open_when_ready.py "http://127.0.0.1:$(VIZ_PORT)/?pid=$(PIPELINE)&types=nodes&expandAllPipelines=true" \
		$(BIN)/kedro viz run --no-browser --host=127.0.0.1 --port=$(VIZ_PORT) --pipeline=$(PIPELINE)

.PHONY: docs
docs: $(STAMP) ## build the documentation site into site/
	$(BIN)/python scripts/write_api_pages.py
	$(BIN)/zensical build --strict

.PHONY: results
results: $(STAMP) ## run and compare the nine experiments of the notes; write docs/results.md (10 min)
	$(BIN)/kedro run --pipelines=$(EXPERIMENTS) --params 'seeds=[$(SEEDS)]'
	$(BIN)/kedro run --pipelines=compare
	$(BIN)/python scripts/write_results.py data/demo/08_reporting/comparison

.PHONY: pictures
pictures: $(STAMP) ## after make results: take the pictures of README and docs, check our pages with axe (needs Chromium)
	$(BIN)/python scripts/take_pictures.py

.PHONY: bench
bench: .venv-reference/.installed ## measure speed beside the notes' own loop; write docs/performance.md (15 min)
	$(BIN)/python benchmarks/beside_upstream.py tiny
	$(BIN)/python benchmarks/beside_upstream.py middle
	$(BIN)/python benchmarks/beside_upstream.py full
	$(BIN)/python benchmarks/frozen_towers.py
	$(BIN)/python benchmarks/onnx_runtime.py
	$(BIN)/python benchmarks/stages.py
	$(BIN)/kedro run --pipelines=exp4
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/scale.py benchmarks/measured/scale.json --sizes 100 400
	$(BIN)/python scripts/write_performance.py

.PHONY: test
test: $(STAMP) ## run all tests but those of test-faults, and those that need a GPU or the Hugging Face hub
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not faults and not gpu and not hub"

.PHONY: test-faults
test-faults: $(STAMP) ## kill real commands, run several at once, and take MLflow away (15 min)
	$(BIN)/python -m pytest -m "faults and not gpu and not hub"

.PHONY: test-quick
test-quick: $(STAMP) ## run the plain tests only (70 s); name those that should be marked slow
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --durations 10 --durations-min 1 -m "not slow and not faults and not gpu and not hub"

.PHONY: check
check: $(STAMP) lint test ## run lint and test: what every change has to pass

.PHONY: lint
lint: $(STAMP) ## check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: $(STAMP) ## write requirements*.txt anew, with the newest versions allowed
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --all-extras --group dev pyproject.toml --output-file requirements.txt
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --no-annotate --no-header --group reference --output-file requirements-reference.txt

# Its tokenizers have wheels up to Python 3.12 only.
.venv-reference/.installed: requirements-reference.txt $(STAMP)
	test -x .venv-reference/bin/python || $(UV) venv --python 3.11 .venv-reference
	$(UV) pip install --python .venv-reference/bin/python --requirement requirements-reference.txt
	@touch $@

.PHONY: reference
reference: .venv-reference/.installed ## write the tests' reference arrays anew, with LanguageBind's code
	.venv-reference/bin/python tests/model/make_reference.py
	.venv-reference/bin/python tests/media/make_reference.py

.PHONY: clean
clean: ## remove the demo's data and caches; keep runs and real data
	rm -rf data/demo .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
