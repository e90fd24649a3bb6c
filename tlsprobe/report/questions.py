"""What distinguishes servers: a few questions, each answered by a named sequence.

The answers are verbs in the plural, as they stand behind a group of servers: "answer close_notify,
end idle connections with close_notify + FIN".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlsprobe.model.judgement import Outcome
from tlsprobe.model.run import Run
from tlsprobe.report.alike import differences, fingerprint
from tlsprobe.report.ending import EVENTS, Ending, describe_ending, endings_of

FEWEST = 2
"""The least number of answers in the name of a group, even where one would do."""

Phrase = Callable[[Ending], str]


@dataclass(frozen=True, slots=True)
class Question:
    """One question: the sequences that can answer it (``endings_of``)."""

    sequences: tuple[str, ...]
    phrase: Phrase


def _with(ending: Ending) -> str:
    """``close_notify + FIN``, ``a bare FIN``, ``an RST``."""
    if ending.events in {"f", "r"}:
        return {"f": "a bare FIN", "r": "an RST"}[ending.events]
    return " + ".join(EVENTS[letter] for letter in ending.events)


def _to_notify(ending: Ending) -> str:
    if ending.events.startswith("n"):
        return (
            "answer close_notify" if "r" not in ending.events else "answer close_notify and reset"
        )
    if ending.is_open:
        return "leave close_notify unanswered and the connection open"
    return f"answer close_notify with {_with(ending)}"


def _when_idle(ending: Ending) -> str:
    if not ending.events:
        return "end no idle connection while we waited"
    return f"end idle connections with {_with(ending)}"


def _reset(ending: Ending, when: str, otherwise: str) -> str:
    if ending.is_reset_for_fin:
        return f"reset in place of their FIN {when}"
    if "r" in ending.events:
        return f"reset after their FIN {when}"
    return otherwise


def _behind_goodbye(ending: Ending) -> str:
    return _reset(
        ending,
        "when a close_notify follows the goodbye",
        "do not reset when close_notify follows the goodbye",
    )


def _when_answered(ending: Ending) -> str:
    if not ending.events:
        return "do not close first"
    return _reset(ending, "when their close is answered", "accept the answer to their close")


def _half_closed(ending: Ending) -> str:
    if ending.outcome == Outcome.DATA_LOST:
        return "cut off the owed response at half-close"
    return _reset(ending, "at half-close", "deliver the owed response at half-close")


def _to_fin(ending: Ending) -> str:
    if ending.is_open:
        return "leave the connection open after our FIN"
    return f"answer our bare FIN with {_with(ending)}"


def _to_goodbye(ending: Ending) -> str:
    if ending.is_open:
        return "leave the connection open after the goodbye"
    return f"end with {_with(ending)} after the goodbye"


QUESTIONS = (
    Question(("close-notify-await", "close-notify-fin", "close-notify-only"), _to_notify),
    Question(("idle-expiry",), _when_idle),
    Question(("terminate-close-notify",), _behind_goodbye),
    Question(("idle-expiry-reply", "server-close-reply"), _when_answered),
    Question(("half-close",), _half_closed),
    Question(("fin-only",), _to_fin),
    Question(("terminate",), _to_goodbye),
)
"""The questions, the most important first."""


def answer(run: Run, question: Question) -> str:
    """One server's answer, the TLS versions folded; "" if it was not asked."""
    endings = endings_of(run, question.sequences)
    answers = [(tls, question.phrase(ending)) for tls, ending in endings]
    if len({phrase for _, phrase in answers}) == 1:
        return answers[0][1]
    return ", ".join(f"{phrase} in TLS {tls}" for tls, phrase in answers)


def group_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: what its members share and the other groups do not."""
    answers = [
        [_shared([answer(run, question) for run in group]) for question in QUESTIONS]
        for group in groups
    ]
    parting = [column for column in range(len(QUESTIONS)) if _differs(answers, column)]
    rows = [[row[column] for column in parting or range(len(QUESTIONS))] for row in answers]
    return [_name(rows, index, groups) for index in range(len(rows))]


def _name(rows: list[list[str]], index: int, groups: Sequence[Sequence[Run]]) -> str:
    """The first answers, and of the others those that part the group from its like."""
    row = rows[index]
    chosen = [column for column, phrase in enumerate(row) if phrase][:FEWEST]
    like = [n for n in range(len(rows)) if n != index and _same(rows[n], row, chosen)]
    while like:
        column = max(
            (c for c, phrase in enumerate(row) if phrase),
            key=lambda c: sum(rows[n][c] != row[c] for n in like),
            default=None,
        )
        if column is None or all(rows[n][column] == row[column] for n in like):
            break
        chosen.append(column)
        like = [n for n in like if rows[n][column] == row[column]]
    phrases = [row[column] for column in sorted(chosen)]
    return ", ".join(phrases + _apart(groups, index, like)) or "no measured difference"


def _same(one: list[str], other: list[str], columns: list[int]) -> bool:
    return all(one[column] == other[column] for column in columns)


def _apart(groups: Sequence[Sequence[Run]], index: int, like: list[int]) -> list[str]:
    """For those whom no question parts: a sequence that does, and how it ends.

    The first in which all trials ended alike; if there is none, the first.
    """
    if not like:
        return []
    run, other = groups[index][0], groups[like[0]][0]
    parting = dict.fromkeys(at[0] for at in differences(fingerprint(run), fingerprint(other)))
    endings = [f"{sequence}: {describe_ending(run, sequence)}" for sequence in parting]
    return sorted(endings, key=lambda text: "/" in text)[:1]


def _shared(phrases: list[str]) -> str:
    """What all of a group answer, or ``mostly`` what more than half of them do."""
    known = [phrase for phrase in phrases if phrase]
    if not known:
        return ""
    (phrase, count), *_ = Counter(known).most_common(1)
    if count == len(known):
        return phrase
    return f"mostly {phrase}" if count * 2 > len(known) else ""


def _differs(answers: list[list[str]], column: int) -> bool:
    return len({row[column] for row in answers}) > 1
