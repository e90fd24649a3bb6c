"""What conftest.py does to skips: nothing, but for continuous integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CI_CANNOT_HAVE

ROOT = Path(__file__).parents[1]

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


def closing_line(folder: Path, source: str, ci: str) -> str:
    """How a pytest run over this source ends, with our conftest.py."""
    (folder / "test_it.py").write_text(source, encoding="utf-8")
    ours = ["-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *ours, "--rootdir", str(folder), str(folder)],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return str(ran.stdout).splitlines()[-1]


@pytest.mark.parametrize(
    ("source", "ci", "outcome"),
    [
        (SKIPPED, "", "3 skipped, 1 xfailed"),
        (SKIPPED, "true", "1 failed, 1 xfailed, 2 errors"),
        (WHOLE_MODULE, "", "1 skipped"),
        (WHOLE_MODULE, "true", "1 error"),
        (ALLOWED, "true", "1 skipped"),
    ],
)
def test_in_ci_a_skip_is_a_failure(tmp_path: Path, source: str, ci: str, outcome: str) -> None:
    assert f"== {outcome} in" in closing_line(tmp_path, source, ci)
