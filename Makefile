# Everything here runs from a virtual environment of its own, made from requirements.lock on first use.
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base
READY := $(VENV)/.ready
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed
DOCS := .venv-docs
UV ?= uv

# Sets $found to $(PYTHON), or else to the first of these, that is new enough.
find_python = found=; for python in $(PYTHON) $(1); do \
  if $$python -c 'import sys; sys.exit(not sys.version_info >= (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
  done; \
  if [ -z "$$found" ]; then echo "metaobj needs Python 3.11 or newer; none found (set PYTHON=/path/to/python)" >&2; exit 1; fi

.DEFAULT_GOAL := help
.PHONY: help setup demo smoke test test-slow test-torch test-newest test-lowest lint format bench docs dist lock clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed 's/:.*  ## /\t/' | expand -t 14

setup: $(STAMP)  ## Make .venv from requirements.lock; does nothing when it is up to date.

$(STAMP): $(LOCKED) $(READY)
	@touch $@

$(LOCKED): requirements.lock $(BASE)
	@echo "installing what tests and linters need (requirements.lock), a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

# What running needs, and no more: all that `make demo` waits for.
$(READY): $(BASE) pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The stamps are written last: an interrupted install is done again from the start.
$(BASE): requirements.base.lock
	@set -e; $(call find_python,python3 python3.13 python3.12 python3.11 python); \
	echo "making $(VENV) with what running needs (requirements.base.lock), about a minute"; \
	$$found -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.base.lock
	@touch $@

demo: $(READY)  ## Meta-train a small objective, evaluate it, leave a table and pictures in runs/demo.
	$(BIN)/metaobj demo lpg --run-dir runs/demo

smoke: $(READY)  ## Train and evaluate for a few seconds: does the command work at all?
	rm -rf runs/smoke runs/smoke-metagenrl
	$(BIN)/metaobj train lpg --preset smoke --run-dir runs/smoke
	$(BIN)/metaobj evaluate runs/smoke --seeds 8 --tuning-seeds 4
	$(BIN)/metaobj train metagenrl --preset smoke --run-dir runs/smoke-metagenrl

test: $(STAMP)  ## The tests, except the slow ones.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(STAMP)  ## The slow tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# PyTorch is no dependency: what is exported needs it, and nothing here does. Any wheel will do, so a smaller one that
# pip is told of (PIP_INDEX_URL, PIP_FIND_LINKS) is taken before PyPI's.
test-torch: $(STAMP)  ## The tests of what is exported to PyTorch, which goes into a .venv-torch of its own.
	test -x .venv-torch/bin/python || $(BIN)/python -m venv .venv-torch
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$(.venv-torch/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/under.pth
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check 'torch>=2.4'
	.venv-torch/bin/python -m pytest tests/test_export.py -k torch

# Lanes of dependencies: fresh environments with other versions than the lock's, and in them the tests of training,
# checkpoints, evaluation, export and the command.
LANE_TESTS := tests/test_cli.py tests/test_checkpoint.py tests/test_export.py tests/runs/test_going_on.py \
  tests/evaluation/test_protocol.py tests/evaluation/test_pictures.py
LANE_SAYS := import sys; from importlib.metadata import version as v; print("with Python", sys.version.split()[0], \
  *[f"{n} {v(n)}" for n in ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "matplotlib")])

# $(1): the environment, $(2): Pythons, the one to be preferred first, $(3): of the installer, $(4): of pytest.
define lane
@set -e; $(call find_python,$(2)); $$found -m venv --clear $(1)
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv
@$(1)/bin/uv pip install --quiet --python $(1)/bin/python $(3) -e '.[gymnasium,build]' pytest pytest-xdist
@$(1)/bin/python -c '$(LANE_SAYS)'
@$(1)/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile -m "not slow" $(4) $(LANE_TESTS)
endef

test-newest:  ## Some tests with the newest versions that pyproject.toml allows (jax 0.11 needs Python 3.12).
	$(call lane,.venv-newest,python3.13 python3.12 python3.11 python3 python,,)

# What an old version does that a newer one announced the end of is no news.
test-lowest:  ## Some tests with the lowest versions that pyproject.toml allows.
	@set -e; $(call find_python,python3.11 python3); mkdir -p runs; $$found -m tests.lowest > runs/lowest.txt
	$(call lane,.venv-lowest,python3.11 python3 python,--constraints runs/lowest.txt,-W default::DeprecationWarning)

lint: $(STAMP)  ## ruff check, ruff format --check, mypy.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Format the code and mend what ruff can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure speed and memory.
	$(BIN)/python -m experiments.benchmarks.run

docs: $(DOCS)/.locked  ## Build the pages of docs/ as a site in runs/site, from a .venv-docs of their own.
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict
	@echo "runs/site/index.html"

$(DOCS)/.locked: docs/requirements.lock $(BASE)
	$(BIN)/python -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.lock
	@touch $@

dist: $(STAMP) $(DOCS)/.locked  ## Build the wheel and the source distribution in runs/dist, and check them.
	rm -rf runs/dist
	$(BIN)/hatchling build -d runs/dist
	$(DOCS)/bin/twine check --strict runs/dist/*

lock:  ## Resolve requirements.lock, requirements.base.lock and docs/requirements.lock anew (needs uv).
	$(UV) pip compile pyproject.toml --extra dev --universal --fork-strategy fewest --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet \
	  --constraint requirements.constraints --output-file requirements.lock
	$(UV) pip compile pyproject.toml --extra build --universal --fork-strategy fewest --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet \
	  --constraint requirements.lock --output-file requirements.base.lock
	$(UV) pip compile docs/requirements.in --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --custom-compile-command "make lock" --quiet --output-file docs/requirements.lock

clean:  ## Remove the virtual environments and caches, not the runs.
	rm -rf $(VENV) $(DOCS) .venv-torch .venv-newest .venv-lowest .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
