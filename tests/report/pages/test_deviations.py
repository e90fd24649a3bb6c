"""What changed since a baseline, as a section of the page."""

from __future__ import annotations

from dataclasses import replace

from tests.report.builders import clean, make_run
from tests.report.drawn import on_terminal
from tlsprobe.model.run import Change, Deviation
from tlsprobe.report.pages.deviations import deviations_section
from tlsprobe.report.pages.run import brief_page, run_page


def test_certain_changes_come_first_and_what_lacks_comes_last() -> None:
    deviations = (
        Deviation("abort", "1.2", Change.MISSING, False, ()),
        Deviation("terminate", "1.2", Change.BETTER, False, ("one trial more was clean",)),
        Deviation("terminate", "1.3", Change.WORSE, True, ("outcome: 5 of 5", "cause: unread")),
        Deviation("fin-only", "1.3", Change.UNCLEAR, False, ("too few trials",)),
        Deviation("", "", Change.DIFFERENT, True, ("the profile is another",)),
        Deviation("close-notify-fin", "1.2", Change.NEW, False, ()),
        Deviation("close-notify-fin", "1.3", Change.NEW, False, ()),
    )
    run = replace(make_run(clean()), deviations=deviations)
    assert on_terminal(tuple(deviations_section(run))) == (
        "postgres: 2 changes since the baseline\n"
        "  WORSE: terminate, TLS 1.3\n"
        "    • outcome: 5 of 5\n"
        "    • cause: unread\n"
        "  DIFFERENT\n"
        "    the profile is another\n"
        "  perhaps better: terminate, TLS 1.2\n"
        "    one trial more was clean\n"
        "  UNCLEAR: fin-only, TLS 1.3\n"
        "    too few trials\n"
        "\n"
        "in the baseline, and not measured now: abort, TLS 1.2\n"
        "\n"
        "measured now, and not in the baseline: close-notify-fin, TLS 1.2;\n"
        "close-notify-fin, TLS 1.3\n"
    )


def test_no_change_is_said_and_no_baseline_is_not() -> None:
    assert tuple(deviations_section(make_run())) == ()
    same = replace(make_run(clean()), deviations=())
    assert on_terminal(run_page([same])).endswith("postgres: no change since the baseline\n")


def test_the_last_line_of_a_default_run_says_whether_something_changed() -> None:
    """Since it is what the exit code is about."""
    worse = Deviation("terminate", "1.3", Change.WORSE, True, ("outcome: 5 of 5",))
    new = Deviation("fin-only", "1.3", Change.NEW, False, ())
    for deviations, said in (
        ((worse, new), "nothing to report. 1 change since the baseline."),
        ((new,), "nothing to report. No change since the baseline."),
        (None, "nothing to report."),
    ):
        run = replace(make_run(clean()), deviations=deviations)
        assert on_terminal(brief_page(run), width=132).splitlines()[-1].endswith(said)
