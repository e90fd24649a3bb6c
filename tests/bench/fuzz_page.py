"""The page of what the fuzzer finds, from the logs of ``bench_fuzz`` and ``fuzz_controls``."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from statistics import median

from tests.bench.fuzz_controls import Controlled
from tests.fuzz.faults import FAULTS
from tlsprobe.language import parse
from tlsprobe.report.plurals import counted

SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """One fault and one seed: whether it was found, at what cost, and how short it was made.

    ``connections`` had been made when the fault was first seen (None: it was not), ``spent`` when
    it was confirmed or the time was over. ``random`` and ``named`` say after how many connections
    plain random and the named sequences saw it, of ``spent``; None: not. ``code`` is what was
    measured (``fuzz_controls.code_here``).
    """

    fault: str
    about: str
    seed: int
    confirmed: str | None
    steps: str | None
    shortest: str
    connections: int | None
    spent: int
    seconds: float
    random: int | None
    named: int | None
    code: str = ""


def newest(found: Iterable[Found]) -> list[Found]:
    """Of each fault and seed what was measured last: a log may hold several runs."""
    return list({(one.fault, one.seed): one for one in found}.values())


def measured(codes: Iterable[str]) -> str:
    """Which code was measured, and how much of each where it was several."""
    counted_by = Counter(codes)
    if len(counted_by) == 1:
        (code,) = counted_by
        return f"All of it was measured with {_named(code)}."
    parts = (f"{count} with {_named(code)}" for code, count in counted_by.most_common())
    return f"Not all of it was measured with the same code: {', '.join(parts)}."


def _named(code: str) -> str:
    return f"`{code}`" if code else "code that the log does not name"


def page(found: list[Found], controls: list[Controlled], note: str) -> str:
    """The results as Markdown: what was found over all, fault by fault, and of correct servers."""
    found = newest(found)
    share = _share(found, lambda one: one.confirmed is not None)
    seeds = counted(len({one.seed for one in found}), "seed")
    lines = [
        "# What the fuzzer finds",
        "",
        f"{len({one.fault for one in found})} servers with one seeded fault each"
        f" (`tests/fuzz/faults/`), {seeds}, {SECONDS:.0f} s at most, as"
        f" `python -m tests.bench.bench_fuzz` measured it on {platform.machine()} with"
        f" {cpu_count()} processors. *Found*: confirmed as a failure of the property that the fault"
        " breaks. *Seen after*, *random* and *named*: the median number of connections until it was"
        " seen first; plain random over the same alphabet and the named sequences had as many"
        " connections as the fuzzer had spent when it was done, and need not confirm anything."
        " *Steps*: the median of the shortest close that was reported, beside the known minimum.",
        "",
        measured(one.code for one in found),
        *(("", note) if note else ()),
        "",
        "| | fuzzer | plain random | named sequences |",
        "|---|---|---|---|",
        f"| found, of {len(found)} pairs of fault and seed | {share} |"
        f" {_share(found, lambda one: one.random is not None)} |"
        f" {_share(found, lambda one: one.named is not None)} |",
        f"| connections until it was seen, median | {_median(one.connections for one in found)} |"
        f" {_median(one.random for one in found)} | {_median(one.named for one in found)} |",
        "",
        "| fault | about | found | seen after | random | named | steps | minimum | reported as |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            _row([one for one in found if one.fault == name])
            for name in FAULTS
            if _has(found, name)
        ),
        "",
        *_of_controls(controls),
    ]
    return "\n".join(lines)


def _of_controls(controls: list[Controlled]) -> Iterator[str]:
    """What correct servers were blamed for, which is to be nothing."""
    if not controls:
        return
    controls = list({(one.control, one.profile, one.seed): one for one in controls}.values())
    yield from ("## Correct servers", "")
    seeds = counted(len({one.seed for one in controls}), "seed")
    yield (
        "Each is fuzzed as the servers above, without a fault (`tests/fuzz/controls.py`, and the"
        f" built-in servers in each protocol that they speak), {seeds}, as `python -m"
        " tests.bench.fuzz_controls` measured it. A failure here would be a mistake of the"
        " fuzzer. *Unmeasured*: examples of which nothing could be said, since we were late, or"
        f" were cut short. {measured(one.code for one in controls)}"
    )
    yield from ("", "| server | profile | examples | unmeasured | connections | failures |")
    yield "|---|---|---|---|---|---|"
    for name, profile in dict.fromkeys((one.control, one.profile) for one in controls):
        runs = [one for one in controls if (one.control, one.profile) == (name, profile)]
        sums = (
            *(sum(one.examples for one in runs), sum(one.unmeasured for one in runs)),
            *(sum(one.connections for one in runs), sum(len(one.failures) for one in runs)),
        )
        yield f"| `{name}` | `{profile}` | {' | '.join(map(str, sums))} |"
    yield ""


def _has(found: list[Found], name: str) -> bool:
    return any(one.fault == name for one in found)


def _row(runs: list[Found]) -> str:
    one = runs[0]
    reported = sorted(
        {run.steps for run in runs if run.steps}, key=lambda steps: (len(steps), steps)
    )
    cells = (
        *(f"`{one.fault}`", one.about, _share(runs, lambda run: run.confirmed is not None)),
        _median(run.connections for run in runs),
        *(_seen(run.random for run in runs), _seen(run.named for run in runs)),
        _median(len(parse(run.steps).steps) for run in runs if run.steps),
        str(len(parse(one.shortest).steps)),
        f"`{reported[0]}`" if reported else "",
    )
    return f"| {' | '.join(cells)} |"


def _share(runs: list[Found], is_found: Callable[[Found], bool]) -> str:
    count = sum(map(is_found, runs))
    return f"{count}/{len(runs)}" + (f" ({100 * count / len(runs):.0f} %)" if len(runs) > 9 else "")


def _seen(counts: Iterable[int | None]) -> str:
    every = list(counts)
    seen = sum(count is not None for count in every)
    return f"{_median(every)} ({seen}/{len(every)})" if seen else f"- (0/{len(every)})"


def _median(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{median(known):.0f}" if known else "-"


def read_found(log: Path) -> list[Found]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [Found(**json.loads(line)) for line in lines]
