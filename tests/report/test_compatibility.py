"""The matrix of many servers: one value, as CSV and JSON, and written into a folder."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from tests.report.vendors import (
    BARE,
    CLOSED,
    DISAGREEMENT,
    cell,
    five,
    in_lab,
    nasty,
    run_of,
    truth,
)
from tlsprobe.catalogue import catalogue
from tlsprobe.errors import UsageError
from tlsprobe.model.judgement import Outcome, Verdict
from tlsprobe.profiles import load_profile
from tlsprobe.report.blocks import Code, Mark
from tlsprobe.report.compatibility import (
    compatibility_of,
    letter_at,
    table_of,
    vendors_of,
)
from tlsprobe.report.compatibility_csv import HEADS, render_csv, safe_field
from tlsprobe.report.compatibility_files import write_compatibility
from tlsprobe.report.compatibility_json import MATRIX_FILE, absent_in, encode_matrix
from tlsprobe.report.pages.compatibility import compatibility_page
from tlsprobe.report.render_markdown import render_markdown
from tlsprobe.report.schema import closed, matrix_schema

COMMAND = "tlsprobe lab run --trials 20"


def fields_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_groups_hold_all_that_was_measured_and_the_rest_has_reasons() -> None:
    found = compatibility_of(five())
    titles = [[member.title for member in group.members] for group in found.groups]
    assert sorted(map(sorted, titles)) == [
        ["PostgreSQL"],
        ["nginx", "nginx (as a proxy)"],
        ["redis"],
    ]
    assert [group.letter for group in found.groups] == ["A", "B", "C"]
    assert [absent.reason for absent in found.absent] == ["no such program: h2o"]
    nearest = found.measured.index(five()[0])
    assert found.apart[nearest][nearest] == 0


def test_letters_go_on_behind_z() -> None:
    assert [letter_at(index) for index in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]


def test_runs_are_named_by_the_lab_else_by_their_target() -> None:
    plain = run_of("db", CLOSED)
    lab = in_lab(run_of("127.0.0.1:1", CLOSED), "nginx", "nginx, tuned")
    other = replace(lab, target=replace(lab.target, profile="http2"))
    again = replace(lab, started="2026-12-01T00:00:00.000Z")
    found = vendors_of([plain, lab, other, again], [("h2o", "H2O", "gone")])
    assert [v.name for v in found] == ["db", "nginx", "nginx-http2", "nginx-postgres", "h2o"]
    assert [v.title for v in found][1:3] == ["nginx, tuned", "nginx, tuned (http2)"]
    assert len({v.name for v in found}) == len(found)
    assert found[1].versions() == "1.22.1, OpenSSL 3.0.17"
    assert found[0].versions() == "version not recorded, TLS library not recorded"


def test_the_table_has_a_place_for_everything() -> None:
    found = compatibility_of(five())
    matrix = table_of(found)
    assert matrix.table.columns[-1].head == "h2o"
    assert all(len(row) == len(matrix.table.columns) for row in matrix.table.rows)
    assert {row[-1] for row in matrix.table.rows} == {(Mark(Verdict.UNSUPPORTED, "na"),)}
    known = list(catalogue())
    labels = [str(row[0]) for row in matrix.table.rows]
    assert labels == sorted(labels, key=known.index)
    meaning = "unsupported: the server or this machine does not offer it"
    assert (Code("na"), meaning) in matrix.legend.entries


# --- CSV ------------------------------------------------------------------------------------------


def test_the_csv_has_a_line_for_each_vendor_sequence_and_version() -> None:
    found = compatibility_of(five())
    text = render_csv(found)
    lines = fields_of(text)
    assert len(lines) == 4 * 8 * 2 + 1
    assert text.count("\r\n") == text.count("\n") == len(lines) + 1
    assert tuple(lines[0]) == HEADS
    place = {"vendor": "postgres", "sequence": "terminate-close-notify", "tls": "1.3"}
    (reset,) = [line for line in lines if line.items() >= place.items()]
    assert reset["reset-before-fin"] == reset["server_rst_before_fin"] == "20"
    assert reset["ending"] == "close_notify, RST"
    assert reset["signature"] == "N n r"
    assert reset["causes"] == "unread-data-at-close 20"
    assert reset["verdict"] == "warn"
    assert sum(int(reset[outcome]) for outcome in Outcome) == 20


def test_absent_vendors_have_a_line_with_the_reason() -> None:
    last = fields_of(render_csv(compatibility_of(five())))[-1]
    assert (last["vendor"], last["verdict"]) == ("h2o", "unsupported")
    assert (last["reason"], last["trials"]) == ("no such program: h2o", "0")


def test_the_csv_transposed_goes_sequence_by_sequence() -> None:
    lines = fields_of(render_csv(compatibility_of(five()), is_transposed=True))
    sequences = [line["sequence"] for line in lines if line["sequence"]]
    assert sequences == sorted(sequences, key=list(catalogue()).index)
    assert len({line["vendor"] for line in lines[:8]}) == 4


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", r"\t=1"),
        ("\r\n=1", r"\r\n=1"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("plain", "plain"),
    ],
)
def test_a_field_does_nothing(hostile: str, safe: str) -> None:
    assert safe_field(hostile) == safe


def test_nasty_fields_stay_in_their_places() -> None:
    text = render_csv(compatibility_of(nasty()))
    lines = fields_of(text)
    assert all(None not in line and None not in line.values() for line in lines)
    fields = [value for line in lines for value in line.values()]
    assert not [field for field in fields if field.startswith(("=", "+", "-", "@"))]
    assert text.replace("\r\n", "").isprintable()


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("is_transposed", [False, True])
def test_the_document_keeps_its_schema(is_transposed: bool) -> None:
    schema = closed(matrix_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    told = replace(run_of("x", CLOSED), truth=truth(DISAGREEMENT))
    for vendors in (five(), nasty(), [], [*vendors_of([told])]):
        data = encode_matrix(compatibility_of(vendors), COMMAND, is_transposed=is_transposed)
        validator.validate(json.loads(data))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"schema": "tlsprobe.matrix/1"})


def test_the_document_says_what_the_page_says() -> None:
    document = json.loads(encode_matrix(compatibility_of(five()), COMMAND))
    assert document["schema"] == "tlsprobe.matrix/1"
    assert document["command"] == COMMAND
    assert len(document["cells"]) == 4 * 8 * 2
    assert [v["vendor"] for v in document["vendors"]][-1] == "h2o"
    assert document["vendors"][-1]["unsupported"] == "no such program: h2o"
    grouped = [name for group in document["groups"] for name in group["vendors"]]
    assert grouped == [v["vendor"] for v in document["vendors"] if "group" in v]
    assert len(document["distances"]) == len(document["distances"][0]) == 4


# --- Files ----------------------------------------------------------------------------------------


def test_a_lab_run_leaves_its_files(tmp_path: Path) -> None:
    profiles = {name: load_profile(name) for name in ("nginx", "postgres")}
    runs = [
        in_lab(run_of("nginx", BARE), "nginx", "nginx"),
        in_lab(run_of("x", CLOSED, cell("close-notify-only", "n f")), "../evil", "odd"),
    ]
    folder = tmp_path / "results"
    found = write_compatibility(folder, runs, [("h2o", "h2o", "gone")], COMMAND, profiles=profiles)
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert written == [
        "results/evil/vendor.md",
        "results/lab.json",
        "results/matrix.csv",
        "results/matrix.json",
        "results/matrix.md",
        "results/nginx/vendor.md",
        "results/report.html",
    ]
    assert (folder / "matrix.md").read_text() == render_markdown(compatibility_page(found, COMMAND))
    assert (folder / "matrix.csv").read_bytes().decode() == render_csv(found)
    assert absent_in(folder) == (("h2o", "h2o", "gone"),)
    assert absent_in(tmp_path) == ()
    assert "`lingering_close`" in (folder / "nginx" / "vendor.md").read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "x", "vendors": []}', '{"schema": 1}'])
def test_a_damaged_matrix_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / MATRIX_FILE).write_text(content)
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / MATRIX_FILE))):
        absent_in(tmp_path)


def test_who_was_measured_after_all_is_not_absent() -> None:
    gone = [("h2o", "h2o", "no such program"), ("h2o", "h2o", "no such program"), ("db", "db", "x")]
    names = [v.name for v in vendors_of([run_of("db", CLOSED)], gone)]
    assert names == ["db", "h2o"]
