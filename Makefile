# The two commands of README.md are `make train` and `make test`; both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test soak lint types clean

train: $(VENV)/.installed
	$(BIN)/train --dataset=digits --optimizer=nadam

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist=loadfile --no-loadscope-reorder

# What takes too long for every change, and properties on many examples.
soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist=worksteal -m "soak or examples"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[dev]
	touch $@
