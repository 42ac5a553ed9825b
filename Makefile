# Two commands are enough on a fresh machine with Python (3.10 or newer) and make:
#   make demo   the whole job on synthetic patients, 5 to 25 minutes after installation
#   make test   lint, types and tests
# The environment in .venv is made when it is missing. The package is installed from the checkout again
# whenever one of its files has changed, as users get it: not editable, so that what is tested is what a
# wheel contains.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip is quiet but for problems; its own update notice is none.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

SOURCES := setup.cfg pyproject.toml README.md LICENSE \
	$(shell find nnunet_ext trainers dataset_conversion -name '*.py' 2>/dev/null)

PARALLEL ?= -n 2 --dist loadscope --no-loadscope-reorder
# Tiny tensors gain nothing from threads, and each worker has a core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest

# As for every command that computes on a CPU: CPU_SETTINGS in nnunet_ext/commands.py says why.
export OMP_WAIT_POLICY ?= PASSIVE
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 100000000000
export MALLOC_TOP_PAD_ ?= 268435456

.PHONY: demo test test-all lint types unit doctests install clean
.DEFAULT_GOAL := test

$(VENV)/.dependencies: setup.cfg
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing nnU-Net and the tools into $(VENV): about 6 GB and three minutes, once"
	$(PIP) install --upgrade pip
	$(PIP) install ".[dev]"
	touch $@

$(VENV)/.installed: $(VENV)/.dependencies $(SOURCES)
	rm -rf build
	$(PIP) install --no-deps --no-build-isolation --force-reinstall .
	rm -rf build
	touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/nnunet_ext demo --out demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# From another folder: in the checkout's root Python tools see nnunet_ext/ without the two folders that
# are installed into it.
types: install
	cd tests && ../$(BIN)/mypy --config-file ../pyproject.toml -p nnunet_ext

# Two at a time, a class or a module of tests to each: one alone leaves a core idle.
unit: install
	$(PYTEST) $(PARALLEL) --durations=40 -m "not long"

doctests: install
	cd tests && ../$(BIN)/pytest -c ../pyproject.toml --rootdir .. --doctest-modules --pyargs nnunet_ext

# Types and doctests keep one core busy each; the tests start beside the longer of them.
test: lint
	$(MAKE) --no-print-directory -j 2 types doctests unit

# With every trainer through stock nnU-Net commands, an hour on two cores: before an issue is resolved.
test-all: lint types doctests
	$(PYTEST) $(PARALLEL) --durations=40

clean:
	rm -rf $(VENV) build dist demo
