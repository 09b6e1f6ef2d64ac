# Everything sets itself up: the only needs are Python 3.11+ (with venv) and make.
PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
NEWEST := .venv-newest
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo docs audit lock test test-slow test-lowest test-newest pictures check format bench faults fuzz mutants fleet simulate memory clean

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## Make the project's own environment (.venv); done once, and again when what it needs changes

$(READY): pyproject.toml requirements.lock scripts/environment.sh
	@sh scripts/environment.sh $(PYTHON) $(VENV)
	@touch $@

demo: $(READY) ## Download a whole lab from a sandbox on loopback, and show the run in Prefect
	@$(BIN)/prefect-alyx demo

docs: $(READY) ## Build the documentation into site/, without a network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html"

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -q -m "not slow" --numprocesses auto --maxprocesses 4 --dist worksteal

test-slow: $(READY) ## Run the long tests: Prefect servers and workers, official clients, real kills
	@sh scripts/packages.sh
	@$(BIN)/python -m pytest -q -m slow

test-lowest: $(LOWEST)/.ready ## Run the tests with the lowest versions that pyproject.toml promises
	@$(LOWEST)/bin/python -m pytest -q -m "not slow" --numprocesses auto --maxprocesses 4 --dist worksteal

$(LOWEST)/.ready: pyproject.toml | $(READY)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(LOWEST)
	@$(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[test]'
	@touch $@

test-newest: $(READY) ## Run the tests with the newest versions there are today, whatever the lock names
	@$(UV) venv --quiet --clear --python $(BIN)/python $(NEWEST)
	@$(UV) pip install --quiet --python $(NEWEST)/bin/python --refresh --editable '.[test]'
	@$(NEWEST)/bin/python -m pytest -q -m "not slow" --numprocesses auto --maxprocesses 4 --dist worksteal

pictures: $(READY) ## Take the pictures of Prefect's pages in docs/pictures anew
	@sh scripts/packages.sh
	@PICTURES=docs/pictures $(BIN)/python -m pytest -q -m slow tests/test_pages.py

audit: $(READY) ## Compare what is installed with PyPA's advisories, where ADVISORIES names a copy of them
	@$(BIN)/python scripts/audit.py

# A change of pyproject.toml that the lock does not know keeps the environment from being made; uv is there all the same.
$(UV):
	@$(MAKE) --no-print-directory setup || [ -x $@ ]

lock: | $(UV) ## Make both locks anew, for CI and for the image; UPGRADE=--upgrade takes the newest of everything
	@sh scripts/lock.sh $(UV) $(UPGRADE)

check: $(READY) ## What CI runs: format, lint, types, audit, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/audit.py
	@$(MAKE) --no-print-directory test

format: $(READY) ## Put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

faults: $(READY) ## Run the fault matrix over real sockets and print it as a table
	@$(BIN)/python -m tests.matrix

fuzz: $(READY) ## Make hostile input up, guided by coverage; CASES=1000000 for a long night
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --cases $(or $(CASES),100000)

mutants: $(READY) ## Break claim, verify and publish on purpose; prints what no test notices
	@$(BIN)/python scripts/mutants.py

bench: $(READY) ## Measure against curl, rclone, aria2, ONE and boto3; prints ratios
	@$(BIN)/python -m tests.bench --picture docs/benchmark.svg

fleet: $(READY) ## Let several workers move 100,000 files, and kill one of them half way
	@sh scripts/packages.sh
	@FLEET_FILES=100000 $(BIN)/python -m pytest -q -m slow tests/test_fleet.py -s

simulate: $(READY) ## A fleet without the bytes: FILES=200000 PLACES=20 WORKERS=4; workers die, the server restarts
	@sh scripts/packages.sh
	@$(BIN)/python -u -m tests.simulation --files $(or $(FILES),200000) --places $(or $(PLACES),20) --workers $(or $(WORKERS),4)

memory: $(READY) ## What planner and flow take, and cost Prefect, at 10,000, 100,000 and a million files (FILES="...")
	@sh scripts/packages.sh
	@$(BIN)/python -u -m tests.simulation.memory $(or $(FILES),10000 100000 1000000)

clean: ## Remove the environment and what tools left behind
	@rm -rf $(VENV) $(LOWEST) $(NEWEST) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
