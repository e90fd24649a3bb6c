"""What counts as a change from version to version, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlsprobe.model.judgement import Level, Outcome, Result, Verdict
from tlsprobe.model.profile import LabChange
from tlsprobe.model.run import CaptureFacts, Cell, Finding, HostFacts, Run, ServerFacts, Tool
from tlsprobe.model.target import Target
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.pages.series import series_page
from tlsprobe.report.series import compared, series_of

SILENT = "TLS13-NOTIFY"
RESET = "INTEROP-RESET-BEFORE-FIN"


def cell(
    broken: int, *, sequence: str = "close-notify-fin", trials: int = 4, rule: str = SILENT
) -> Cell:
    """A cell of which so many trials break a rule."""
    found = Finding(rule, Level.MUST, Result.FAIL, broken, "it ends without a close_notify")
    return Cell(
        sequence,
        "request; close_notify; fin; drain",
        "1.3",
        trials,
        Verdict.FAIL if broken else Verdict.PASS,
        {Outcome.NO_CLOSE_NOTIFY: broken},
        findings=(found,) if broken else (),
    )


def version(
    name: str, *cells: Cell, says: str = "", library: str = "OpenSSL 3.5.1"
) -> tuple[str, Run]:
    """A run of a version, by the name of its folder."""
    said = says or f"{name}.7"
    run = Run(
        tool=Tool("tlsprobe", "1"),
        started="2026-11-26T10:00:00.000Z",
        finished="2026-11-26T10:01:00.000Z",
        host=HostFacts("Linux", "6.1", "3.11", "OpenSSL 3.0"),
        target=Target("x", "127.0.0.1", 1, "mine", "raw"),
        capture=CaptureFacts("packet", "lo", 1, 0),
        cells=cells,
        summary={},
        server=ServerFacts(f"mine@{name}", f"Mine {name}", said, library, "nobody"),
    )
    return f"mine@{name}", run


def changes(*versions: tuple[str, Run]) -> list[str]:
    (series,) = series_of(dict(versions))
    return [f"{c.version}: {c.sentence}" for c in compared(series).changes]


def test_a_change_is_what_every_trial_of_both_versions_says() -> None:
    old, new = version("2.2", cell(4)), version("2.10", cell(0))
    assert changes(new, old) == ["2.10.7: ends with a close_notify where it did not"]
    back = version("3.0", cell(4))
    assert changes(old, new, back)[1] == "3.0.7: ends without a close_notify"
    assert changes(old, version("3.0", cell(4))) == []


@pytest.mark.parametrize(
    "unsure",
    [
        cell(2),
        cell(0, trials=2),
        replace(cell(0), verdict=Verdict.INCONCLUSIVE),
        replace(cell(0), left_out={"late": 1}),
        cell(4, rule=RESET),
    ],
    ids=["trials differ", "too few", "inconclusive", "left out", "covered by a reset"],
)
def test_what_is_no_change_is_not_told_apart(unsure: Cell) -> None:
    (series,) = series_of(dict([version("2.2", cell(4)), version("2.6", unsure)]))
    found = compared(series)
    assert not any("close_notify where it did not" in c.sentence for c in found.changes)
    assert "ends without a close_notify" in [one.sentence for one in found.untold]


def test_a_sequence_that_races_in_one_version_changes_in_none() -> None:
    """What all trials of some versions and none of others show of a race is chance."""
    runs = dict([version("1", cell(4)), version("2", cell(0)), version("3", cell(2))])
    (series,) = series_of(runs)
    found = compared(series)
    assert found.changes == ()
    assert [one.cells for one in found.untold] == [(("close-notify-fin", "1.3"),)]


def test_a_race_and_a_cell_of_one_version_alone_say_nothing() -> None:
    race = "idle-expiry-race"
    other = "fin-only"
    assert (
        changes(
            version("1", cell(4, sequence=race), cell(4, sequence=other)),
            version("2", cell(0, sequence=race)),
        )
        == []
    )


def test_a_fork_comes_behind_what_it_forked_from() -> None:
    runs = dict([version("valkey-8", cell(0)), version("10", cell(0)), version("9", cell(0))])
    (series,) = series_of(runs)
    assert [one.version for one in series.versions] == ["9.7", "10.7", "valkey valkey-8.7"]
    assert series.title == "Mine"
    assert series_of(dict([version("1", cell(0))])) == []


def test_one_server_on_several_libraries_is_named_with_them() -> None:
    runs = dict(
        [
            version("trixie", cell(0), says="2.4", library="OpenSSL 3.5.9"),
            version("bookworm", cell(0), says="2.4", library="OpenSSL 3.0.22"),
            version("bullseye", cell(0), says="2.3", library="OpenSSL 1.1.1w"),
        ]
    )
    (series,) = series_of(runs)
    names = ["2.3", "2.4 (OpenSSL 3.0.22)", "2.4 (OpenSSL 3.5.9)"]
    assert [one.version for one in series.versions] == names


def test_the_page_is_a_row_of_changes() -> None:
    (series,) = series_of(dict([version("2.2", cell(4)), version("2.6", cell(0))]))
    text = page_for_folder(series_page([compared(series)], "tlsprobe lab run"))
    assert "| Mine | 2.2.7 → 2.6.7 | **2.6.7: ends with a close_notify" in text
    assert "not 2.2.7" in text
    assert "close-notify-fin (TLS 1.3)" in text
    (same,) = series_of(dict([version("2.2", cell(4)), version("2.6", cell(4))]))
    assert "no change in 1 cell" in page_for_folder(series_page([compared(same)]))


def test_what_changed_comes_first_and_is_counted() -> None:
    (series,) = series_of(dict([version("2.2", cell(4)), version("2.6", cell(0))]))
    (same,) = series_of(dict([version("2.2", cell(4)), version("2.6", cell(4))]))
    text = page_for_folder(series_page([compared(same), compared(series)]))
    assert "**1 of 2 servers changed how they close between two versions.**" in text
    assert text.index("2.6.7: ends with a close_notify") < text.index("no change in 1 cell")


NOTE = LabChange("2.5", ("no-close-notify",), "it sends the alert", "https://notes.example/2.5")


def test_what_the_notes_say_stands_beside_the_change_that_it_is_of() -> None:
    (series,) = series_of(
        dict([version("2.2", cell(4)), version("2.6", cell(0)), version("3.0", cell(4))])
    )
    came, went = compared(series, (NOTE,)).changes
    assert (came.why, went.why) == ((NOTE,), ())
    text = page_for_folder(series_page([compared(series, (NOTE,))]))
    assert "2.5: it sends the alert ([source](https://notes.example/2.5))" in text


@pytest.mark.parametrize(
    "other",
    [replace(NOTE, since="2.2"), replace(NOTE, since="2.7"), replace(NOTE, about=("data-lost",))],
    ids=["it had it before", "a later one", "of something else"],
)
def test_a_note_of_another_version_or_behaviour_explains_nothing(other: LabChange) -> None:
    (series,) = series_of(dict([version("2.2.7", cell(4)), version("2.6", cell(0))]))
    (change,) = compared(series, (other,)).changes
    assert change.why == ()
