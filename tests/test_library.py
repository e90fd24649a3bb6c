"""``import tlsprobe``: cheap, silent, typed, and its examples are true."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import io
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tlsprobe
from tlsprobe import library
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.document import read_run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def at_the_top() -> None:
    """Examples name files of the project."""
    assert Path.cwd() == ROOT, "run pytest from the top of the project"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["probe", "probe_sync", "judge", "explain", "failing", "complaint"]
)
def test_examples_are_true(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = inspect.getdoc(getattr(library, name)) or ""
    found = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    assert found.examples
    assert doctest.DocTestRunner().run(found).failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", tlsprobe.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(tlsprobe, name))
    assert name in dir(tlsprobe)


@pytest.mark.slow
def test_importing_it_is_cheap_and_importing_a_room_changes_nothing() -> None:
    code = """
import sys, tlsprobe
heavy = {"trio", "OpenSSL", "typer", "rich", "msgspec", "hypothesis", "scapy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import tlsprobe.judge.rules, tlsprobe.explain
from tlsprobe.judge.rules import RULES
assert RULES and callable(tlsprobe.judge) and callable(tlsprobe.explain)
assert tlsprobe.judge("tests/data/judged/rude").cells
assert not {"typer", "rich", "hypothesis", "scapy"} & set(sys.modules)
try:
    tlsprobe.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "module 'tlsprobe' has no attribute 'nothing'\n"


@pytest.mark.slow
def test_it_says_nothing_and_keeps_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    runs = []

    def work() -> None:
        with tlsprobe.reference_server("silent") as address:
            runs.append(
                tlsprobe.probe_sync(
                    address, profile="reference", sequences=["fin-only"], trials=1, capture="none"
                )
            )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [cell.verdict for cell in runs[0].cells] == [Verdict.FAIL, Verdict.FAIL]
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_keeps_the_run_and_a_baseline_is_compared(tmp_path: Path) -> None:
    with tlsprobe.reference_server("silent") as address:
        probe = partial(
            tlsprobe.probe_sync,
            address,
            profile=tlsprobe.load_profile("reference"),
            sequences=["fin-only"],
            trials=1,
            capture="none",
        )
        run = probe(folder=tmp_path / "run")
        again = probe(expect=tmp_path / "run")
    assert read_run(tmp_path / "run").cells == run.cells
    assert (tmp_path / "run" / FACTS_FILE).exists()
    assert again.deviations == ()


def test_awaited_in_another_loop_it_says_what_to_call() -> None:
    with pytest.raises(RuntimeError, match=r"asyncio.to_thread\(tlsprobe.probe_sync"):
        asyncio.run(tlsprobe.probe("127.0.0.1:1"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"patience": float("inf")}, "patience is inf"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"tls": ["1.1"]}, "tls '1.1' is not one of 1.2, 1.3"),
        ({"capture": "x"}, "capture 'x' is not one of"),
        ({"profile": "nope"}, "there is no profile 'nope'"),
        ({"sequences": ["nope"]}, "nope"),
    ],
)
def test_what_is_wrong_is_an_error_with_a_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(tlsprobe.UsageError, match=said):
        tlsprobe.probe_sync("127.0.0.1:1", **{"profile": "raw", **options})


def test_a_server_that_is_not_there_cannot_be_measured() -> None:
    with pytest.raises(tlsprobe.CannotMeasure):
        tlsprobe.probe_sync("127.0.0.1:1", profile="raw", capture="none", sequences=["fin-only"])


def test_an_open_file_is_explained_too() -> None:
    data = (ROOT / "tests/data/corpus/aborting-half-close-4.pcapng").read_bytes()
    (found,) = tlsprobe.explain(io.BytesIO(data), wanted=tlsprobe.Filter(port=1))
    assert found.flows == ()
    with pytest.raises(tlsprobe.UsageError):
        tlsprobe.explain(io.BytesIO(b""))


def test_waivers_of_a_file_count(tmp_path: Path) -> None:
    file = tmp_path / "tlsprobe.toml"
    file.write_text('trials = 3\n[[waiver]]\nbehaviour = "reset-*"\nreason = "known"\n')
    run = tlsprobe.judge(ROOT / "tests/data/judged/rude")
    assert "RST in place of a FIN" in tlsprobe.complaint(run)
    assert tlsprobe.failing(tlsprobe.with_waivers(run, file)) == ()
    assert tlsprobe.complaint(tlsprobe.with_waivers(run, file)) == ""
