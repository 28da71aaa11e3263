# Every target builds .venv as it needs. A fresh machine needs Python >= 3.11, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKSPACE ?= voyage

.PHONY: venv rehearse test soak lint bench bench-data bench-quality bench-train docs browser clean

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "expedition needs Python 3.11 or newer (set PYTHON=python3.11)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

rehearse: venv
	$(BIN)/expedition rehearse --workspace $(WORKSPACE)

test: venv
	$(BIN)/python -m pytest

# SOAK="--kills 1000 --seed 7": how often a training process is killed.
soak: venv
	$(BIN)/python -m benchmarks.train.soak --kills 200 --command-kills 20 $(SOAK)

lint: venv
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

bench: venv
	$(BIN)/python -m benchmarks

# BENCH="--quick": within 8 minutes; BENCH="--pages DIR": real HTML files for the rows that read pages.
bench-data: venv
	$(BIN)/python -m benchmarks.data $(BENCH)

# BENCH="--quick"; BENCH="--open DIR": where the labelled sets lie.
bench-quality: venv
	$(BIN)/python -m benchmarks.quality $(BENCH)

# On a CUDA device. BENCH="--only 10b-8"; BENCH="--peer-path torchtitan=DIR": where a peer is installed. The lock file's torch has
# no CUDA: CUDA_PYTHON is an interpreter whose torch has it.
CUDA_PYTHON ?= $(BIN)/python
bench-train: venv
	PYTHONPATH=src $(CUDA_PYTHON) -m benchmarks.train --states w26 bf16 $(BENCH)
	PYTHONPATH=src $(CUDA_PYTHON) -m benchmarks.train.scale

docs: venv
	$(BIN)/python scripts/generate_docs.py

browser:
	command -v chromium >/dev/null || (apt-get update -q && apt-get install -y -q chromium)

clean:
	rm -rf $(VENV) $(WORKSPACE) build dist src/*.egg-info
