# Each target installs what it needs into one environment; `make VENV=/some/where test` puts it
# elsewhere. All versions are those of requirements/ci.txt, see CONTRIBUTING.md.
PYTHON ?= python3
VENV ?= .venv
LOCK = requirements/ci.txt
# Files are compiled when they are imported, and kept: few of those that are installed ever are.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = -m pip install --quiet --no-compile --constraint $(LOCK)
PYTEST = $(VENV)/bin/python -m pytest -n auto --maxprocesses 4

.PHONY: demo test lint parity slow docs package lock clean

# Real weights, real film reviews: fine-tune, evaluate, export, predict. About five minutes.
demo: $(VENV)/installed
	rm -rf saved_models/sentiment
	$(VENV)/bin/python examples/sentiment.py

test: lint
	$(PYTEST) --dist worksteal -m "not slow and not beam" --ignore=tests/parity

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Compares live with transformers on PyTorch, and with Keras' JAX and PyTorch backends; adds them to
# the environment.
parity: $(VENV)/parity-installed
	$(PYTEST) --dist worksteal -m "not slow" tests/parity

# What takes minutes: trainings that are killed, several processes, attacks on privacy, every code
# point, real weights, and Apache Beam.
slow: $(VENV)/parity-installed $(VENV)-beam/installed
	$(PYTEST) --dist load --maxschedchunk 1 -m slow
	$(VENV)-beam/bin/python -m pytest -m beam tests/data tests/serving tests/docs

# The site, in site/: runs the guide, and fails on warnings and on dead links. The guide fetches real
# weights and texts once, as the demo does; `make docs SIZE=tiny` needs none, and no minutes.
docs: $(VENV)/docs-installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

# The archives of a release, into dist/: built, checked, and the wheel asked in an environment with
# nothing else, away from the repository.
package: $(VENV)-release/installed
	rm -rf dist $(VENV)-wheel
	$(VENV)-release/bin/python -m build
	$(VENV)-release/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --constraint $(LOCK) dist/*.whl
	check=$(abspath .ci/check_wheel.py) python=$(abspath $(VENV)-wheel)/bin/python && \
	  folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && $$python -I $$check
	rm -rf $(VENV)-wheel

$(VENV)-release/installed: pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)-release
	$(VENV)-release/bin/python -m pip install --quiet --constraint $(LOCK) build twine
	touch $@

$(VENV)/installed: pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(INSTALL) --editable ".[dev]"
	touch $@

$(VENV)/parity-installed: $(VENV)/installed
	$(VENV)/bin/python $(INSTALL) --editable ".[dev,parity]"
	touch $@

$(VENV)/docs-installed: $(VENV)/installed
	$(VENV)/bin/python $(INSTALL) --editable ".[dev,docs]"
	touch $@

# Beam wants other versions of some packages: they stand in front of those of the other environment.
$(VENV)-beam/installed: $(VENV)/installed requirements/beam.txt
	$(PYTHON) -m venv $(VENV)-beam
	$(VENV)-beam/bin/python -m pip install --quiet --requirement requirements/beam.txt
	echo "import site; site.addsitedir('$$(echo $(abspath $(VENV))/lib/python*/site-packages)')" \
	  > $$(echo $(VENV)-beam/lib/python*/site-packages)/tests.pth
	touch $@

# Writes down the newest versions that pyproject.toml allows, without the names of builds.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --editable ".[dev,parity,docs,release]"
	.venv-lock/bin/python -m pip freeze --exclude-editable > .venv-lock/versions
	sed -e 's/+[^ ]*$$//' -e '/ @ /d' .venv-lock/versions > .venv-lock/lock
	mv .venv-lock/lock $(LOCK)
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet "apache-beam>=2.77"
	.venv-lock/bin/python -m pip freeze > requirements/beam.txt
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) $(VENV)-beam $(VENV)-release $(VENV)-wheel dist site .pytest_cache .mypy_cache .ruff_cache
