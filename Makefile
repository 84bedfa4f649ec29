# Short targets for everything; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := layers/carbyne
export AWS_DEFAULT_REGION ?= us-east-1
export SAM_CLI_TELEMETRY := 0
# What Python compiles, pytest's rewritten tests too, is kept whatever the shell says: 6 s of each of its processes.
export PYTHONDONTWRITEBYTECODE :=
# sam local runs containers of this machine's processor: samconfig.toml has a section for x86_64.
SAM_HERE := $(if $(filter x86_64,$(shell uname -m)),--config-env x86_64)
export PORT API_KEY PARAMETERS LOG LISTEN

# A lock lists every package with the hashes of its files: pip resolves nothing, builds nothing, and refuses other bytes.
LOCKED := --require-hashes --no-deps --only-binary=:all:
COMPILE := uv pip compile --quiet --generate-hashes --custom-compile-command "make lock"

BENCHES := bench-hot bench-ingest bench-sources bench-size bench-promql bench-query bench-replay bench-labelled bench-start

.PHONY: bench $(BENCHES) cost help run check unit test test-lambda nightly sim lint types web openapi build build-local validate checkov sam-local smoke lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo 'make run PORT=8081 API_KEY=secret PARAMETERS="RawWindowSeconds=3600 StreamShards=2" LOG=debug'
	@echo 'make test TESTS="tests/unit/test_keys.py tests/integration/test_hot.py"'

run: .venv/run.txt web/dist/index.html ## the whole system on 127.0.0.1:8080 until Ctrl-C
	@$(BIN)/python -m local

check: ## lint, types, unit tests, at once: under 90 s
	@$(MAKE) --no-print-directory -j 3 lint types unit

unit: .venv/test.txt ## the unit tests
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not nightly" tests/unit

test: lint types web/node_modules/axe-core web/dist/index.html ## everything but the long forms; what CI runs
	$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=25 -m "not nightly" $(TESTS)

test-lambda: .venv/test.txt ## unit tests on the Python of Lambda's runtime, where one is found
	@found=$$($(BIN)/python -m tests.support.lambda_rie) || { echo "unit tests on Lambda's Python: $$found"; exit 0; }; \
	uv venv --quiet --allow-existing --seed --python "$$found" .venv/lambda && \
	uv pip install --quiet --python .venv/lambda/bin/python --require-hashes --requirement requirements.lock && \
	PATH="$(CURDIR)/.venv/lambda/bin:$$PATH" .venv/lambda/bin/pytest -q -n 2 -p no:cacheprovider -m "not nightly" \
		tests/unit tests/integration/test_fuzz.py tests/integration/test_sending.py

nightly: .venv/test.txt web/dist/index.html test-lambda ## the long forms of the tests
	$(BIN)/pytest -q -m nightly

sim: .venv/test.txt ## one schedule of the model again: SEED= STEPS=
	SEED=$(SEED) STEPS=$(STEPS) $(BIN)/pytest -q tests/model -k one_seed

lint: .venv/test.txt ## format and lint
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

types: .venv/test.txt ## mypy
	$(BIN)/mypy

web: web/dist/index.html ## the page's files in web/dist, by npm of this machine or else of PyPI

openapi: .venv/test.txt ## the description of the HTTP API, after a change of routes
	$(BIN)/python -m carbyne.wiring.openapi > openapi.part
	@mv openapi.part layers/carbyne/carbyne/http/openapi.json

build: .venv/test.txt web/dist/index.html ## sam build: functions and layer for Lambda in .aws-sam/
	sam build

validate: .venv/test.txt ## the template, by SAM and cfn-lint
	sam validate --lint

checkov: .venv/test.txt ## the template, by checkov; .checkov.yaml has the waivers
	@$(BIN)/python -m tests.support.checkov

build-local: .venv/test.txt web/dist/index.html ## sam build for this machine's processor, for sam local; never deployed
	sam build $(SAM_HERE)

sam-local: build-local ## the built functions in Lambda's containers on 127.0.0.1:3000; needs a Docker engine
	@docker info >/dev/null 2>&1 || { echo "sam-local: no Docker engine answers here (docker info); make run needs none"; exit 1; }
	sam local start-api $(SAM_HERE)

bench: $(BENCHES) ## all benchmarks; each alone: make bench-<name>, with DATA=<file> and ARGS=; docs/benchmarks.md

$(BENCHES): bench-%: .venv/test.txt
	$(BIN)/python -m bench.$* $(if $(DATA),--data $(DATA)) $(ARGS)

COST_OF = $(foreach name,HOSTS METRICS INTERVAL DOOR PROFILE,$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z) $($(name))))

cost: .venv/test.txt ## dollars a month: HOSTS=1000 METRICS=100 INTERVAL=60 [DOOR=url] [PROFILE=lean] [DATA=file] [JSON=1]
	@$(BIN)/python -m bench.cost $(COST_OF) $(if $(DATA),--data $(DATA)) $(if $(JSON),--json) $(ARGS)

smoke: .venv/run.txt ## make smoke URL=... KEY=...: post, read back, print the lag; of a stack or of make run
	@$(BIN)/python -m tests.support.smoke "$(URL)" "$(KEY)"

lock: .venv/test.txt ## pin the groups of pyproject.toml with hashes: for tests, for make run, for the layer
	$(COMPILE) --universal --python-version 3.11 --group layer --group local --group dev pyproject.toml -o requirements.lock
	$(COMPILE) --universal --python-version 3.11 --group layer --group local --constraint requirements.lock pyproject.toml \
	  -o requirements-run.lock
	$(COMPILE) --no-annotate --python-version 3.13 --python-platform aarch64-manylinux_2_28 --group layer \
	  --constraint requirements.lock pyproject.toml -o layers/carbyne/requirements.txt

clean: ## remove everything that was made here, the environment included
	rm -rf .venv .aws-sam .carbyne .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.txt: LOCK := requirements-run.lock
.venv/test.txt: LOCK := requirements.lock
.venv/run.txt: requirements-run.lock
.venv/test.txt: requirements.lock
.venv/run.txt .venv/test.txt:
	@echo "Installing $(LOCK) into .venv (a minute or two; only when it changed) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check $(LOCKED) --requirement $(LOCK) > $@.log 2>&1 & \
	  while kill -0 $$! 2>/dev/null; do test ! -t 1 || printf '\r  %s packages' $$(grep -c ^Collecting $@.log); sleep 1; done; \
	  test ! -t 1 || echo; wait $$! || { tail -20 $@.log; echo "pip failed; all of its output is in $@.log"; exit 1; }
	@touch $@

# What tests of the page need beside its files.
web/node_modules/axe-core:
	@OMIT= web/build.sh

web/dist/index.html: web/package-lock.json web/build.mjs $(wildcard web/src/* web/src/*/*)
	@web/build.sh
