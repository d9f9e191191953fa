# Needs python3 (3.11 or newer) and make; everything else is fetched into .build and .venv.
PYTHON ?= python3
# Of the tests: `auto` is two for each core, 0 is one process that shows what it does.
WORKERS ?= auto
UV_VERSION := 0.13.8
export UV_PYTHON_DOWNLOADS := never
# Whatever the shell says: a change that is compiled once is not compiled anew by each process of a start or a test.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
MEMBERS := $(sort $(wildcard libs/*/pyproject.toml services/*/pyproject.toml deploy/*/pyproject.toml))
# Named after the content they were made from: a changed lock makes them anew, a fresh checkout time does not.
UV := .build/uv/pinned-$(UV_VERSION)
VENV := .venv/made-$(shell cat requirements.lock pyproject.toml $(MEMBERS) | cksum | tr ' ' '-')

.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV) ## two companies, an import, an audit question (FILE=archive.json)
	$(BIN)/bulkhead demo $(if $(FILE),--file $(FILE))

up: $(VENV) ## PostgreSQL and the services until Ctrl-C
	$(BIN)/bulkhead up

doctor: $(VENV) ## what is wrong with the installation in .run, and how to mend it
	$(BIN)/bulkhead doctor

test: $(VENV) ## every test but the long ones
	$(BIN)/pytest -m "not soak" -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests

soak: $(VENV) ## the long tests: kills, races, many rounds
	$(BIN)/pytest -m soak tests

lint: $(VENV) ## style, types, protos, SQL, lock
	tools/lint

protos: $(VENV) ## generate libs/contracts from protos/
	tools/protos

schema: $(VENV) ## write docs/schema, docs/settings.md and what else is made
	$(BIN)/bulkhead schema

bench: $(VENV) ## the services against a bare gRPC server
	$(BIN)/bulkhead bench

lock: $(UV) ## write requirements.lock anew (ARGS=--upgrade for newer versions)
	tools/lock $(ARGS)

fmt: $(VENV) ## format Python and protos
	$(BIN)/ruff check -q --fix-only deploy libs services tests tools
	$(BIN)/ruff format -q deploy libs services tests tools
	$(BIN)/buf format -w protos

install: $(VENV) ## only make .venv

clean: ## remove .venv, .build and the local state in .run
	rm -rf .venv .build .run .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@rm -rf .build/uv
	@# Debian splits off what a venv needs to have pip; another pip can stand in.
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv .build/uv; \
	  elif $(PYTHON) -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --without-pip .build/uv && \
	    $(PYTHON) -m pip --python .build/uv/bin/python install -q --disable-pip-version-check pip; \
	  else echo "python3 cannot make a virtual environment; to mend it: apt-get install python3-venv" >&2; exit 1; fi
	.build/uv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV): $(UV)
	@test -x $(BIN)/python || .build/uv/bin/uv venv -q --python $(PYTHON) .venv
	VIRTUAL_ENV=$(CURDIR)/.venv .build/uv/bin/uv pip sync -q --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv .build/uv/bin/uv pip install -q --no-deps --no-build-isolation $(patsubst %/pyproject.toml,-e %,$(MEMBERS))
	@# Nine processes start at once in `make up`; compiled beforehand, each takes a second instead of three.
	$(BIN)/python -m compileall -q libs deploy services
	@rm -f .venv/made-* && touch $@

.PHONY: help demo up doctor test soak lint protos schema bench lock fmt install clean
