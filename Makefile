# Targets: setup fix check test demo. Each takes no input and may be run again.
VENV ?= .venv
PY := $(VENV)/bin/python
export VENV
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup fix check test cover slow demo clean

help:
	@echo "make setup   install the toolkit (.venv) and Label Studio (.venv-label-studio)"
	@echo "make demo    run the main job on a built-in portrait; PHOTOS=folder runs it on yours"
	@echo "make test    lint, types and all tests"
	@echo "make check   lint and types only"
	@echo "make fix     format and mend what the linter can"
	@echo "make cover   all tests, and which lines they run; slower"
	@echo "make slow    the soak tests too"

setup:
	@tools/setup.sh toolkit studio

fix: setup
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

check:
	@tools/setup.sh toolkit
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

test: check
	@tools/setup.sh studio browser s3
	$(PY) -m pytest -m "not slow" -n 2 --durations=30

cover: setup
	@tools/setup.sh browser s3
	$(PY) -m pytest -m "not slow" -n 2 --cov --cov-report=term:skip-covered

slow: setup
	@tools/setup.sh browser s3
	$(PY) -m pytest

demo: setup
	$(VENV)/bin/authface demo $(if $(PHOTOS),--workspace demo-workspace-photos --photos "$(PHOTOS)",--workspace demo-workspace)
