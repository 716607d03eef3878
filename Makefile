# `make demo` and `make test` do all the set-up on a fresh machine: a virtual environment and the locked packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help install demo test check portable bench results format clean

help:
	@echo "make demo    build a corpus, freeze and train taggers, tag what nobody has tagged, report"
	@echo "make test    all tests"
	@echo "make check   lint, types, and the quick unit tests, in some three minutes on two cores"
	@echo "make portable  the unit tests as other processors, threads and orders have them"
	@echo "make bench   the quick benchmarks"
	@echo "make results the documentation's figures, from benchmarks/results"
	@echo "make format  rewrite the code as the linter wants it"

install: $(STAMP)

# The lock is complete, so nothing is resolved, but where torch is built for CUDA and needs NVIDIA's libraries too.
# Most of the time would go into the bytecode of modules that are never imported; Python compiles the others itself.
# Unpacking keeps a core busy, so that two are at it.
$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep -v '^#' requirements.lock | xargs -n 20 -P 2 $(PIP) --no-compile --no-deps
	$(BIN)/python -m pip check || $(PIP) -r requirements.lock
	$(PIP) --no-deps --editable .
	touch $@

demo: $(STAMP)
	$(BIN)/python jobs/demo.py $(DEMO)

# Two lanes for two cores: what starts Ray, which waits for much, and beside it types and all other tests.
PYTEST_RUN := $(BIN)/python -m pytest
LANE = lane() { log=$$(mktemp); "$$@" > $$log 2>&1; end=$$?; cat $$log; rm -f $$log; return $$end; }
test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(LANE); without_ray() { $(BIN)/pyright; types=$$?; $(PYTEST_RUN) --ignore tests/on_ray $(PYTEST) && return $$types; }; \
	lane without_ray & without=$$!; \
	$(PYTEST_RUN) tests/on_ray $(PYTEST); on_ray=$$?; wait $$without && exit $$on_ray

# The quick unit tests, on two cores.
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(LANE); lane $(BIN)/pyright & types=$$!; \
	$(PYTEST_RUN) -q -n 2 --dist worksteal -m "not s3 and not slow" tests/unit; tests=$$?; \
	wait $$types && exit $$tests

# Two environments at a time. Of a failure, the line `failed:` names the environment and the seed of its order.
portable: $(STAMP)
	tests/portable.sh $(BIN)/python $(PYTEST)

bench: $(STAMP)
	$(BIN)/python -m benchmarks --all --quick

results: $(STAMP)
	$(BIN)/python -m benchmarks.pages

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .ruff_cache .hypothesis
