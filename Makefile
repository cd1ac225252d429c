.DEFAULT_GOAL := help
SHELL := /bin/bash
UV := $(shell command -v uv || echo .tools/uv/bin/uv)
MEMBERS := $(wildcard libs/* services/*)
RUN := .venv/bin/
export UV_PYTHON_DOWNLOADS := never
# As pip does: behind a proxy of a company, only the system's certificates know it.
export UV_SYSTEM_CERTS := 1
unexport PYTHONDONTWRITEBYTECODE # Libraries compiled again at every start cost two seconds.

.PHONY: help setup check types contracts units test run test-deploy release bench chaos scan lock format docs

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.installed ## Install what requirements.lock says, and the workspace, into .venv

.tools/uv/bin/uv:
	@echo "Fetching uv …"
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .tools/uv uv \
	  || { python3 -m venv .tools/venv && .tools/venv/bin/pip install --quiet uv && mkdir -p .tools/uv/bin && ln -sf ../../venv/bin/uv .tools/uv/bin/uv; } \
	  || { echo "make: cannot fetch uv: Python needs pip or venv (Debian: apt install python3-venv), or install uv yourself"; exit 1; }

.venv/.installed: requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS)) | $(if $(filter .tools/%,$(UV)),$(UV))
	@test -x .venv/bin/python || $(UV) venv --quiet --python "$${PYTHON:-python3}" .venv
	@$(UV) pip install --quiet --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --no-deps $(addprefix -e ,$(MEMBERS))
	@$(RUN)python -c "import tidemill.cli.together, tidemill.watcher.main, tidemill.converter.main, tidemill.downloader.main, tidemill.scraper.main, tidemill.scheduler.main, tidemill.reporter.main, tidemill.alerter.main"
	@touch $@

lock: | $(if $(filter .tools/%,$(UV)),$(UV)) ## Renew requirements.lock (hashes, no hosts)
	$(UV) lock --upgrade
	$(UV) export --quiet --all-packages --all-groups --no-emit-workspace --no-header --format requirements-txt -o requirements.lock

format: setup ## Rewrite the code in our format
	$(RUN)ruff check --fix --quiet . ; $(RUN)ruff format --quiet .

check: setup ## Format, lint, types, import contracts, unit tests
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	@$(MAKE) --no-print-directory -j2 types contracts units

types: setup
	$(RUN)mypy $(addsuffix /src,$(MEMBERS))

contracts: setup
	$(RUN)lint-imports --no-cache

units: setup
	$(RUN)pytest -q -n 3 --dist worksteal -m "not servers and not slow and not chaos and not unmeasured"

test: setup ## Every test, with real NATS and Postgres, and coverage over all processes
	$(RUN)python tests/coverage_gate.py

chaos: setup ## The long form of the kill tests, and what takes too long for `make test`
	$(RUN)pytest -q -m chaos tests/chaos --long
	$(RUN)pytest -q -m "long and not chaos"

scan: setup ## Linters and scanners of others on what is deployed; each skips, and says so, where it is not on PATH
	$(RUN)pytest -q -m long tests/deploy/test_scans.py tests/deploy/test_chart.py tests/deploy/test_compose.py

test-deploy: setup ## The topology of Compose as processes: losses, growth, upgrade and rollback under load
	$(RUN)pytest -q -s -m deploy tests/deploy

release: setup ## Wheels, bill of materials, contracts and chart into dist/
	$(RUN)python -m deploy.release $(UV)

bench: setup ## Ours, the peer's and the limit side by side
	$(RUN)python -m benchmarks $(BENCH)

docs: setup ## Build the documentation into build/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(RUN)mkdocs build --strict

run: setup ## Start Tidemill on this machine with the bundled sources
	$(RUN)tidemill up --demo
