"""Whether an example holds another, shorter one: then the same fault may show on it."""

from __future__ import annotations

from tlsprobe.fuzz.alphabet import FEW
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Limit, Step
from tlsprobe.model.verbs import TAKES_TIME, Form, Verb

_ALSO = {Form.SPLIT: {Form.WHOLE}, Form.LARGE: {Form.WHOLE}}
"""What a step of this form is besides."""


_ASKS = {Verb.SEND, Verb.REQUEST, Verb.EARLY}
"""What sends a request, whatever it waits for."""


def holds(example: Example, shorter: Example) -> bool:
    """Whether all steps of the shorter one come in this one, in their order.

    A wait is held by one that is as long; a request that is awaited is also one that is sent, one
    with a large response is also a request, what is sent in two segments is sent, and where a few
    bytes do it, whatever is sent has some. What takes the close of another connection is held only
    where there is another.
    """
    if shorter.beside is not None and example.beside is None:
        return False
    steps = iter(example.sequence.steps)
    return all(any(_is(step, wanted) for step in steps) for wanted in _said(shorter))


def _said(example: Example) -> tuple[Step, ...]:
    """Its steps, but for the last wait: every example ends with one."""
    steps = example.sequence.steps
    return steps[:-1] if steps and steps[-1].verb is Verb.DRAIN else steps


def _is(step: Step, wanted: Step) -> bool:
    forms = {step.form, *_ALSO.get(step.form, ())}
    if wanted.verb is Verb.SEND and step.verb in _ASKS:
        anything = wanted.payload == FEW
        return anything or (wanted.form in forms and step.payload == wanted.payload)
    if wanted.verb in TAKES_TIME and wanted.verb is not Verb.REQUEST:
        return step.verb in TAKES_TIME and _seconds(step) >= _seconds(wanted)
    return step.verb is wanted.verb and wanted.form in forms and step.payload == wanted.payload


def _seconds(step: Step) -> float:
    """How long a wait lasts at most; one for a limit of the run is longer than any."""
    return float("inf") if isinstance(step.wait, Limit) else step.wait
