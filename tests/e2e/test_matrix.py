"""``tlsprobe matrix`` on runs of the built-in servers, and ``run`` for build servers."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from tests.e2e.probing import SPOILED, Ran, tlsprobe
from tests.e2e.test_campaign import reference
from tlsprobe.campaign.demo import SEQUENCES
from tlsprobe.report.document import read_run
from tlsprobe.report.schema import closed, matrix_schema

ALIKE = ("polite", "lingering")
SERVERS = (*ALIKE, "rude")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two servers that close alike and one that does not, one trial a cell."""
    folder = tmp_path_factory.mktemp("matrix")
    ran = tlsprobe("demo", *SERVERS, "--trials", "1", "--out", str(folder / "out"), cwd=folder)
    assert ran.code == 0 or "self-test failed" in ran.err, ran.err  # that is tested elsewhere
    return folder


def matrix(measured: Path, *words: str) -> Ran:
    ran = tlsprobe("matrix", "out", *words, cwd=measured)
    assert ran.code == 0, ran.err
    return ran


def test_the_terminal_shows_groups_and_table(measured: Path) -> None:
    out = matrix(measured).out
    assert out.startswith("How 3 servers end TLS connections\n")
    assert "Servers with the same letter close alike" in out
    assert all(f" {server}" in out for server in SERVERS)
    assert max(map(len, out.splitlines())) <= 80
    transposed = matrix(measured, "--transposed").out
    assert transposed != out
    assert any(line.startswith("server ") for line in transposed.splitlines())


def test_a_screen_goes_to_a_file_as_it_is(measured: Path) -> None:
    file = measured / "matrix.txt"
    matrix(measured, "--transposed", "--out", str(file))
    _, command, written = file.read_text(encoding="utf-8").partition("connections ")
    assert command
    assert matrix(measured, "--transposed").out.endswith(written)


def test_code_scanning_gets_what_each_server_does(measured: Path) -> None:
    matrix(measured, "--sarif", "matrix.sarif")
    (run,) = json.loads((measured / "matrix.sarif").read_bytes())["runs"]
    places = {
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]
    }
    assert "out/rude/facts.jsonl.gz" in places
    assert {one["level"] for one in run["results"]} <= {"warning", "note"}


def test_an_option_goes_by_its_old_name_too(measured: Path) -> None:
    _, _, old = matrix(measured, "--turned").out.partition("connections ")
    assert matrix(measured, "--transposed").out.endswith(old)
    assert "--turned" not in tlsprobe("matrix", "--help", cwd=measured).out


def test_markdown_goes_to_a_file(measured: Path) -> None:
    file = measured / "matrix.md"
    ran = matrix(measured, "--format", "markdown", "--out", str(file))
    assert ran.out == ""
    page = file.read_text(encoding="utf-8")
    assert page.startswith("# How 3 servers end TLS connections")
    assert "tlsprobe matrix out --format markdown" in page


def test_csv_has_every_cell(measured: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(matrix(measured, "--format", "csv").out)))
    assert {line["vendor"] for line in lines} == set(SERVERS)
    assert len(lines) == len(SERVERS) * len(SEQUENCES) * 2
    assert {line["trials"] for line in lines} == {"1"}


def test_json_keeps_its_schema_and_groups_who_closes_alike(measured: Path) -> None:
    document = json.loads(matrix(measured, "--format", "json").out)
    jsonschema.Draft202012Validator(closed(matrix_schema())).validate(document)
    groups = {frozenset(group["vendors"]) for group in document["groups"]}
    cells = [cell for name in ALIKE for cell in read_run(measured / "out" / name).cells]
    slow = any(cell.left_out.keys() & SPOILED for cell in cells)
    assert slow or frozenset(ALIKE) in groups


def test_the_run_documents_are_still_printed_one_a_line(measured: Path) -> None:
    lines = matrix(measured, "--json").out.splitlines()
    assert [json.loads(line)["schema"] for line in lines] == ["tlsprobe.run/1"] * len(SERVERS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("out", "--json", "--format", "csv"), "exclude each other"),
        (("out", "--format", "docx"), "--format"),
        (("nowhere",), "no such file"),
        (("out", "--format", "csv", "--out", "no/such/folder.csv"), "cannot write"),
    ],
)
def test_what_cannot_be_done_is_said(measured: Path, words: tuple[str, ...], said: str) -> None:
    ran = tlsprobe("matrix", *words, cwd=measured)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


@pytest.mark.packet_socket
def test_every_build_server_gets_its_report(tmp_path: Path) -> None:
    with reference("polite", "silent") as ports:
        targets = [f"127.0.0.1:{port}" for port in ports.values()]
        asked = ("--profile", "reference", "--sequence", "fin-only", "--tls", "1.3")
        ran = tlsprobe(
            *("run", "--target", targets[0], "--target", targets[1], *asked, "--trials", "1"),
            *("--out", "out", "--junit", "tests.xml", "--require-capture"),
            *("--sarif", "tests.sarif", "--gitlab", "quality.json"),
            cwd=tmp_path,
            env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")},
        )
    assert ran.code == 1
    root = ET.fromstring((tmp_path / "tests.xml").read_text(encoding="utf-8"))
    assert [suite.get("name") for suite in root] == targets
    assert [case.get("name") for case in root.iter("testcase")] == [
        "fin-only TLS 1.3",
        "fin-only TLS 1.3: ends without a close_notify",
    ]
    assert [len(list(suite.iter("failure"))) for suite in root] == [0, 1]
    (line,) = [line for line in ran.err.splitlines() if line.startswith("::")]
    assert line.startswith(
        f"::error title={targets[1].replace(':', '%3A')}%3A ends without a close"
    )
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert all(target in summary for target in targets)
    (result,) = json.loads((tmp_path / "tests.sarif").read_bytes())["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("no-close-notify", "error")
    (issue,) = json.loads((tmp_path / "quality.json").read_bytes())
    assert issue["check_name"] == "no-close-notify"


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port on which nobody listens while the test goes on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_junit_says_that_nothing_was_measured(deaf_port: int, tmp_path: Path) -> None:
    asked = ("--sequence", "fin-only", "--trials", "1", "--capture", "none", "--junit", "tests.xml")
    unwritable = ("--sarif", "no/such/folder", "--github")
    ran = tlsprobe(
        *("run", "--target", f"127.0.0.1:{deaf_port}", "--profile", "raw", *asked, *unwritable),
        *("--out", str(tmp_path / "out")),
        cwd=tmp_path,
    )
    assert ran.code == 2
    assert "cannot write no/such/folder: No such file" in ran.err
    root = ET.fromstring((tmp_path / "tests.xml").read_text(encoding="utf-8"))
    assert list(root.iter("error")) != []
    assert list(root.iter("failure")) == []
