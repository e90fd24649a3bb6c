"""The pytest plugin, in a project of somebody who tests a server."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ALONE = ("-p", "tlsprobe.pytest_plugin", "-p", "no:cacheprovider")
"""By its module, whether or not this environment knows the entry point."""


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that this environment has beside it take longer to import than the tests take."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


TESTS = """
import pytest
import tlsprobe

ASKED = dict(profile="reference", sequences=["fin-only"], tls=["1.3"], trials=1, capture="none")

@pytest.fixture(scope="module")
def silent():
    with tlsprobe.reference_server("silent") as address:
        yield address

@pytest.fixture(scope="module")
def polite():
    with tlsprobe.reference_server("polite") as address:
        yield address

def test_clean(tlsprobe_expect_clean, polite):
    tlsprobe_expect_clean(polite, **ASKED)

def test_run(tlsprobe_run, silent):
    run = tlsprobe_run(silent, **ASKED)
    assert [one.kind for one in run.behaviours] == ["no-close-notify"]

def test_not_clean(tlsprobe_expect_clean, tlsprobe_run, silent):
    tlsprobe_expect_clean(tlsprobe_run(silent, **ASKED))

def test_not_clean_and_nobody_cares(tlsprobe_expect_clean, silent):
    tlsprobe_expect_clean(silent, fail_on="never", **ASKED)
"""


@pytest.mark.slow
def test_a_test_that_fails_shows_the_ladder(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_inprocess(*ALONE)
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines([
        "*: ends without a close_notify (1 of 1)",
        "*harm: noise (*",
        "*seen in: fin-only TLS 1.3 (1/1)",
        "*again: tlsprobe run --target 127.0.0.1:* --sequence fin-only --tls 1.3",
        "*trial 0 (F f):",
        "*client * server  f *",
    ])  # fmt: skip
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


@pytest.mark.slow
def test_what_the_project_waives_fails_no_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    waiver = '[[waiver]]\nrule = "TLS13-NOTIFY"\nreason = "known"\n'
    pytester.path.joinpath("tlsprobe.toml").write_text(waiver, encoding="utf-8")
    pytester.runpytest_inprocess(*ALONE, "-k", "not_clean").assert_outcomes(passed=2, deselected=2)


def test_pytest_finds_it_by_its_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"tlsprobe": "tlsprobe.pytest_plugin"}
