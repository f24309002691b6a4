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

.PHONY: help demo install install-dev chromium test test-engines fuzz drill faketime lint format docs bench lock audit clean

help:
	@echo "make demo     the whole way once, on a web of its own: no network, account or GPU (after installing)"
	@echo "make test     lint, types and tests: what CI runs"
	@echo "make test-engines   the same pipelines on Flink, Prism and others: needs Java, Maven and Go, minutes"
	@echo "make fuzz     100,000 damaged inputs for each parser of foreign bytes: hours (TARGET=NAME: one, minutes)"
	@echo "make drill    a build to which everything happens, a hundred times; a table of it: under 20 minutes"
	@echo "make format   lay out the code"
	@echo "make docs     write docs/settings.md anew from the code"
	@echo "make bench    measure; appends to benchmarks/RESULTS.md"
	@echo "make lock     pin the dependencies anew (needs uv)"
	@echo "make audit    ask PyPI whether a pinned package has known vulnerabilities"
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
	@echo "installing what $(1) names: minutes, in which pip says nothing (with GPU libraries about 6 GB)"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --no-deps -r $(VENV)/needed.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@
endef

# On every core; the tests of a file, which may share what takes long to make, in one process.
test: install-dev lint chromium
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

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

# One target alone: make fuzz TARGET=robots-txt
fuzz: install-dev
	$(BIN)/python -m pytest --hypothesis-profile=fuzz $(if $(TARGET),-k "bytes and [$(TARGET)]" tests/test_fuzz.py, \
		tests/test_fuzz.py tests/test_pipeline_collect_fuzz.py tests/test_pipeline_extract_fuzz.py)

# SEED=7 deals the faults of that drill again, in their order.
drill: install-dev faketime
	$(BIN)/python -m tests.drill $(if $(SEED),--seed $(SEED))

# The library that moves a process's clock, where it can be installed; without it the drill says so.
faketime:
	@for name in /usr/lib*/faketime /usr/lib/*/faketime; do \
		if [ -e $$name/libfaketime.so.1 ]; then exit 0; fi; \
	done; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	$$sudo apt-get install -qq --yes --no-install-recommends faketime > /dev/null 2>&1 || \
		($$sudo apt-get update -qq && \
		$$sudo apt-get install -qq --yes --no-install-recommends faketime > /dev/null 2>&1) || true

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install-dev
	$(BIN)/python -m webtext.settings_reference > docs/settings.md

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

# In an environment of its own, so that what looks at the locks is in none of them. A package that it is told
# nothing about fails it too: without that, pip-audit calls a service that knows no package "no vulnerabilities".
$(VENV)/audit/bin/pip-audit:
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --disable-pip-version-check --quiet pip-audit==2.10.1

audit: $(VENV)/audit/bin/pip-audit
	@failed=0; \
	for lock in requirements.lock requirements-dev.lock dags/requirements.lock; do \
		if said=$$($< --strict --progress-spinner=off --disable-pip --require-hashes -r $$lock 2>&1); then \
			echo "$$lock: no known vulnerability"; \
		else \
			failed=1; \
			case "$$said" in \
				*Found\ *) printf '%s: VULNERABLE\n%s\n' $$lock "$$said" ;; \
				*) printf '%s: NOT AUDITED, nobody could be asked: %s\n' $$lock "$$(echo "$$said" | tail -n 1)" ;; \
			esac; \
		fi; \
	done >&2; exit $$failed

clean:
	rm -rf $(VENV) demo
