# The two commands of README.md are `make train` and `make test`; both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Pairs of Python and TensorFlow for `make compat`, the lowest and the highest of each among them.
COMPAT ?= 3.10=2.20 3.10=2.21 3.11=2.21 3.12=2.20 3.12=2.21 3.13=2.20 3.13=2.21
COMPAT_TESTS ?= tests/core tests/optimizers tests/schedules tests/losses tests/step tests/test_api.py \
	tests/training/test_trainer.py tests/cli/test_predict.py tests/cli/test_main.py tests/cli/test_list.py

.PHONY: train test soak examples lint types docs compat lock clean

train: $(VENV)/.installed
	$(BIN)/train --dataset=digits --optimizer=nadam

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist=loadfile --no-loadscope-reorder

# What takes too long for every change, and properties on many examples.
soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist=worksteal -m "soak or examples"

# In full, which takes more than three processor hours; `make examples ONLY=name` runs one of them.
examples: $(VENV)/.installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/run.py $(ONLY)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The site, in build/site: a warning or a broken link is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "read it at http://localhost:8000: $(BIN)/python -m http.server -d build/site 8000"

# Installs trainlib and its dependencies from scratch for each pair, and runs the tests of the core.
compat:
	@for pair in $(COMPAT); do \
		venv=build/compat/$$pair; echo "== Python $${pair%=*}, TensorFlow $${pair#*=}"; \
		python$${pair%=*} -m venv --clear $$venv && \
		$$venv/bin/python -m pip install --quiet "tensorflow==$${pair#*=}.*" . pytest hypothesis && \
		$$venv/bin/train --version && \
		$$venv/bin/python -m pytest -q -p no:cacheprovider $(COMPAT_TESTS) || exit 1; \
	done

# Writes the pinned versions again: for development, and with hashes for `make train`.
lock: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 setup.cfg --extra dev --extra docs \
		--no-header --no-annotate --output-file constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 setup.cfg --constraint constraints.txt \
		--generate-hashes --no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.installed: setup.cfg pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[docs]
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[dev]
	touch $@
