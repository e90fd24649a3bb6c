"""The page of an explained capture, for terminals and for tickets; hostile words stay words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.report.drawn import in_order, on_terminal, words
from tests.report.explanations import EXPLANATIONS
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Explanation
from tlsprobe.report.pages.explain import explain_page, explain_pages
from tlsprobe.report.render_markdown import render_markdown


def shown(
    explanation: Explanation, width: int = 80, encoding: str = "utf-8", most: int | None = None
) -> list[str]:
    page = explain_page(explanation, most)
    return on_terminal(page, width=width, encoding=encoding).splitlines()


def written(explanation: Explanation) -> str:
    return render_markdown(explain_page(explanation, most=20), diagrams=True)


def test_a_reset_has_its_cause_its_trigger_and_its_remedy() -> None:
    text = words("\n".join(shown(EXPLANATIONS["unread"])))
    in_order(
        text,
        [
            "Why these connections were reset",
            "1 connection with a reset, 0 connections without one",
            ", TLS 1.3",
            "ended ",
            "reset packet ",
            "the server resets, before any FIN of its own: unread-data-at-close",
            "provoked by packet ",
            "because • packet ",
            "reader ECONNRESET where EOF belongs",
            "hurts Anyone who reads between",
            "remedy • Server: read until",
            "What would settle it: tlsprobe run --target",
            "> ",
        ],
    )


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_unseen_reaches_a_terminal(explanation: Explanation, encoding: str) -> None:
    for line in shown(explanation, encoding=encoding):
        assert not line or line.isprintable()
        line.encode(encoding)


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_nothing_breaks_out_of_a_ticket(explanation: Explanation) -> None:
    text = written(explanation)
    assert "\x1b" not in text
    assert "\u202e" not in text
    prose = re.sub(r"^(```+).*?^\1$", "", text, flags=re.M | re.S)
    assert "```" not in re.sub(r"(`+).*?\1", "", prose)
    assert "<b>" not in re.sub(r"(`+).*?\1", "", prose)


def test_lines_keep_to_the_width_but_for_what_is_pasted() -> None:
    for line in shown(EXPLANATIONS["unread"], width=60):
        assert len(line) <= 60 or line.startswith("  tlsprobe run ")


def test_many_alike_are_told_once_with_their_number() -> None:
    many = EXPLANATIONS["many"]
    text = "\n".join(shown(many))
    assert "12 connections with a reset" in text
    assert text.count("because") == 1
    assert "12 times" in text
    assert written(many).count("sequenceDiagram") == 1


def test_the_reset_and_its_trigger_are_marked() -> None:
    lines = shown(EXPLANATIONS["unread"])
    assert sum(line.startswith(">") for line in lines) == 1
    assert sum("provokes #" in line for line in lines) == 1


def test_a_capture_without_a_reset_says_so() -> None:
    assert "no reset, 1 connection without one" in shown(EXPLANATIONS["quiet"])
    assert "no reset, 0 connections without one" in shown(EXPLANATIONS["none"])


def test_what_is_left_out_is_counted() -> None:
    one = EXPLANATIONS["unread"]
    (flow,) = one.flows
    several = tuple(replace(flow, tls=f"1.{n}") for n in range(5))
    page = explain_page(replace(one, flows=several, not_shown=7), most=3)
    text = render_markdown(page)
    assert "12 connections with a reset (7 of them not shown), 0 connections without one" in text
    assert "## 2 more kinds of reset\n\n- once, TLS 1.3: the server's unread-data" in text
    assert text.count("- because:") == 3
    everything = render_markdown(explain_page(replace(one, flows=several)))
    assert everything.count("- because:") == 5
    assert "more kind" not in everything


def test_a_crowd_fits_on_a_page_of_paper() -> None:
    """Many connections, kinds, servers: the overview, two kinds in full, a line for each other."""
    (one,) = EXPLANATIONS["unread"].flows
    (told,) = one.resets
    flows = []
    for n in range(600):
        cause = list(Cause)[n % len(Cause)]
        server = f"10.0.{n % 50}.1:443"
        like = replace(told, reset=replace(told.reset, cause=cause, packet=n + 1), remedy=None)
        flows.append(replace(one, server=server, resets=(like,), tls=f"1.{n % 4}"))
    lines = shown(replace(EXPLANATIONS["many"], flows=tuple(flows)), most=2)
    assert len(lines) <= 125
    assert sum("because" in line for line in lines) == 2
    assert "600 connections with a reset" in "".join(lines)


def test_of_several_captures_a_table_comes_first_and_each_page_names_its_own() -> None:
    unread = EXPLANATIONS["unread"]
    named = [
        replace(unread, source=replace(unread.source, name=f"a.tgz: {name}"), flows=flows)
        for name, flows in (("one", unread.flows), ("two", ()))
    ]
    text = render_markdown(explain_pages(named, most=20))
    in_order(
        text,
        [
            "# 2 captures",
            "| a.tgz: one | 1 |",
            "| a.tgz: two |",
            "# Why these connections were reset: a.tgz: one",
            "# How these connections ended: a.tgz: two",
            "no reset",
        ],
    )
    assert explain_pages(named[:1]) == explain_page(named[0])
