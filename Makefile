# The two commands of the README, and their parts.
.DEFAULT_GOAL := help
SHELL := bash
bin := .venv/bin

.PHONY: help demo test lint check-environment clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

demo: ## set up, then simulate, measure PSFs, fuse with every method, compare
	@scripts/environment.sh all
	@$(bin)/mvfusion demo

lint: ## style, types, layers and the plugin's manifest
	@scripts/environment.sh all,test,dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	QT_QPA_PLATFORM=offscreen $(bin)/npe2 validate napari-mvfusion

test: lint ## set up, then every check and every test
	@scripts/display-libraries.sh
	@mkdir -p .runtime && chmod 700 .runtime
	XDG_RUNTIME_DIR=$(CURDIR)/.runtime xvfb-run -a -s "-screen 0 1600x1200x24" $(bin)/python -m pytest

clean: ## remove what the commands made
	rm -rf .venv .runtime .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mvfusion-demo
