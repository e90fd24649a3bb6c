"""The matrix of many servers: one value, printed as Markdown, CSV and JSON, and into a folder."""

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
    vendor,
)
from tlsprobe.catalogue import catalogue
from tlsprobe.errors import UsageError
from tlsprobe.model.judgement import Outcome
from tlsprobe.model.run import Truth
from tlsprobe.profiles import load_profile
from tlsprobe.report.agreement import agreement_of, agreement_words
from tlsprobe.report.compatibility import (
    Vendor,
    compatibility_of,
    letter_at,
    table_of,
    vendors_of,
)
from tlsprobe.report.compatibility_csv import HEADS, render_csv, safe_field
from tlsprobe.report.compatibility_files import write_compatibility
from tlsprobe.report.compatibility_json import MATRIX_FILE, absent_in, encode_matrix, matrix_schema
from tlsprobe.report.compatibility_markdown import ACROSS, heart, render_compatibility
from tlsprobe.report.summary_table import SAFE

COMMAND = "tlsprobe lab run --trials 20"


def fields_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def rows_of(markdown: str) -> list[list[str]]:
    """The fields of every table row; a bar that was escaped ends no field."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[f.strip() for f in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_groups_hold_all_that_was_measured_and_the_rest_has_reasons() -> None:
    found = compatibility_of(five())
    titles = [[member.title for member in group.members] for group in found.groups]
    assert sorted(map(sorted, titles)) == [
        ["PostgreSQL"],
        ["nginx", "nginx engine, APISIX settings"],
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
    table = table_of(found)
    assert table.columns[-1] == "h2o"
    assert all(len(row.cells) == len(table.columns) for row in table.rows)
    assert {row.cells[-1].faces[0].code for row in table.rows} == {"na"}
    known = list(catalogue())
    labels = [row.label for row in table.rows]
    assert labels == sorted(labels, key=known.index)
    assert ("na", "unsupported: the server or this machine does not offer it") in table.legend


def test_turning_swaps_rows_and_columns() -> None:
    found = compatibility_of(five())
    table, turned = table_of(found), table_of(found, is_turned=True)
    assert turned.columns == tuple(row.label for row in table.rows)
    assert tuple(row.label for row in turned.rows) == table.columns
    assert turned.rows[1].cells[2] == table.rows[2].cells[1]
    assert (table.corner, turned.corner) == ("sequence", "server")


# --- Markdown -------------------------------------------------------------------------------------


def test_the_page_has_its_heart_first_then_groups_then_everything() -> None:
    page = render_compatibility(compatibility_of(five()), COMMAND)
    order = [
        "# How 4 servers end TLS connections",
        "- measured: 2026-11-20 (UTC)",
        "- kernel: Linux 6.18.0",
        f"- command: `{COMMAND}`",
        f"| {SAFE} |",
        "| h2o | unsupported: no such program: h2o |",
        "## Who closes alike",
        "**A** (",
        "## Every sequence",
        "- `✓` pass",
        "| terminate-close-notify |",
        "## Unsupported here",
        "- h2o: no such program: h2o",
        "## Versions",
    ]
    places = [page.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_the_heart_can_stand_elsewhere() -> None:
    vendors = five()
    runs = [v.run for v in vendors if v.run]
    alone = heart(runs, [("h2o", "h2o", "no such program: h2o")])
    head, _, *lines = rows_of(alone)
    assert head[0] == "server"
    assert head[-1] == SAFE
    assert {len(line) for line in lines} == {len(head)}
    assert "**close_notify, RST**" in alone
    assert heart(runs) == heart(runs)


@pytest.mark.parametrize("is_turned", [False, True])
def test_many_columns_come_in_blocks(is_turned: bool) -> None:
    vendors = [vendor(f"server-{number}", CLOSED) for number in range(45)]
    page = render_compatibility(compatibility_of(vendors), is_turned=is_turned)
    _, _, whole = page.partition("## Every sequence")
    assert max(map(len, rows_of(whole))) <= ACROSS + 1
    for name in (*CLOSED, "server-44"):
        assert name in whole


def test_agreement_with_the_kernel_is_told_with_every_disagreement() -> None:
    run = replace(run_of("nginx", CLOSED), truth=truth(DISAGREEMENT))
    other = replace(run_of("b", BARE), truth=truth(resets=50))
    page = render_compatibility(compatibility_of(vendors_of([run, other])))
    assert "Of 150 RSTs in 2 runs, the kernel that sent them gives the reason of our cause" in page
    assert "nginx: terminate, TLS 1.3, trial 7, packet 42 (the server's): deliberate-abort" in page
    assert "Agreement" not in render_compatibility(compatibility_of(five()))


def test_what_the_kernel_did_not_tell_is_told() -> None:
    gaps = replace(truth(), untold=(DISAGREEMENT,), lost=4)
    found = agreement_of([("a", replace(run_of("a", CLOSED), truth=gaps))])
    assert found is not None
    told = " ".join(agreement_words(found))
    assert "Of 1 more it told nothing." in told
    assert "It sent 2 on the same connections that no trial saw." in told
    assert "lost 4 entries" in told
    assert agreement_of([("a", run_of("a", CLOSED))]) is None


@pytest.mark.parametrize(
    ("resets", "said"),
    [
        (0, "In 1 run there was no RST whose reason the kernel could have told."),
        (1, "Of 1 RST in 1 run, the kernel that sent them gives the reason of our cause for 1,"),
    ],
)
def test_few_resets_are_counted_in_good_english(resets: int, said: str) -> None:
    few = Truth(resets=resets, agreed=resets)
    found = agreement_of([("a", replace(run_of("a", CLOSED), truth=few))])
    assert found is not None
    assert next(iter(agreement_words(found))).startswith(said)


def test_the_lab_notes_stand_under_the_versions() -> None:
    run = in_lab(run_of("x", CLOSED), "apisix", "nginx engine, APISIX settings", notes="not APISIX")
    page = render_compatibility(compatibility_of(vendors_of([run])))
    assert "| nginx engine, APISIX settings | 1.22.1, OpenSSL 3.0.17 | Linux 6.18.0 |" in page
    assert "- nginx engine, APISIX settings: not APISIX" in page


def test_nasty_names_break_no_table() -> None:
    for is_turned in (False, True):
        page = render_compatibility(compatibility_of(nasty()), COMMAND, is_turned=is_turned)
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "<b>" not in page
        assert len({len(row) for row in rows_of(page)}) <= 4  # heart, table, versions, no more
        assert [line for line in page.splitlines() if line.startswith("# head")] == []


def test_nothing_at_all_is_a_page_too() -> None:
    page = render_compatibility(compatibility_of([]))
    assert page.startswith("# How 0 servers end")
    only_absent = render_compatibility(compatibility_of([Vendor("a", "A", None, "")]))
    assert "no reason was given" in only_absent


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


def test_the_csv_turned_goes_sequence_by_sequence() -> None:
    lines = fields_of(render_csv(compatibility_of(five()), is_turned=True))
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


@pytest.mark.parametrize("is_turned", [False, True])
def test_the_document_keeps_its_schema(is_turned: bool) -> None:
    schema = matrix_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    told = replace(run_of("x", CLOSED), truth=truth(DISAGREEMENT))
    for vendors in (five(), nasty(), [], [*vendors_of([told])]):
        data = encode_matrix(compatibility_of(vendors), COMMAND, is_turned=is_turned)
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
        "results/matrix.csv",
        "results/matrix.json",
        "results/matrix.md",
        "results/nginx/vendor.md",
    ]
    assert (folder / "matrix.md").read_text() == render_compatibility(found, COMMAND)
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
