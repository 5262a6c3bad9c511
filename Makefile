# What this repository can do, on a machine with python3, git and make. `make` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
PORT ?= 8080
FUZZ_MINUTES ?= 30

.PHONY: help setup run up test validation fuzz check format docs lock bench clean
help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.installed ## Install everything into .venv, pinned by hash
$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Setting up $(VENV)"
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@sed -n '/^uv==/,/^    # via/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.lock
	@uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## The main job: real site exports through Airflow to a DuckDB release, then stop
	@python -m msc_airflow.stack run --port $(PORT)

up: setup ## Keep Airflow serving on this machine; Ctrl-C stops it
	@python -m msc_airflow.stack up --port $(PORT)

test: setup ## Every test, with branch coverage of src; docs/validation.md is what they find
	@rm -f .coverage .coverage.*
	@pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report= --validation docs/validation.md tests
	@coverage report --skip-covered --fail-under=90

validation: setup ## Run the tests that prove a requirement, and write docs/validation.md
	@pytest --quiet --numprocesses 2 --dist loadfile --no-loadscope-reorder -m requirement --write-validation docs/validation.md tests

fuzz: setup ## Property tests of every reader and of landing with new random inputs, for FUZZ_MINUTES (30)
	@end=$$(( $$(date +%s) + 60 * $(FUZZ_MINUTES) )); rounds=0; \
	while [ $$(date +%s) -lt $$end ]; do \
		seed=$$RANDOM$$RANDOM; rounds=$$(( rounds + 1 )); echo "Round $$rounds, seed $$seed"; \
		FUZZ_FACTOR=5 timeout 1200 pytest --quiet --numprocesses 2 --no-loadscope-reorder -m fuzz --hypothesis-seed=$$seed tests/unit \
			|| { echo "Failed or hung: FUZZ_FACTOR=5 pytest -m fuzz --hypothesis-seed=$$seed tests/unit"; exit 1; }; \
	done; echo "$$rounds rounds without a fault"

check: setup ## Format, lint, types, import contracts, SQL, compose file, generated pages
	@ruff format --check --quiet . && ruff check --quiet .
	@mypy
	@lint-imports
	@sqlfluff lint --nocolor --disable-progress-bar sql
	@check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@msc docs --check

format: setup ## Let the formatter write
	@ruff check --fix --quiet . ; ruff format .

docs: setup ## Write the data dictionary and the rule book
	@msc docs

lock: setup ## Resolve requirements.lock anew
	@uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --quiet --output-file requirements.lock

bench: setup ## A million lab rows step by step; ten million in one file beside DuckDB's own copy
	@msc bench --study cdiscpilot01 --scale 17
	@msc bench --study cdiscpilot01 --scale 168 --one-file --repeats 5

clean: ## Remove what the targets made
	@rm -rf $(VENV) .run .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
