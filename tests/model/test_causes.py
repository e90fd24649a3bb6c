"""The table of causes: every row says whom it hurts and what helps, and names causes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tlsprobe.model.causes import Cause, Party, Remedy, cause_named, is_for
from tlsprobe.model.trace import Side

REMEDIES = [cause.remedy(side) for cause in Cause for side in Side]


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_remedy_says_whom_it_hurts_and_what_helps(remedy: Remedy) -> None:
    assert remedy.advice
    assert all(line.endswith((".", ").")) for line in (remedy.hurts, *remedy.sentences))


@pytest.mark.parametrize("cause", list(Cause))
def test_a_row_names_causes_that_exist(cause: Cause) -> None:
    assert cause.row.meaning
    assert str(cause) not in cause.row.alike
    assert all(cause_named(word) for word in cause.row.alike)


@pytest.mark.parametrize("cause", list(Cause))
def test_who_sent_it_can_do_something_but_for_what_it_did_not_do(cause: Cause) -> None:
    parties = {Side.SERVER: Party.SERVER, Side.CLIENT: Party.CLIENT}
    for side, party in parties.items():
        others = set(parties.values()) - {party}
        advised = {advice.party for advice in cause.remedy(side).advice}
        if cause.row.by_sender and cause is not Cause.UNKNOWN:
            assert party in advised
        if side is Side.CLIENT:
            assert not advised & others, "the server cannot help what the client did"


def test_advice_is_for_one_party() -> None:
    sentences = Cause.UNREAD_AT_CLOSE.remedy(Side.SERVER).sentences
    (forwarder,) = (sentence for sentence in sentences if is_for(Party.FORWARDER, sentence))
    assert forwarder.startswith("Forwarder: treat ECONNRESET")
    (anybody,) = Cause.REFUSED.remedy(Side.SERVER).sentences
    assert anybody.startswith("Check address, port, whether the server runs")


def test_a_word_of_a_later_tlsprobe_is_no_cause() -> None:
    assert cause_named("unread-data-at-close") is Cause.UNREAD_AT_CLOSE
    assert cause_named("cosmic-ray") is None


def test_the_theory_told_in_words_names_every_cause_and_the_kernel_s_reasons() -> None:
    """ARCHITECTURE.md, "Reading an RST", tells people what the rows tell the judge."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| cause \| what is seen .*?\n\n", text, re.DOTALL)
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (.*?) ?\|$", table, re.MULTILINE)
    told = {cause: set(re.findall(r"\b[A-Z_]{5,}\b", reasons)) for cause, reasons in rows}
    assert told == {str(cause): set(cause.row.kernel) for cause in Cause}
