# The commands of the README, and their parts.
.DEFAULT_GOAL := help
SHELL := bash
bin := .venv/bin
args :=
# Torch's threads spin while they wait for each other, which takes the cores from the tests beside them.
threads := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
# What Python and pytest make of the files is kept for the next time, also where Python is told to keep nothing.
kept := PYTHONDONTWRITEBYTECODE=
# All of these folders need a window, or training, or are long: a first look does without reading them, and without napari.
left_out := gui training faults

.PHONY: help demo test quick faults oldest lint clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 8

demo: ## set up, then simulate an embryo, measure its PSFs, fuse it with every method, compare
	@scripts/environment.sh all
	@$(bin)/mvfusion demo $(args)

test: lint ## set up, then every check and every test, with a sample of the fault campaign; some tests: make test args="-k cbif"
	@$(threads) $(kept) scripts/with-display.sh $(bin)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(args)

quick: ## set up, then a first look in about a minute: the tests that need no window and no training and are not long
	@scripts/environment.sh all test
	@$(threads) $(kept) $(bin)/python -m pytest -m "not (slow or window or training or long)" $(left_out:%=--ignore tests/%) --numprocesses 2 --dist worksteal $(args)

oldest: ## set up .venv-oldest with the lowest versions of what pyproject.toml names (torch as in constraints.txt), then the tests of make test there
	@scripts/oldest.sh
	@$(threads) scripts/with-display.sh .venv-oldest/bin/python -m pytest -o filterwarnings=default --numprocesses auto --maxprocesses 4 --dist worksteal $(args)

faults: ## set up, then the whole fault campaign, with its counts at the end; takes minutes, not part of make test
	@scripts/environment.sh all test dev
	@$(threads) $(kept) scripts/with-display.sh $(bin)/python -m pytest tests/faults -m "slow or not slow" --numprocesses 2 --dist worksteal $(args)

lint: ## set up, then check style, types, layers, dependencies and the plugin's manifest
	@scripts/environment.sh all test dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/python scripts/dependencies.py
	QT_QPA_PLATFORM=offscreen $(bin)/npe2 validate napari-mvfusion

clean: ## remove what these commands made
	rm -rf .venv .venv-oldest .runtime .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mvfusion-demo
