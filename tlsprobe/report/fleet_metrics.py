"""A fleet as OpenMetrics text, for the textfile collector of a node exporter.

Source: OpenMetrics 1.0, "Text format"; label values are escaped as it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tlsprobe.behaviours import behaviours_of
from tlsprobe.model.behaviour import Harm
from tlsprobe.model.fleet import Answer, State
from tlsprobe.waiving import standing


def render_metrics(answers: Sequence[Answer]) -> str:
    """Gauges of each target, and the end of the exposition."""
    return "\n".join((*_lines(answers), "# EOF", ""))


def _lines(answers: Sequence[Answer]) -> Iterator[str]:
    yield from _family(
        "tlsprobe_target_measured",
        "Whether the target has an answer",
        ((_labels(one), int(_is_measured(one))) for one in answers),
    )
    yield from _family(
        "tlsprobe_behaviours",
        "Behaviours of the target at its close that nobody has waived, by harm",
        ((labels, count) for one in answers for labels, count in _harms(one)),
    )
    yield from _family(
        "tlsprobe_idle_timeout_seconds",
        "After how long the server ends an idle connection",
        (
            (_labels(one), one.run.idle.timeout_s)
            for one in answers
            if one.run is not None and one.run.idle is not None and one.run.idle.timeout_s
        ),
    )


def _is_measured(one: Answer) -> bool:
    return one.run is not None and one.state is not State.INTERRUPTED


def _harms(one: Answer) -> Iterator[tuple[dict[str, str], int]]:
    if one.run is None:
        return
    counts = Counter(each.harm for each in standing(behaviours_of(one.run)))
    for harm in Harm:
        yield {**_labels(one), "harm": harm.replace(" ", "_")}, counts[harm]


def _labels(one: Answer) -> dict[str, str]:
    own = {"target": one.target.title, "address": one.target.address}
    if one.vantage:
        own["vantage"] = one.vantage
    return {**{_name(name): value for name, value in one.target.labels.items()}, **own}


def _name(text: str) -> str:
    """A label's name of the characters that OpenMetrics allows."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain


def _family(name: str, told: str, samples: Iterable[tuple[dict[str, str], float]]) -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    yield f"# HELP {name} {told}"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
