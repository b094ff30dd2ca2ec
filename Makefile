# Two commands on a fresh machine with Python >= 3.11, its pip and venv, and make:
#   make train   train on the embedded data set and print where the report is
#   make test    style, types and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := --numprocesses auto --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help install train lint test integration slow torture

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

install: $(VENV)/.installed  ## make .venv and install everything (about 6 GB: torch comes with CUDA's libraries)

# Installed again only when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "camloc needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@

train: install  ## train on the embedded data set
	$(BIN)/python train.py

lint: install  ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint  ## style, types and tests, doctests included
	$(BIN)/python -m pytest $(PARALLEL) --dist loadfile

integration: install  ## the tests that need many processes: sweeps, several devices, kills and resumes
	$(BIN)/python -m pytest $(PARALLEL) --dist worksteal -m 'integration and not slow and not gpu' tests

slow: install  ## the tests that take over half a minute each
	$(BIN)/python -m pytest -m slow

torture: install  ## damaged files and options, signals, full disks, each with a verdict; ends in one table (hours)
	$(BIN)/python -m tests.harness $(TORTURE)
