"""What is drawn only where somebody asks for its chapter: TLS's own words, and what the path does.

The ranks follow those of the moves that are always drawn, so that a failure which shows without
these is shrunk to one without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tlsprobe.fuzz.move import Move
from tlsprobe.model.alerts import FATAL
from tlsprobe.model.sequence import Step
from tlsprobe.model.verbs import FIN_TREATMENTS, MALFORMED, Form, Treatment, Verb

CONTROL, WIRE = "control", "wire"

_WARNING = 1
_ALERTS = ((FATAL, 80), (FATAL, 40), (_WARNING, 90), (_WARNING, 100))
"""internal_error, handshake_failure, user_canceled, no_renegotiation."""

_AHEAD = 100
_FIN_HELD = (0.005, 0.05, 0.2)
_PIECES = {Treatment.SPLIT: 1}
_TREATED = (Verb.CLOSE_NOTIFY, Verb.TERMINATE, Verb.SEND)


def moves_of(chapters: frozenset[str], offered: frozenset[Form]) -> Iterator[Move]:
    """The moves of these chapters, simplest first, with the forms of request that there are."""
    if CONTROL in chapters:
        yield from _control()
        if Form.GUARDED in offered:
            guarded = Step(Verb.SEND, form=Form.GUARDED), Step(Verb.REQUEST, form=Form.GUARDED)
            yield Move(26, 4, guarded)
    if WIRE in chapters:
        yield from _wire()


def _control() -> Iterator[Move]:
    alert, update = Verb.ALERT, Verb.KEY_UPDATE
    odd = (Form.CORRUPT, Form.PLAIN, Form.FRAGMENTED, Form.DOUBLE)
    yield Move(20, 8, tuple(Step(alert, alert=named) for named in _ALERTS))
    yield Move(21, 4, (Step(update), Step(update, form=Form.ASKING)))
    yield Move(22, 3, (Step(Verb.SEND, form=Form.EMPTY), Step(Verb.SEND, form=Form.FULL)))
    yield Move(23, 4, tuple(Step(alert, form=form) for form in odd))
    yield Move(24, 3, tuple(Step(Verb.SEND, form=form) for form in Form if form in MALFORMED))
    yield Move(25, 2, (Step(Verb.RENEGOTIATE),))


def _wire() -> Iterator[Move]:
    yield Move(30, 6, (Step(Verb.RELEASE),))
    yield Move(31, 6, tuple(_treated(Verb.FIN, how) for how in Treatment if how in FIN_TREATMENTS))
    yield Move(32, 14, tuple(_treated(verb, how) for verb, how in product(_TREATED, Treatment)))
    yield Move(33, 4, tuple(Step(Verb.HOLD, wait=seconds) for seconds in _FIN_HELD))
    yield Move(34, 4, (Step(Verb.WINDOW), Step(Verb.WINDOW, is_open=True)))
    yield Move(35, 3, (Step(Verb.MUTE), Step(Verb.UNMUTE)))
    yield Move(36, 3, (Step(Verb.RESET), Step(Verb.RESET, ahead=_AHEAD)))


def _treated(verb: Verb, how: Treatment) -> Step:
    return Step(verb, treatment=how, count=_PIECES.get(how, 1))
