"""What conftest.py does to skips: nothing, but for continuous integration.

CONTRIBUTING.md, "Setting up": in CI a skip is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CI_CANNOT_HAVE, CPU_QUOTAS, allowed

ROOT = Path(__file__).parents[1]

MARKED = ".".join(("pytest", "mark", "alone"))

SKIPPED = """
import pytest

def test_in_the_test():
    pytest.skip("no reason")

@pytest.mark.skip(reason="by a mark")
def test_by_a_mark():
    pass

@pytest.mark.server("no-such-server")
def test_for_want_of_a_server():
    pass

@pytest.mark.xfail(strict=True)
def test_that_is_known_to_fail():
    assert False
"""
WHOLE_MODULE = 'import pytest\n\npytest.importorskip("no_such_module")\n'
ALLOWED = f"import pytest\n\ndef test_it():\n    pytest.skip({CI_CANNOT_HAVE[0]!r})\n"
SOURCES = {"test_tests.py": SKIPPED, "test_module.py": WHOLE_MODULE, "test_allowed.py": ALLOWED}


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


def test_what_runs_alone_is_where_make_looks_for_it() -> None:
    """So that nobody has to collect thousands of other tests for it."""
    tests = ROOT / "tests"
    marked = {file for file in tests.rglob("test_*.py") if MARKED in file.read_text("utf-8")}
    assert marked
    places = (tests / "e2e", tests / "docs")
    assert all(any(map(file.is_relative_to, places)) for file in marked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("", "5 skipped, 1 xfailed"), ("true", "1 failed, 1 skipped, 1 xfailed, 3 errors")],
    ids=["elsewhere", "in CI"],
)
def test_in_ci_a_skip_is_a_failure(tmp_path: Path, ci: str, outcome: str) -> None:
    """But for what nobody could mend."""
    for name, source in SOURCES.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    ours = ["-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    more = ["--continue-on-collection-errors", "--rootdir", str(tmp_path), str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *ours, *more],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"== {outcome} in" in ran.stdout.splitlines()[-1]
