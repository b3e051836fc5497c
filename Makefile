# `make` lists what there is. Each target installs what it needs, and again only when pyproject.toml changed.
PYTHON ?= python3
PORT ?= 8000
ARGS ?=
BENCH ?=

.SILENT:
.DEFAULT_GOAL := help
.PHONY: soak fuzz screenshots help run test test-integrations check bench gpu-worker browser database-url lint types migrations deployable structure javascript load secrets audit

help: ## List the targets
	awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' Makefile

run: .venv/.run ## Start the site and its queues; PORT=8001 for another port
	exec .venv/bin/python manage.py up --port $(PORT)

test: .venv/.dev browser ## Run the tests, in a real browser too; ARGS="-k consensus" for some of them
	exec .venv/bin/python -m pytest -n logical --maxprocesses 4 $(ARGS)

fuzz: .venv/.dev ## Try every door from outside with odd input; FUZZ_CASES=40000 of it, ARGS="-k pictures" for some
	exec .venv/bin/python -m tests.fuzz $(ARGS)

test-integrations: .venv/.dev ## Our exports in LLaMA-Factory, datasets, TRL and Label Studio, each installed apart
	exec .venv/bin/python .ci/integrations.py $(ARGS)

soak: .venv/.dev ## Kill processes of a busy site at random for SOAK_MINUTES (20), and check its books; SEED=7 as before
	exec .venv/bin/python -m tests.faults.soak --minutes $(or $(SOAK_MINUTES),20) $(if $(SEED),--seed $(SEED))

check: lint types migrations deployable structure javascript secrets audit ## Lint, types, migrations, deployment, import rules, secrets, known vulnerabilities

bench: .venv/.dev ## Measure what the README promises; BENCH=name for one of tests/bench
	exec .venv/bin/python -m tests.bench $(BENCH)

load: .venv/.dev ## A hundred people review at once: what they wait for, errors, memory; LOAD_POSTS=1000000 for the long one
	exec .venv/bin/python -m tests.load

screenshots: .venv/.dev ## Take the pictures of README and docs; SITE=a login link for a site that runs already
	.venv/bin/python -m tests.browser.screenshots $(SITE)

gpu-worker: database-url .venv/.run ## Train and predict on this machine for the site whose DATABASE_URL is given
	exec env Q_CLUSTER_NAME=gpu DATABASE_POOL=0 .venv/bin/python manage.py qcluster

# --- What they need
.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is not: install one, or name it: make run PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) .ci/install.py venv

.venv/.run: pyproject.toml .venv/bin/python
	.venv/bin/python .ci/install.py train labelstudio
	touch $@

.venv/.dev: pyproject.toml .venv/bin/python
	.venv/bin/python .ci/install.py train labelstudio sso s3 dev
	touch $@ .venv/.run

.ci/eslint/node_modules/.installed: .ci/eslint/package-lock.json
	command -v npm >/dev/null || { \
	  echo "npm is missing, and the JavaScript is checked with it: install Node.js 20 or newer." >&2; exit 1; }
	mkdir -p var
	npm ci --prefix .ci/eslint --no-audit --no-fund --loglevel=error >var/npm.log 2>&1 || { \
	  echo "npm could not install ESLint: check the network; details: var/npm.log" >&2; exit 1; }
	touch $@

browser: .venv/.dev
	.venv/bin/python -m tests.browser.chromium

database-url:
	[ -n "$$DATABASE_URL" ] || grep -qs '^\(export \)\?DATABASE_URL=.' .env || { \
	  echo "DATABASE_URL is not set: give this worker the site's database, DATABASE_URL=postgresql://... make gpu-worker" >&2; \
	  exit 1; }

# --- The parts of `make check`
lint: .venv/.dev
	echo "Style"
	.venv/bin/ruff check --quiet .
	.venv/bin/ruff format --check --quiet . || { \
	  echo "The files above are not formatted: .venv/bin/ruff format ." >&2; exit 1; }

types: .venv/.dev
	echo "Types"
	.venv/bin/python -m mypy --no-error-summary

migrations: .venv/.dev
	echo "Migrations"
	VAR_DIR=var/check .venv/bin/python manage.py makemigrations --check --dry-run >/dev/null || { \
	  echo "A model changed without a migration: .venv/bin/python manage.py makemigrations" >&2; exit 1; }

deployable: .venv/.dev
	echo "Deployment"
	SITE_URL=https://example.org ALLOWED_HOSTS=example.org TRUSTED_PROXIES=1 DEBUG=false \
	SECRET_KEY=only-for-this-check-but-as-long-and-as-mixed-as-a-real-one-0123456789 \
	  .venv/bin/python manage.py check --deploy --fail-level WARNING >/dev/null

structure: .venv/.dev
	echo "Import rules"
	.venv/bin/python -m pytest tests/test_structure.py

javascript: .ci/eslint/node_modules/.installed
	echo "JavaScript"
	.ci/eslint/node_modules/.bin/eslint --config .ci/eslint/eslint.config.mjs static/js

secrets: .venv/.dev
	echo "Secrets"
	.venv/bin/python .ci/secret_scan.py

audit: .venv/.dev
	echo "Known vulnerabilities"
	.venv/bin/python .ci/audit.py
