# The whole life of a checkout. `make install` is quick when there is nothing to do.

PYTHON ?= python3
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help install test-deps demo test lint format bench clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

install:  ## tlsprobe and its development tools, into .venv
	@bash .ci/install

test-deps:  ## the servers and capture tools the tests use (as root on Debian)
	@bash .ci/install-test-deps

demo: install  ## probe the built-in reference servers on loopback
	@.venv/bin/tlsprobe demo

test: install test-deps  ## the whole test suite
	.venv/bin/python -m pytest

lint: install  ## style, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: install  ## mend what lint can mend by itself
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: install  ## the benchmarks, tests/bench/bench_*.py
	.venv/bin/python -m pytest tests/bench --capture=no -o python_files='bench_*.py test_*.py'

clean:  ## remove .venv and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
