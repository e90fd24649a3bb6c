"""Tests in forked processes: nothing is lost on the way, and the session is ended where it lived.

CONTRIBUTING.md, "Running one test": whoever is free takes the next file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.forks import CPU_QUOTAS, allowed

pytest_plugins = ["pytester"]

SHARED = """
import os, pathlib, pytest

@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    made = tmp_path_factory.mktemp("shared", numbered=False)
    yield made
    (pathlib.Path(__file__).parent / f"ended-{os.getpid()}").touch()

@pytest.fixture(scope="module")
def module(shared):
    yield shared
    assert shared.exists()
"""

TESTS = """
import pytest

def test_good(module):
    print("heard of nobody")

def test_bad(module):
    print("heard of", module)
    assert module == 1, "so it says"

@pytest.mark.skip(reason="for a reason")
def test_skipped():
    pass
"""


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "max 100000\n"}, sys.maxsize),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, sys.maxsize),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.cfs_quota_us": "400000\n"}, sys.maxsize),
        ({}, sys.maxsize),
    ],
)
def test_a_quota_says_how_many_processors_we_may_use(
    tmp_path: Path, files: dict[str, str], processors: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert min(allowed(tmp_path / quota.name) for quota in CPU_QUOTAS) == processors


@pytest.fixture
def forked(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of three files; what it runs needs no other plugins."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeconftest(SHARED)
    pytester.makepyfile(test_a=TESTS, test_b=TESTS, test_c="def test_c(): pass")
    return pytester


def run(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "tests.forks", "--forks", "2", "-ra", *words)


@pytest.mark.slow
def test_what_comes_out_is_what_one_process_gives(forked: pytest.Pytester) -> None:
    done = run(forked)
    done.assert_outcomes(passed=3, failed=2, skipped=2)
    done.stdout.fnmatch_lines_random([
        "*test_a.py::test_bad - AssertionError: so it says*",
        "heard of /*/shared",
        "SKIPPED * for a reason",
    ])  # fmt: skip
    done.stdout.no_fnmatch_line("heard of nobody")
    assert done.ret == 1
    assert len(list(forked.path.glob("ended-*"))) in {1, 2}, "each process ends its session"


@pytest.mark.slow
def test_a_process_that_dies_is_a_failure_and_the_others_go_on(forked: pytest.Pytester) -> None:
    forked.makepyfile(test_a="import os\n\ndef test_it():\n    os._exit(0)\n")
    done = run(forked)
    done.stdout.fnmatch_lines(["*FAILED test_a.py::test_it - its process died*"])
    done.assert_outcomes(passed=2, failed=2, skipped=1)


@pytest.mark.slow
def test_what_breaks_at_the_very_end_is_an_error(forked: pytest.Pytester) -> None:
    forked.makeconftest(SHARED + "    raise OSError('at the end')\n")
    forked.makepyfile(test_a="def test_it(module): pass", test_b="def test_it(): pass")
    done = run(forked)
    done.assert_outcomes(passed=3, errors=1)
    done.stdout.fnmatch_lines(["*OSError: at the end*"])


@pytest.mark.slow
def test_after_the_first_failure_nobody_takes_another_file(forked: pytest.Pytester) -> None:
    """The one who has no file yet may take one meanwhile."""
    forked.makepyfile(**{f"test_d{n}": "def test_it(): pass" for n in range(500)})
    done = run(forked, "--exitfirst")
    assert done.ret == 1
    assert done.parseoutcomes()["passed"] < 503
    done.stdout.fnmatch_lines(["*stopping after * failures*"])


@pytest.mark.slow
def test_what_cannot_be_collected_is_no_success(forked: pytest.Pytester) -> None:
    forked.makepyfile(test_a="import no_such_module")
    assert run(forked).ret == 2
