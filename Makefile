# Every target does its own set-up: a fresh clone needs only Python, and `make train` or `make test`.
#
#   PYTHON=python3.12       the Python that .venv is made from (3.11 to 3.13); it matters the first time only
#   ARGS="..."              passed to the command that the target runs
#   WORKERS=3               how many processes share the tests of `make test` and `make test-long`, 6 those of `make test-gpu`;
#                           0 for one, without xdist
#   TORCH_ARGS="..."        passed to pip when it installs torch, to choose another build of it: for instance --index-url
#                           with the address that PyTorch's installation page gives for CPU builds

PYTHON ?= python3
ARGS ?=
WORKERS ?= $(if $(filter test-gpu,$(MAKECMDGOALS)),6,3)
TORCH_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Three on two cores, because tests of ranks mostly wait. Whole files, because what several tests of a file share would otherwise be made in every worker.
SHARED := --numprocesses $(WORKERS) --dist loadfile

# Where Python is told to write no bytecode, every process that the tests start would compile tests and package anew.
test test-long: export PYTHONDONTWRITEBYTECODE :=

# A stamp is written when an installation has succeeded, so one that was interrupted is started again.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_DOCS := $(VENV)/.installed-docs
INSTALLED_BENCH := $(VENV)/.installed-bench

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## Show this list
	@echo 'make TARGET [ARGS="..."]'
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/' | expand -t 20

.PHONY: install
install: $(INSTALLED) ## Make .venv and install the project in it, with the test tools

.PHONY: train
train: $(INSTALLED) ## Train; for instance ARGS="model.num_layers=8 schedule=gpipe"
	@$(VENV)/bin/gru-parallel train $(ARGS)
	@echo 'Next, a deeper stack:    $(VENV)/bin/gru-parallel train model.num_layers=8'
	@echo 'or a series of your own: $(VENV)/bin/gru-parallel train data=csv data.path=FILE.csv'

.PHONY: test
test: $(INSTALLED) ## Run the ordinary tests
	$(PY) -m pytest $(SHARED) $(ARGS)

.PHONY: test-long
test-long: $(INSTALLED_DOCS) ## Run the tests that take minutes, and the whole grids of others
	$(PY) -m pytest -m long --timeout 1800 $(SHARED) $(ARGS)

# Exactness, and what goes on around a step: with calls recorded at once and replayed by the CPU's stand-in for CUDA graphs.
.PHONY: test-graphs
test-graphs: $(INSTALLED) ## Run the tests of exactness on recorded calls
	$(PY) -m pytest --graphs --timeout 600 $(SHARED) tests/test_exactness.py tests/test_exactness_of_blocks.py \
		tests/engine/test_engine.py tests/engine/test_beyond_one_step.py tests/engine/test_changes_between_steps.py \
		tests/engine/test_graph_around_a_step.py tests/engine/test_autocast.py tests/dropin/test_equals_nn_gru.py \
		tests/dropin/test_dropout.py tests/dropin/test_packed.py tests/dropin/test_training_loops.py \
		tests/dropin/test_reports_calls.py tests/dropin/test_reports_weights.py $(ARGS)

.PHONY: test-faults
test-faults: $(INSTALLED) ## Harm runs at random moments, resume them and compare, about 20 minutes
	@$(PY) -m tests.faults $(ARGS)

# Six, because tests mostly wait for kernels to be queued. One that hangs in CUDA cannot be interrupted, only ended with its process.
# Only the files that have such tests, since every process would read all of them.
.PHONY: test-gpu
test-gpu: $(INSTALLED) ## Run the tests that need a GPU
	$(PY) -m pytest -m gpu --numprocesses $(WORKERS) --dist loadgroup --timeout-method thread \
		$$(grep -rl --include='test_*.py' 'mark\.gpu' tests) $(ARGS)

.PHONY: check
check: $(INSTALLED_DEV) ## Check format, lint, types and layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

.PHONY: format
format: $(INSTALLED_DEV) ## Format the code and fix what ruff can fix
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

.PHONY: hooks
hooks: $(INSTALLED_DEV) ## Have git run the checks before each commit
	$(VENV)/bin/pre-commit install

.PHONY: bench
bench: $(INSTALLED) ## Measure the pipeline against nn.GRU
	@$(PY) -m benchmarks speed $(ARGS)

