# `make help` explains itself. Everything happens in .venv; nothing else on the machine is touched.
SHELL := bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first Python 3.11-3.13 found; `make demo PYTHON=/path/to/python3` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test test-fast test-slurm test-faults reliability lint format bench bench-split bench-scale results picture lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## Create .venv and install every pinned package (once, a few minutes)

$(READY): requirements.lock pyproject.toml setup.py $(wildcard src/unrolled/kernel*.cpp src/unrolled/kernel*.h)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name one: make demo PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version); this takes a few minutes, once." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

demo: $(READY) ## Run the default experiment: 36 runs on simulated proteins, one report
	@$(BIN)/snakemake --cores all --quiet rules
	@echo; echo "The report: $(CURDIR)/results/demo/report.html"

test: $(READY) ## Run the whole test suite (browser tests need chromium)
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-fast: $(READY) ## Run the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow and not workflow and not browser"

test-faults: $(READY) ## Kill, fill, damage and poison: the tests of docs/reliability.md (some need root, else skipped)
	@$(BIN)/python -m pytest -m faults

reliability: $(READY) ## Run the fault suite and write what happened to docs/reliability.md
	@$(BIN)/python benchmarks/reliability.py --docs docs/reliability.md

test-slurm: $(READY) ## Start a small Slurm on this machine and test the cluster profiles (needs slurm-wlm, munge; slurmdbd, mariadb-server)
	@$(BIN)/python -c 'import snakemake_executor_plugin_slurm, snakemake_executor_plugin_cluster_generic' 2>/dev/null \
		|| $(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.cluster.lock \
		|| echo "Snakemake's executors for clusters could not be installed; what needs them is skipped." >&2
	@PATH=$$PATH:/usr/sbin $(BIN)/python -m pytest -m slurm tests/test_slurm.py

lint: $(READY) ## Check style, types and the workflow
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile workflow

picture: demo ## Take the README's picture of the report anew (needs chromium)
	@chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,1500 \
		--screenshot=docs/report.png "file://$(CURDIR)/results/demo/report.html"

bench: $(READY) ## Measure the recurrent core, as ratios (idle machine, about twenty minutes; SECTIONS=cells: four)
	@$(BIN)/python benchmarks/recurrent.py $(SECTIONS) --docs docs/speed.md

bench-split: $(READY) ## Measure what splits leak and cost on real data (about two hours; SECTIONS=netgpi: minutes)
	@$(BIN)/python benchmarks/splits.py $(SECTIONS) --docs docs/splits.md

bench-scale: $(READY) ## Measure how plan, tables and report grow with the matrix, up to 2,000 runs (about ten minutes)
	@$(BIN)/python benchmarks/scale.py $(SECTIONS) --docs docs/scale.md

results: $(READY) ## Run the shipped experiments and write docs/results.md (hours; SECTIONS=flip_ss: one)
	@$(BIN)/python benchmarks/results.py $(SECTIONS) --docs docs/results.md

# PyTorch pins its own CUDA packages on Linux, so the lock leaves them to it: a CPU build installs none.
lock: ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --upgrade-package torch==2.13.0 \
		| grep -vE '^(nvidia-|cuda-|triton==|setuptools==)' > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## Remove results and caches (keeps .venv)
	@rm -rf results/* .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
