# Every target sets up what it needs; a clean clone needs make and a Python of 3.10 or later, nothing else.
#   make chat PYTHON=python3.12    chooses the interpreter for environments that do not exist yet
PYTHON ?= python3
VENV ?= .venv
ORACLE_VENV ?= .venv-oracle
LOWEST_VENV ?= .venv-lowest
LOWEST_PYTHON ?= python3.10
WHEEL_VENV ?= .venv-wheel
PEERS_VENV ?= .venv-peers
# Processes that run tests side by side: tests of one file stay together, since they share servers and models.
TEST_WORKERS ?= 2
# More arguments for the program that a target runs: make test ARGS="-k rotary", make bench ARGS="-t 2"
ARGS ?=

QUICK = not oracle and not slow and not browser and not clients and not real
PYTEST_WORKERS = -n $(TEST_WORKERS) --dist loadfile

# Where it is set, each of the many programs that tests start compiles all of Python's sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help chat test webui-test clients vendor oracle real-models lowest wheel lint type bench peers tree clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

chat: $(VENV)/.package ## talk to the bundled demo model
	@$(VENV)/bin/ftllm-nb chat $(ARGS)

test: $(VENV)/.dev ## run the tests
	$(VENV)/bin/python -m pytest -m "$(QUICK)" $(PYTEST_WORKERS) $(ARGS)

webui-test: $(VENV)/.browser ## try the chat page in headless Chromium; screenshots in webui-screenshots/
	$(VENV)/bin/python -m pytest -m browser $(PYTEST_WORKERS) $(ARGS) tests/serving/page

clients: $(VENV)/.dev ## try real clients of OpenAI's API, each in an environment of its own in .venv-clients/
	$(VENV)/bin/python -m pytest -m clients $(ARGS) tests/clients

vendor: $(VENV)/.package ## fetch what the chat page takes from others, by npm; ARGS=--check only compares
	$(VENV)/bin/python -m ftllm_nb.serving.page.vendored $(ARGS)

oracle: $(ORACLE_VENV)/.oracle ## compare live with transformers on PyTorch
	$(ORACLE_VENV)/bin/python -m pytest -m "oracle or slow" $(PYTEST_WORKERS) $(ARGS)

real-models: $(ORACLE_VENV)/.oracle ## fetch models with real weights into .models, and compare with transformers
	$(ORACLE_VENV)/bin/python -m tests.real_models .models
	FTLLM_NB_REAL_MODELS=.models $(ORACLE_VENV)/bin/python -m pytest -m real $(ARGS) tests/oracle

lowest: $(LOWEST_VENV)/.lowest ## run the tests on the oldest Python and dependencies that are promised
	$(LOWEST_VENV)/bin/python -m pytest -m "$(QUICK)" $(PYTEST_WORKERS) $(ARGS)

wheel: ## build the wheel, install it alone into a new environment and ask it a question
	rm -rf $(WHEEL_VENV) dist
	$(call create_environment,$(PYTHON),$(WHEEL_VENV))
	$(WHEEL_VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(WHEEL_VENV)/$(PIP) dist/ftllm_nb-*.whl
	cd dist && echo "What is 17 + 25?" | ../$(WHEEL_VENV)/bin/ftllm-nb chat --temperature 0 | tee answer.txt
	grep -qw 42 dist/answer.txt

lint: $(VENV)/.dev ## ruff
	$(VENV)/bin/ruff check .

type: $(VENV)/.dev ## mypy --strict on src
	$(VENV)/bin/mypy

bench: $(VENV)/.package ## measure prefill and decode against the machine's limits
	$(VENV)/bin/ftllm-nb bench $(ARGS)

peers: $(PEERS_VENV)/.peers ## measure beside llama.cpp, built from source: make peers ARGS="--gguf model.gguf"
	$(PEERS_VENV)/bin/python bench/compare.py $(ARGS)

tree: ## print every file with its phrase; ARGS=src/ftllm_nb/engine for a part
	@$(PYTHON) docs/tree.py $(ARGS)

clean: ## remove the environments and every cache below this folder
	rm -rf $(VENV) .venv-* build dist webui-screenshots .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. The package is installed editable, so what runs is always the code in src/. Stamps depend on
# pyproject.toml alone: a changed dependency installs again, a changed source file does not. Python compiles the modules
# that are imported, when they first are: a quarter of what lies there.
PIP = bin/python -m pip install --quiet --disable-pip-version-check --no-compile

define create_environment
	@$(1) -c 'import sys; sys.exit("Python 3.10 or later is needed, and $(1) is " + sys.version.split()[0] \
	  + ": choose another with PYTHON=…") if sys.version_info < (3, 10) else None'
	@test -x $(2)/bin/python || $(1) -m venv $(2)
endef

$(VENV)/.package: pyproject.toml
	@echo "setting up $(VENV) (once, about a minute)"
	$(call create_environment,$(PYTHON),$(VENV))
	@$(VENV)/$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(call create_environment,$(PYTHON),$(VENV))
	$(VENV)/$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.package

$(VENV)/.browser: pyproject.toml
	$(call create_environment,$(PYTHON),$(VENV))
	$(VENV)/$(PIP) --editable '.[browser]'
	@touch $@ $(VENV)/.dev $(VENV)/.package

# torch first and alone: a CPU build that pip is offered locally is then taken, and nothing that follows asks
# for another one.
$(ORACLE_VENV)/.oracle: pyproject.toml
	$(call create_environment,$(PYTHON),$(ORACLE_VENV))
	$(ORACLE_VENV)/$(PIP) torch==2.13.0
	$(ORACLE_VENV)/$(PIP) transformers
	$(ORACLE_VENV)/$(PIP) --editable '.[oracle]'
	@touch $@

# From source, so that llama.cpp has the instructions of this CPU; it compiles for some ten minutes, in as many processes
# as CMAKE_BUILD_PARALLEL_LEVEL says. bench/engines/llama.py knows of a compiler that gets AMX wrong.
$(PEERS_VENV)/.peers: pyproject.toml
	$(call create_environment,$(PYTHON),$(PEERS_VENV))
	$(PEERS_VENV)/$(PIP) --no-binary llama-cpp-python llama-cpp-python==0.3.36 gguf
	$(PEERS_VENV)/$(PIP) --editable .
	@touch $@

$(LOWEST_VENV)/.lowest: pyproject.toml
	$(call create_environment,$(LOWEST_PYTHON),$(LOWEST_VENV))
	sed -n '/^dependencies = \[/,/^\]/s/^ *"\([a-z_0-9]*\)>=\(.*\)",/\1==\2/p' pyproject.toml > $(LOWEST_VENV)/lowest.txt
	$(LOWEST_VENV)/$(PIP) --constraint $(LOWEST_VENV)/lowest.txt --editable '.[dev]'
	@touch $@
