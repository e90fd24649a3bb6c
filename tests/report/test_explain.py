"""An explanation for programs, for terminals and for tickets; hostile words stay words."""

from __future__ import annotations

import re
from dataclasses import replace

import jsonschema
import pytest

from tests.explain.talk import (
    ACK,
    ALERT_13,
    CLIENT,
    PSH,
    RST,
    Given,
    Talk,
    explained,
    sealed,
    tls13,
)
from tlsprobe.explain import Filter, explain
from tlsprobe.model.explanation import Explanation
from tlsprobe.packets.packet import named
from tlsprobe.report.explain import (
    clock,
    encode_explanation,
    explain_schema,
    explanation_document,
    groups_of,
)
from tlsprobe.report.explain_markdown import explanation_markdown
from tlsprobe.report.explain_terminal import explanation_lines

ESCAPES = "\x1b[31m|`<b>\u202e\n```\n"


def unread(port: int = 40000) -> Talk:
    talk = tls13(Talk(client=(CLIENT[0], port), seqs=[port, port]))
    talk.c(PSH | ACK, sealed(22)).c(PSH | ACK, ALERT_13).s(PSH | ACK, ALERT_13)
    return talk.s(RST | ACK)


def hostile() -> Explanation:
    """Names out of a pasted text, and whatever its reader says of it."""
    talk = Talk(client=(named(ESCAPES), 2), server=(named("$(reboot) ' " + ESCAPES), 1))
    for _ in range(2):
        talk.c(PSH | ACK, bytes(40))
    talk.s(RST | ACK)
    plain = [p._replace(payload=b"") for p in talk.packets]
    found = explain(Given(plain, "text", ()), Filter(quiet=True))
    source = replace(
        found.source, name=ESCAPES, skipped=1, first_skipped=ESCAPES, truncated=ESCAPES
    )
    return replace(found, source=replace(source, notes=(ESCAPES,)))


EXPLANATIONS = {
    "unread": explained(unread()),
    "many": explained(*(unread(41_000 + i) for i in range(12))),
    "quiet": explained(tls13()),
    "empty": explained(Talk()),
    "hostile": hostile(),
}


def page(explanation: Explanation, width: int = 80, encoding: str = "utf-8") -> list[str]:
    return [line.text for line in explanation_lines(explanation, width, encoding)]


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_documents_keep_to_the_schema(explanation: Explanation) -> None:
    schema = explain_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(explanation_document(explanation), schema)
    assert encode_explanation(explanation).count(b"\n") == 1


def test_the_schema_refuses_what_is_wrong() -> None:
    document = explanation_document(EXPLANATIONS["unread"])
    document["flows"][0]["resets"][0]["cause"] = "bad luck"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, explain_schema())


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_unseen_reaches_a_terminal(explanation: Explanation, encoding: str) -> None:
    for line in page(explanation, encoding=encoding):
        assert line.isprintable()
        line.encode(encoding)


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_nothing_breaks_out_of_a_ticket(explanation: Explanation) -> None:
    text = explanation_markdown(explanation)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<b>" not in re.sub(r"(`+).*?\1", "", text)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * text.count("sequenceDiagram")


def test_an_experiment_on_a_hostile_name_is_quoted() -> None:
    (told,) = EXPLANATIONS["hostile"].flows[0].resets
    assert told.experiment is not None
    assert "--target '$(reboot) '\"'\"' " in told.experiment


def test_lines_keep_to_the_width_but_for_what_is_pasted() -> None:
    pasted = ("settle it", "#")
    for line in page(EXPLANATIONS["unread"], width=60):
        assert len(line) <= 60 or any(word in line for word in pasted)


def test_many_alike_are_one_story_with_a_number() -> None:
    many = EXPLANATIONS["many"]
    (group,) = groups_of(many)
    assert group.count == 12
    text = "\n".join(page(many))
    assert "12 connections with a reset" in text
    assert text.count("because") == 1
    assert "12 times" in text
    assert explanation_markdown(many).count("sequenceDiagram") == 1


def test_the_reset_and_its_trigger_are_marked() -> None:
    lines = page(EXPLANATIONS["unread"])
    assert sum(line.startswith(">") for line in lines) == 1
    assert sum("provokes #" in line for line in lines) == 1


def test_a_capture_without_a_reset_says_so() -> None:
    assert "no reset, 1 connection without one" in page(EXPLANATIONS["quiet"])
    assert "no reset, 0 connections without one" in page(EXPLANATIONS["empty"])


@pytest.mark.parametrize(
    ("time_ns", "said"),
    [
        (1_790_000_000_123_456_789, "2026-09-21T14:13:20.123456789Z"),
        (3_723_000_004_000, "01:02:03.000004"),
        (7, None),
        (2**63, "2262-04-11T23:47:16.854775808Z"),
    ],
)
def test_times(time_ns: int, said: str | None) -> None:
    assert clock(time_ns) == said
