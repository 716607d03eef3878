# `make demo` and `make test` do all the set-up on a fresh machine: a virtual environment and the locked packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check portable bench format clean

help:
	@echo "make demo    build a corpus, freeze and train taggers, tag what nobody has tagged, report"
	@echo "make test    all tests"
	@echo "make check   lint, types, and the unit tests (no Ray), in under two minutes"
	@echo "make portable  the unit tests as other processors, threads and orders have them"
	@echo "make bench   the quick benchmarks"
	@echo "make format  rewrite the code as the linter wants it"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(STAMP)
	$(BIN)/python jobs/demo.py $(DEMO)

# Types are checked beside the tests: each keeps one core busy. Either one's failure is the target's.
test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/pyright & types=$$!; $(BIN)/python -m pytest $(PYTEST); tests=$$?; wait $$types && exit $$tests

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/pyright & types=$$!; \
	$(BIN)/python -m pytest -q -m "not ray and not s3" tests/unit; tests=$$?; wait $$types && exit $$tests

# Of a failure, the line `failed:` names the environment and the seed of its order.
portable: $(STAMP)
	tests/portable.sh $(BIN)/python $(PYTEST)

bench: $(STAMP)
	$(BIN)/python -m benchmarks --all --quick

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .ruff_cache .hypothesis
