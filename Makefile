# `make` alone lists what there is. Only python3 (3.11 or later, with venv) and make are needed.
.DEFAULT_GOAL := help
.PHONY: help bench setup up test faults check lint quick fmt messages lab lock clean dev translations

PYTHON ?=
ARGS ?=
BIN := .venv/bin
PO := $(wildcard xmailadmin/locale/*/LC_MESSAGES/*.po)
# What `make fuzz` runs: everything that counts what it tries, or tries more with that profile.
FUZZ := tests/fuzz tests/certs tests/xmailadmin tests/test_vault.py tests/test_rotation.py tests/test_backup.py tests/test_private_files.py tests/canary
# Checks get a data directory of their own, away from a portal's.
CHECKS := env XMAILADMIN_HOME=$(CURDIR)/.venv/checks-home

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## Create .venv with the locked dependencies and compile the translations
	@PYTHON='$(PYTHON)' requirements/install.sh base
	@$(MAKE) --no-print-directory translations

up: setup ## Set up what is missing, then serve the portal, worker included, until Ctrl-C; ARGS=--tls by HTTPS
	@exec $(BIN)/python manage.py up $(ARGS)

dev:
	@PYTHON='$(PYTHON)' requirements/install.sh dev
	@$(MAKE) --no-print-directory translations

translations: $(PO:.po=.mo) ; @:

%.mo: %.po
	@$(BIN)/python -m babel.messages.frontend --quiet compile --input-file=$< --output-file=$@ --locale=$(notdir $(patsubst %/LC_MESSAGES/,%,$(dir $<)))

test: ## Install what the tests need, then run them all; ARGS="-k word" picks some
	@tests/install-packages.sh
	@$(MAKE) --no-print-directory dev
	$(BIN)/python -m pytest --numprocesses=2 $(ARGS)

faults: ## Inject faults into processes, hosts, connections and disks (hours); ARGS="-k ctrl" picks some
	@tests/install-packages.sh
	@$(MAKE) --no-print-directory dev
	$(BIN)/python -m pytest -m faults $(ARGS)

fuzz: ## All generated input, and the table of what was tried; ARGS="-k word" picks some
	@tests/install-packages.sh
	@$(MAKE) --no-print-directory dev
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest --numprocesses=2 $(FUZZ) $(ARGS)

audit: dev ## Ask the advisory database about the locked dependencies (needs the network)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements/base.txt
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements/dev.txt

check: lint test ## Everything that must hold before a change is taken: lint, then test

lint: quick ## Formatting, types, templates, Django's own checks, complete migrations
	$(CHECKS) $(BIN)/mypy .
	$(CHECKS) $(BIN)/python manage.py check --fail-level=WARNING
	$(CHECKS) XMAILADMIN_URL=https://portal.example $(BIN)/python manage.py check --deploy --fail-level=WARNING
	$(CHECKS) $(BIN)/python manage.py makemigrations --check --dry-run

quick: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djlint --quiet --check --lint templates

fmt: dev ## Format code and templates, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint --quiet --reformat templates

messages: dev ## Bring the translation files up to date with the code (needs gettext)
	$(CHECKS) $(BIN)/python manage.py makemessages --locale=ja

bench: ## Measure against the baselines and write bench/RESULTS.md (half an hour of an idle machine)
	@tests/install-packages.sh
	@PYTHON='$(PYTHON)' requirements/install.sh bench
	@$(MAKE) --no-print-directory translations
	$(BIN)/python -m bench $(ARGS)

lab: dev ## Run the mail clients of this machine against every kind of certificate, changing nothing
	@tests/install-packages.sh
	$(CHECKS) $(BIN)/python manage.py client_lab --all-cases --dry-run $(ARGS)

lock: dev ## Rebuild the lock files after a change of requirements/*.in
	PATH="$(CURDIR)/$(BIN):$$PATH" requirements/compile.sh

clean: ## Remove .venv and everything built; the data directory stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage test-results
	rm -f $(PO:.po=.mo)
	find certs hosts xmailadmin tests -name __pycache__ -type d -prune -exec rm -rf {} +
