# Everything a person or CI does with this tree. `make` alone lists it.
# Written for any make, GNU 3.81 (macOS) on; needs a Python of 3.11 or later and nothing else.

PYTHON ?= python3
RUN    ?= up
AREA   ?= replay
ARGS   ?=
LOCK   ?=

BIN := .venv/bin
UV  := $(BIN)/uv pip
# VIRTUAL_ENV of another project must not lead uv astray, so each call names the interpreter.
INSTALL := $(UV) install --quiet --python $(BIN)/python
COMPILE := $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
           --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(LOCK)

.PHONY: help setup run test test-real check format lint types imports spelling tidy fix bench docs proto lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.everything ## make .venv with everything (completes what `make run` made)

run: .venv/.run ## start Tidegate on this machine; RUN='replay my.parquet' for another command
	@$(BIN)/tidegate $(RUN)

test: setup ## run every test but those of test-real; ARGS='-k name' for some
	$(BIN)/pytest -q -n 2 --ignore=tests/real $(ARGS)

test-real: setup ## try whole systems on this machine: cards, VMs, a fleet; needs root, installs QEMU and libvirt
	@if test "`id -u`" != 0; then echo "test-real: NOT ROOT, so every test here is skipped; run it as root"; \
	  else timeout 900 tests/real/install.sh || \
	    echo "test-real: NO VMS HERE (the line above says why), so their tests are skipped"; fi
	$(BIN)/pytest -q tests/real $(ARGS)

check: format lint types imports spelling tidy ## all that needs no running: under a minute, even from nothing
	@echo "check: all good"

format: setup
	$(BIN)/ruff format --check --quiet --diff .

lint: setup
	$(BIN)/ruff check --quiet .

types: setup
	$(BIN)/mypy --no-error-summary

imports: setup
	@# It always tells every contract: listen only when one is broken.
	@echo "$(BIN)/lint-imports"; said=`$(BIN)/lint-imports --no-logo` || { echo "$$said"; exit 1; }

spelling: setup
	$(BIN)/codespell

tidy: setup
	$(BIN)/pytest -q tests/style

fix: setup ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: setup ## measure an area: AREA=replay (default), tick, forecast ...
	@$(BIN)/tidegate bench $(AREA) $(ARGS)

docs: setup ## write the generated pages of docs/reference
	@$(BIN)/python docs/write_reference.py

proto: setup ## write the Python of proto/ into src/tidegate/wire
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py

lock: .venv/.uv ## pin the requirements again; LOCK=--upgrade takes the newest
	@echo "pinning requirements/dev.txt, run.txt, libvirt.txt and uv.txt"
	@$(COMPILE) --all-extras --no-emit-package libvirt-python --group dev pyproject.toml --output-file requirements/dev.txt >/dev/null
	@$(COMPILE) --constraint requirements/dev.txt --extra replay --group build pyproject.toml \
	  --output-file requirements/run.txt >/dev/null
	@echo libvirt-python | $(COMPILE) - --output-file requirements/libvirt.txt >/dev/null
	@echo uv | $(COMPILE) --constraint requirements/dev.txt - --output-file requirements/uv.txt >/dev/null

clean: ## remove .venv and everything built or cached
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv in three steps; each stamp says how far it is ----------------------------------------

.venv/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Tidegate needs Python 3.11 or later and '$(PYTHON)' is not: name one, as in 'make setup PYTHON=python3.12'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: install them first (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "making .venv with `$(PYTHON) --version`"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.run: .venv/.uv requirements/run.txt pyproject.toml
	@echo "installing what Tidegate runs with"
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.everything: .venv/.run requirements/dev.txt
	@echo "installing what it is tested and checked with"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
