# What this needs: Python 3.11 or later, make and git. What it installs goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# TORCH=cpu keeps the torch that .venv already has, and leaves out the GPU libraries (see README.md).
ifeq ($(TORCH),cpu)
NEEDED = awk '/^[a-z]/ { keep = !/^(torch|triton|nvidia-|cuda-)/ } keep'
else
NEEDED = cat
endif

.PHONY: help demo install install-dev chromium test test-engines fuzz lint format bench lock clean

help:
	@echo "make demo     the whole way once, on a web of its own: no network, account or GPU (after installing)"
	@echo "make test     lint, types and tests: what CI runs"
	@echo "make test-engines   the same pipelines on Flink, Prism and others: needs Java, Maven and Go, minutes"
	@echo "make fuzz     many more made inputs for the parsers of foreign bytes: minutes"
	@echo "make format   lay out the code"
	@echo "make bench    measure; appends to benchmarks/RESULTS.md"
	@echo "make lock     pin the dependencies anew (needs uv)"
	@echo "make clean    remove .venv and the demo"

demo: install
	$(BIN)/webtext demo

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: requirements.lock pyproject.toml
	$(call install_from,requirements.lock)

$(VENV)/installed-dev: requirements-dev.lock pyproject.toml
	$(call install_from,requirements-dev.lock)

define install_from
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "webtext needs Python 3.11 or later: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(NEEDED) $(1) > $(VENV)/needed.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --no-deps -r $(VENV)/needed.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@
endef

test: install-dev lint chromium
	$(BIN)/python -m pytest

# What these install is kept in ~/.cache/webtext.
test-engines: install-dev
	$(BIN)/python -m pytest tests/engines

# The browser that the inspector's tests drive, where there is none yet.
chromium:
	@for name in chromium chromium-browser google-chrome; do \
		if command -v $$name > /dev/null; then exit 0; fi; \
	done; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	for name in apt-get $$sudo; do \
		if ! command -v $$name > /dev/null; then \
			echo "The tests drive a browser, and there is none: install Chromium as your system does." >&2; \
			exit 1; \
		fi; \
	done; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium

fuzz: install-dev
	$(BIN)/python -m pytest --hypothesis-profile=fuzz tests/test_pipeline_collect_fuzz.py tests/test_pipeline_extract_fuzz.py

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.beam_share
	$(BIN)/python -m benchmarks.collect
	$(BIN)/python -m benchmarks.link
	$(BIN)/python -m benchmarks.filters
	$(BIN)/python -m benchmarks.dedupe signatures
	$(BIN)/python -m benchmarks.dedupe scale
	$(BIN)/python -m benchmarks.tokens encode
	$(BIN)/python -m benchmarks.tokens shard
	$(BIN)/python -m benchmarks.tokens train
	$(BIN)/python -m benchmarks.fetch
	$(BIN)/python -m benchmarks.hostile
	$(BIN)/python -m benchmarks.corpus_run $(VENV)/million-documents
	$(BIN)/python -m benchmarks.report $(VENV)/million-documents
	$(BIN)/python -m benchmarks.inspector $(VENV)/million-documents
	rm -rf $(VENV)/million-documents

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--extra inspect --extra reddit --group build

lock:
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		dags/requirements.in -o dags/requirements.lock

clean:
	rm -rf $(VENV) demo
