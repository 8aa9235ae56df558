# make demo   the whole bot, offline, against its own embedded exchange
# make test   environment with everything, then the test suite on two cores (TESTS= for pytest's own options)
# make check  format, lint, types, import rules, tests
# make faults every kind of fault against the bot, SEEDS times (make faults-long: 20 times); one table
# make crash  a real daemon is killed KILLS times and has to find everything again (make crash-long: 200 times); one table
# make train-load  SYMBOLS symbols are trained at once; the disk is full, two workers are killed; resumed and reported
# make soak   300 symbols x 10 book updates a second against the whole bot for ten minutes (SOAK='--for 2m')
# make bench  every benchmark: the product and its reference, timed in the same run
# make results  docs/results.md: every candle forecaster on the recorded market (RESULTS=full: every variant; resumable)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
DEMO   ?=
# two workers, whole files each, so that what a file sets up is set up once
TESTS  ?= -n 2 --dist loadfile
SEEDS  ?= 1
JOBS   ?= 2
SOAK   ?=
KILLS  ?= 6
SYMBOLS ?= 30
RESULTS ?= short

.PHONY: demo test check lint types imports env env-test bench crash crash-long faults faults-long results soak clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tradebot needs Python >= 3.11; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing tradebot into $(VENV) (first time: several minutes of downloads)"
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	$(PIP) -e '.[deep,dev]'
	@touch $@

env: $(VENV)/.base
env-test: $(VENV)/.test

demo: env
	$(BIN)/tradebot demo $(DEMO)

test: env-test
	$(BIN)/python -m pytest $(TESTS)

lint: env-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env-test
	$(BIN)/mypy

imports: env-test
	$(BIN)/lint-imports

check: lint types imports test

bench: env-test
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py); done

faults: env-test
	$(BIN)/python -m tests.faults --seeds $(SEEDS) --jobs $(JOBS)

faults-long: SEEDS = 20
faults-long: faults

crash: env-test
	$(BIN)/python -m tests.crash --kills $(KILLS) --seed 7 --jobs $(JOBS)

crash-long: KILLS = 200
crash-long: crash

train-load: env-test
	$(BIN)/python -m tests.training.load --symbols $(SYMBOLS)

results: env-test
	$(BIN)/python -m benchmarks.results --form $(RESULTS)

soak: env-test
	$(BIN)/python -m benchmarks.soak_books $(SOAK)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
