"""Run documents and trial lines: written, read back, and refused with a mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.report.builders import (
    NASTY,
    clean,
    make_run,
    nasty_run,
    nginx_run,
    postgres_reset,
    postgres_run,
    trial_line,
    unsupported,
)
from tlsprobe.behaviours import behaviours_of
from tlsprobe.errors import UsageError
from tlsprobe.model.judgement import Judgement, Word
from tlsprobe.model.run import JudgedTrial, Run, Trial
from tlsprobe.model.trace import Side
from tlsprobe.report.document import (
    decode_run,
    encode_run,
    encode_run_line,
    encode_trial,
    read_run,
    read_trials,
)
from tlsprobe.report.document import trial_line as told
from tlsprobe.report.schema import run_schema

RUN_JSON = Path("results/x/run.json")

RUNS = {
    "postgres": postgres_run(),
    "nginx": nginx_run(),
    "unsupported": make_run(unsupported("terminate", "1.2"), clean()),
    "control": make_run(replace(clean(), role="control"), notes=("a note",), interrupted=True),
    "empty": make_run(),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("encode", [encode_run, encode_run_line])
def test_a_run_survives_the_round_trip(encode: Callable[[Run], bytes], run: Run) -> None:
    assert decode_run(encode(run), RUN_JSON) == run


def test_both_forms_are_the_same_document() -> None:
    pretty, line = encode_run(postgres_run()), encode_run_line(postgres_run())
    assert json.loads(pretty) == json.loads(line)
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    assert b'\n   "outcomes": {"reset-before-fin": 20},\n' in pretty


def test_the_contract_keys_are_there_and_mean_what_they_say() -> None:
    cell = postgres_reset()
    document = json.loads(encode_run(make_run(cell)))
    assert list(document)[:3] == ["schema", "tool", "started"]
    assert document["schema"] == "tlsprobe.run/1"
    assert document["target"] == {
        "name": "postgres",
        "host": "127.0.0.1",
        "port": 5432,
        "profile": "postgres",
        "protocol": "postgres",
    }
    assert document["idle"] is None
    assert document["summary"] == {
        "pass": 0,
        "fail": 0,
        "warn": 1,
        "info": 0,
        "inconclusive": 0,
        "error": 0,
        "unsupported": 0,
    }
    (written,) = document["cells"]
    assert written["outcomes"] == {"reset-before-fin": 20}
    assert written["resets"]["server"] == {"before_fin": 20, "after_fin": 0}
    assert written["timing_us"]["close_notify_to_fin"] == {"n": 0}
    assert written["verdict"] == "warn"
    assert written["findings"][1]["result"] == "warn"
    assert written["findings"][1]["level"] == "interop"
    assert written["why"][0]["confidence"] == "high"


def test_extras_that_say_nothing_are_left_out() -> None:
    document = json.loads(encode_run(make_run(clean())))
    assert {"interrupted", "notes"}.isdisjoint(document)
    assert {"why", "example", "role", "reason"}.isdisjoint(document["cells"][0])
    assert document["cells"][0]["causes"] == {}


def test_that_our_path_treated_the_packets_of_an_example_is_written_where_it_did() -> None:
    cell = postgres_reset()
    assert cell.example is not None
    run = make_run(cell, replace(cell, example=replace(cell.example, shaped=True)))
    told = [written["example"].get("shaped") for written in json.loads(encode_run(run))["cells"]]
    assert told == [None, True]
    assert decode_run(encode_run(run), RUN_JSON) == run


def test_how_many_were_judged_is_told_where_some_were_left_out() -> None:
    cell = postgres_reset()
    findings = tuple(replace(one, judged=13) for one in cell.findings)
    run = make_run(replace(cell, findings=findings), cell)
    run = replace(run, behaviours=behaviours_of(run))
    document = json.loads(encode_run(run))
    told = [written["findings"][0].get("judged") for written in document["cells"]]
    assert told == [13, None]
    assert document["behaviours"][0]["seen"][0]["judged"] == 13
    assert decode_run(encode_run(run), RUN_JSON) == run


def test_unknown_keys_are_no_damage() -> None:
    document = json.loads(encode_run(postgres_run()))
    document["later"] = document["cells"][0]["later"] = {"x": 1}
    assert decode_run(json.dumps(document).encode(), RUN_JSON) == postgres_run()


def test_what_cannot_be_text_is_spelled_out() -> None:
    document = json.loads(encode_run(nasty_run()))
    assert document["target"]["name"] == NASTY.replace("\udcff", "\\udcff")
    line = json.loads(encode_trial(replace(trial_line(), failure=NASTY)))
    assert line["failure"] == NASTY.replace("\udcff", "\\udcff")
    assert line["outcome"] == "reset-before-fin"


def drop_outcomes(document: Any) -> None:
    del document["cells"][1]["outcomes"]


def drop_target(document: Any) -> None:
    del document["target"]


def drop_host(document: Any) -> None:
    del document["target"]["host"]


def bad_verdict(document: Any) -> None:
    document["cells"][0]["verdict"] = "splendid"


def negative_port(document: Any) -> None:
    document["target"]["port"] = "5432"


def word_for_count(document: Any) -> None:
    document["cells"][2]["outcomes"]["reset-before-fin"] = "many"


def cells_are_no_list(document: Any) -> None:
    document["cells"] = {}


DAMAGE = [
    (drop_outcomes, "cells[1].outcomes"),
    (drop_target, "target"),
    (drop_host, "target"),
    (bad_verdict, "cells[0].verdict"),
    (negative_port, "target.port"),
    (word_for_count, "cells[2].outcomes"),
    (cells_are_no_list, "cells"),
]


@pytest.mark.parametrize(("damage", "path"), DAMAGE, ids=lambda case: getattr(case, "__name__", ""))
def test_damage_is_named_with_file_key_and_mend(damage: Callable[[Any], None], path: str) -> None:
    document = json.loads(encode_run(postgres_run()))
    damage(document)
    with pytest.raises(UsageError) as caught:
        decode_run(json.dumps(document).encode(), RUN_JSON)
    assert str(RUN_JSON) in caught.value.message
    assert path in caught.value.message
    assert caught.value.hint
    assert not jsonschema.Draft202012Validator(run_schema()).is_valid(document)


@pytest.mark.parametrize("data", [b"", b"{", encode_run(postgres_run())[:-40], b"\xff\xfe", b"[]"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"results/x/run\.json: not a "):
        decode_run(data, RUN_JSON)


@pytest.mark.parametrize(
    ("schema", "mend"),
    [("tlsprobe.run/2", "with the tlsprobe that wrote it"), ("tlsprobe.explain/1", "run.json of")],
)
def test_another_schema_is_refused(schema: str, mend: str) -> None:
    document = json.loads(encode_run(postgres_run())) | {"schema": schema}
    with pytest.raises(UsageError, match=schema) as caught:
        decode_run(json.dumps(document).encode(), RUN_JSON)
    assert mend in (caught.value.hint or "")
    assert not jsonschema.Draft202012Validator(run_schema()).is_valid(document)


def test_a_run_is_read_from_its_folder_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(encode_run(nginx_run()))
    assert read_run(tmp_path) == read_run(tmp_path / "run.json") == nginx_run()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file") as caught:
        read_run(tmp_path)
    assert "results folder" in (caught.value.hint or "")


def test_trials_survive_the_round_trip(tmp_path: Path) -> None:
    lines = [replace(trial_line(), trial=number) for number in range(3)]
    data = b"".join(map(encode_trial, lines))
    (tmp_path / "trials.jsonl").write_bytes(data)
    assert list(read_trials(tmp_path)) == lines
    assert data.count(b"\n") == len(lines)


def test_a_line_holds_the_whole_trial() -> None:
    line = trial_line()
    judgement = Judgement(
        outcome=line.outcome,
        axes=line.axes,
        words=(Word(Side.CLIENT, "g"), Word(Side.CLIENT, "n"), Word(Side.SERVER, "n")),
        resets=line.resets,
        results=line.findings,
        doubt=line.doubt,
        timing_us=line.timing_us,
        notes=line.notes,
    )
    trial = Trial(line.sequence, line.tls, line.trial)
    judged = JudgedTrial(trial, judgement, line.started, line.client, line.failure, line.ladder)
    assert told(judged) == replace(line, signature="G N n")


def test_a_torn_last_line_was_never_finished(tmp_path: Path) -> None:
    whole = encode_trial(trial_line())
    (tmp_path / "trials.jsonl").write_bytes(whole + whole[:50])
    assert list(read_trials(tmp_path)) == [trial_line()]


def test_a_damaged_trial_is_named(tmp_path: Path) -> None:
    whole = encode_trial(trial_line())
    (tmp_path / "trials.jsonl").write_bytes(whole + whole[:50] + b"\n" + whole)
    with pytest.raises(UsageError, match="line 2"):
        list(read_trials(tmp_path))