.PHONY: bench-packed
bench-packed: $(INSTALLED) ## Measure gru_parallel.GRU against nn.GRU on unequal lengths
	@$(PY) -m benchmarks packed $(ARGS)

.PHONY: bench-memory
bench-memory: $(INSTALLED) ## Measure the memory of a step as the sequence grows
	@$(PY) -m benchmarks memory $(ARGS)

# torchgpipe is old; where it does not install, it is left out. Without dependencies, so that torch stays as it is.
.PHONY: bench-peers
bench-peers: $(INSTALLED) ## Measure this library against all others that do its job, about 40 minutes
	@$(PY) -c 'import torchgpipe' 2>/dev/null || $(PIP_INSTALL) --no-deps torchgpipe==0.0.7 || true
	@$(PY) -m benchmarks peers $(ARGS)

.PHONY: bench-cells
bench-cells: $(INSTALLED) ## Measure CPU time on one thread against nn.GRU
	@$(PY) -m benchmarks cells $(ARGS)

.PHONY: bench-scaling
bench-scaling: $(INSTALLED) ## Measure time and memory as sequences and stacks grow
	@$(PY) -m benchmarks scaling $(ARGS)

.PHONY: bench-planner
bench-planner: $(INSTALLED) ## Measure how well plans keep their promise, about 45 minutes
	@$(PY) -m benchmarks planner $(ARGS)

.PHONY: bench-gpu
bench-gpu: $(INSTALLED) ## Measure the pipeline against nn.GRU on GPUs, at most 8 minutes
	@$(PY) -m benchmarks gpu $(ARGS)

.PHONY: bench-etth1
bench-etth1: $(INSTALLED) ## Measure forecasts of ETTh1 beside baselines, some hours
	@$(PY) -m benchmarks etth1 $(ARGS)

.PHONY: bench-employment
bench-employment: $(INSTALLED_BENCH) ## Measure one model of many series beside baselines, some minutes
	@$(PY) -m benchmarks employment $(ARGS)

.PHONY: bench-depth
bench-depth: $(INSTALLED) ## Measure whether deeper stacks of as many parameters forecast better, about 40 minutes
	@$(PY) -m benchmarks depth $(ARGS)

.PHONY: fingerprints
fingerprints: $(INSTALLED) ## Hash losses and weights of small runs; ARGS="--against FILE" compares
	@$(PY) -m benchmarks fingerprints $(ARGS)

.PHONY: trace-step
trace-step: $(INSTALLED) ## Count the functions that one warm training step goes through
	@$(PY) -m benchmarks trace $(ARGS)

.PHONY: docs
docs: $(INSTALLED_DOCS) ## Draw the pictures, list the files again, and build the documentation as a site
	@$(PY) -m scripts.draw_timelines
	@$(PY) -m scripts.draw_rooms
	@$(PY) -m scripts.list_files
	@$(PY) -m scripts.build_site

.PHONY: docker
docker: ## Build the image for CUDA machines
	docker build --tag gru-parallel .

.PHONY: clean
clean: ## Remove caches and built files; .venv and outputs/ stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo 'PYTHON=$(PYTHON) is not Python 3.11 to 3.13; write PYTHON=python3.12, say.' >&2; exit 1; }
	@echo 'Making $(VENV)'
	@$(PYTHON) -m venv $(VENV)

# torch is installed first and alone, so that TORCH_ARGS can choose its build: the project accepts any that is installed.
$(INSTALLED): pyproject.toml constraints.txt | $(PY)
	@echo 'Installing torch (once, and large)'
	@$(PIP_INSTALL) $(TORCH_ARGS) torch
	@echo 'Installing the project, its other dependencies and the test tools'
	@$(PIP_INSTALL) --editable '.[test]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo 'Installing the tools that check the code'
	@$(PIP_INSTALL) --editable '.[test,dev]'
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	@echo 'Installing what builds the site of the documentation'
	@$(PIP_INSTALL) --editable '.[test,docs]'
	@touch $@

$(INSTALLED_BENCH): $(INSTALLED)
	@echo 'Installing what only benchmarks need'
	@$(PIP_INSTALL) --editable '.[test,bench]'
	@touch $@
