"""The tester's own test: each built-in fault is found, and the control comes back clean."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import jsonschema
import pytest

from tests.e2e.probing import SPOILED, Ran, causes_in, results_in, tlsprobe
from tlsprobe.campaign.demo import SEQUENCES
from tlsprobe.model.judgement import Result
from tlsprobe.reference.behaviours import DEMO, LINGER
from tlsprobe.report.document import read_run
from tlsprobe.report.schema import closed, run_schema

pytestmark = [pytest.mark.packet_socket, pytest.mark.alone]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """``tlsprobe demo``."""
    folder = tmp_path_factory.mktemp("demo")
    return tlsprobe("demo", "--out", str(folder / "out"), cwd=folder)


def probed(demo: Ran, server: str) -> Ran:
    """What the demo found of one server."""
    return replace(demo, folder=demo.folder / server)


def outcomes(demo: Ran, server: str) -> dict[str, set[str]]:
    """All outcomes of a server by sequence, both versions together."""
    ran, found = probed(demo, server), dict[str, set[str]]()
    for cell in ran.asked:
        found.setdefault(cell.sequence, set()).update(ran.outcomes(cell.sequence, cell.tls))
    return found


def causes(demo: Ran, server: str) -> set[str]:
    return set(causes_in(probed(demo, server).all_timely))


def broken(demo: Ran, server: str) -> set[str]:
    """The rules that some trial of a server broke."""
    return {
        finding.rule
        for cell in read_run(demo.folder / server).cells
        for finding in cell.findings
        if finding.result in {"fail", "warn"}
    }


def test_the_demo_covers_everything(demo: Ran) -> None:
    missed = [line.split(": ") for line in demo.err.splitlines() if "self-test failed" in line]
    assert demo.code == (1 if missed else 0), demo.err
    for _, server, what, *_ in missed:  # a machine too slow for an answer lets nothing be found
        cells = read_run(demo.folder / server).cells
        assert what.endswith("not found"), demo.err
        assert any(cell.left_out.keys() & SPOILED for cell in cells), demo.err
    assert all(name in demo.out for name in (*DEMO, *SEQUENCES))
    assert max(map(len, demo.out.splitlines())) <= 100


def test_the_control_is_clean(demo: Ran) -> None:
    found = outcomes(demo, "polite")
    assert found.pop("abort") <= {"client-reset"}
    assert set(found) == set(SEQUENCES) - {"abort"}
    assert all(seen <= {"clean"} for seen in found.values())
    assert broken(demo, "polite") == set()
    for cell in read_run(demo.folder / "polite").cells:
        assert cell.verdict == "pass" or cell.left_out.keys() & SPOILED, cell


def test_silence_is_found(demo: Ran) -> None:
    assert outcomes(demo, "silent")["terminate"] <= {"no-close-notify"}
    assert broken(demo, "silent") == {"TLS12-NOTIFY", "TLS12-ANSWER", "TLS13-NOTIFY"}
    assert causes(demo, "silent") == set()


def test_haste_is_found(demo: Ran) -> None:
    # If it is stopped between its alert and its close, our reply is unread when it closes: no FIN.
    drawn = {"data-after-close", "unread-data-at-close"}
    assert outcomes(demo, "hasty")["server-close-reply"] <= {"reset-after-fin", "reset-before-fin"}
    assert outcomes(demo, "hasty")["terminate"] <= {"clean"}
    assert causes(demo, "hasty") & drawn
    assert causes(demo, "hasty") <= drawn


def test_rudeness_is_found(demo: Ran) -> None:
    found = outcomes(demo, "rude")
    assert found["terminate-close-notify"] <= {"reset-before-fin"}
    assert found["terminate"] <= {"clean"}
    assert causes(demo, "rude") == {"unread-data-at-close"}
    assert broken(demo, "rude") == {"INTEROP-RESET-BEFORE-FIN"}


def test_an_abort_is_told_from_unread_data(demo: Ran) -> None:
    found = outcomes(demo, "aborting")
    assert found["terminate"] | found["close-notify-fin"] == {"reset-before-fin"}
    ran = probed(demo, "aborting")
    for name, tls in product(("terminate-close-notify", "close-notify-fin"), ("1.2", "1.3")):
        assert causes_in(ran.timely(name, tls)).keys() <= {"deliberate-abort"}


def test_a_server_that_never_ends_is_found(demo: Ran) -> None:
    assert outcomes(demo, "mute")["terminate"] <= {"open"}
    assert set(probed(demo, "mute").cell("idle-expiry").outcomes) == {"open"}
    for tls in ("1.2", "1.3"):
        timely = probed(demo, "mute").timely("terminate", tls)
        assert set(results_in(timely, "INTEROP-LEAK")) <= {Result.WARN}


def test_lost_data_is_found(demo: Ran) -> None:
    found = outcomes(demo, "truncating")
    assert all(seen <= {"data-lost"} for seen in found.values())
    assert broken(demo, "truncating") == {"INTEROP-DATA-LOST"}


def test_a_reset_after_the_fin_is_found(demo: Ran) -> None:
    assert outcomes(demo, "half-closing")["server-close-reply"] <= {"reset-after-fin"}
    assert causes(demo, "half-closing") == {"unread-data-after-fin"}


def test_lingering_is_clean_and_late(demo: Ran) -> None:
    assert broken(demo, "lingering") == set()
    ended = [
        trial
        for tls in ("1.2", "1.3")
        for trial in probed(demo, "lingering").timely("terminate", tls)
        if trial.signature == "G n f"  # and not our FIN before its own
    ]
    assert ended or probed(demo, "lingering").slow
    took = [trial.timing_us["server_close_notify_to_fin"] for trial in ended]
    assert min(took, default=1e6) > 0.9e6 * LINGER


@pytest.mark.parametrize("name", DEMO)
def test_the_documents_fit_their_schema(demo: Ran, name: str) -> None:
    document = json.loads((demo.folder / name / "run.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, closed(run_schema()))
    folder = {path.name for path in (demo.folder / name).iterdir()}
    assert folder == {
        "run.json",
        "trials.jsonl",
        "facts.jsonl.gz",
        "capture.pcapng",
        "matrix.md",
        "report.html",
        "behaviours.json",
    }


def test_several_folders_make_one_matrix(demo: Ran, tmp_path: Path) -> None:
    folders = [str(demo.folder / name) for name in ("polite", "rude", "mute")]
    ran = tlsprobe("matrix", *folders, cwd=tmp_path)
    assert ran.code == 0
    heading = next(line for line in ran.out.splitlines() if line.startswith("sequence"))
    _, *columns = heading.split()
    assert sorted(columns[1::2]) == ["mute", "polite", "rude"]
    assert columns[0] == "A"
    assert columns[::2] == sorted(columns[::2])
    whole = tlsprobe("matrix", str(demo.folder), "--json", cwd=tmp_path)
    names = [json.loads(line)["target"]["name"] for line in whole.out.splitlines()]
    assert sorted(names) == sorted(DEMO)
