# The whole life of a checkout. `make install` is quick when there is nothing to do.

PYTHON ?= python3
export PYTHON

# pytest keeps the tests that it has compiled in __pycache__, or every process compiles all of them.
unexport PYTHONDONTWRITEBYTECODE

# Where .ci/install-test-deps puts Go on a machine that has none, or an old one.
WITH_GO = PATH="$(CURDIR)/.venv/go/go/bin:$$PATH"

PYTEST = $(WITH_GO) .venv/bin/python -m pytest
# A file is one process's: what its tests share is made once. In the order of collection, which
# begins with what takes longest.
SPREAD = --maxprocesses 8 --dist loadfile --no-loadscope-reorder --numprocesses
# One process on each of two processors is as quiet as one on one.
CALMLY = $(SPREAD) 2
FORWARDERS = port-forward-0.22 port-forward-0.24 port-forward-newest
NEEDY = root or packet_socket or kernel_truth or server

.DEFAULT_GOAL := help
.PHONY: help install test-deps compiled demo check test results explore lint format bench docs clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

install:  ## tlsprobe and its development tools, into .venv
	@bash .ci/install

test-deps: install  ## the servers and capture tools the tests use (as root on Debian)
	@bash .ci/install-test-deps

demo: install  ## probe the built-in reference servers on loopback
	@.venv/bin/tlsprobe demo

check: lint  ## style, types, and the tests that need neither root nor servers: in a minute
	$(PYTEST) $(SPREAD) logical --hypothesis-profile quick --ignore=tests/e2e -m "not ($(NEEDY) or slow or results)"

# Each process would rewrite the asserts of all test files for itself, if nobody had done it before;
# one can, while the servers are fetched. What cannot be collected is told by the tests themselves.
compiled: install
	-@$(PYTEST) --collect-only --quiet --quiet >/dev/null

test: install  ## all tests, but for those of `make results`
	@$(MAKE) --no-print-directory --jobs 2 test-deps compiled
	-@$(WITH_GO) .venv/bin/tlsprobe lab install $(FORWARDERS)
	$(PYTEST) $(SPREAD) auto -m "not (alone or results)"
	$(PYTEST) $(CALMLY) -m alone tests/e2e tests/docs

results: install  ## whether the pages in results/ are what the facts in it give
	$(PYTEST) -m results tests/report

explore: install  ## the property tests with new examples, and fifty times as many
	$(PYTEST) $(SPREAD) logical --hypothesis-profile explore -m "hypothesis and not ($(NEEDY))"

lint: install  ## style, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: install  ## mend what lint can mend by itself
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: install  ## the benchmarks, tests/bench/bench_*.py
	.venv/bin/python -m pytest tests/bench --capture=no -o python_files='bench_*.py test_*.py'

docs: install  ## the documentation as HTML, into site/; a broken link is an error
	.venv/bin/sphinx-build --fail-on-warning --keep-going --quiet -c docs . site
	@echo 'open site/docs/index.html'

clean:  ## remove .venv and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist site
