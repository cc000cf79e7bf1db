# Each target installs what it needs into one environment; `make VENV=/some/where test` puts it
# elsewhere. All versions are those of requirements/ci.txt, see CONTRIBUTING.md.
PYTHON ?= python3
VENV ?= .venv
LOCK = requirements/ci.txt

.PHONY: demo test lint parity lock clean

# Real weights, real film reviews: fine-tune, evaluate, export, predict. About five minutes.
demo: $(VENV)/installed
	rm -rf saved_models/sentiment
	$(VENV)/bin/python examples/sentiment.py

test: lint
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not parity"

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Compares live with transformers on PyTorch, and with Keras' JAX and PyTorch backends; adds them to
# the environment.
parity: $(VENV)/parity-installed
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m parity tests/parity

$(VENV)/installed: pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint $(LOCK) --editable ".[dev]"
	touch $@

$(VENV)/parity-installed: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --constraint $(LOCK) --editable ".[dev,parity]"
	touch $@

# Writes down the newest versions that pyproject.toml allows, without the names of builds.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --editable ".[dev,parity]"
	.venv-lock/bin/python -m pip freeze --exclude-editable > .venv-lock/versions
	sed -e 's/+[^ ]*$$//' -e '/ @ /d' .venv-lock/versions > .venv-lock/lock
	mv .venv-lock/lock $(LOCK)
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
