"""How often the kernel agrees with the causes: counted over recorded facts, server by server.

A lab run records beside its trials why the kernel sent each RST. Here the trials are judged with
the code of today, each RST is paired with the kernel's word, and what came of it is counted. The
page of it is ``results/kernel.md``. By itself it lists what disagrees, in one or more folders:

    python -m tests.report.kernel results

With ``--page`` it writes the page of one folder to a file. ``results/kernel-many.md`` was made so,
of facts that are too many to be kept: more trials of the sequences in which there are resets.

    python -m tests.report.kernel --page results/kernel-many.md FOLDER
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tlsprobe.campaign.judging import judged_run
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.lab.kernel_comparison import Paired, endpoint_of, with_kernel
from tlsprobe.model.causes import Cause
from tlsprobe.model.facts import Fact, KernelFact, ReachedFact
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.run import JudgedTrial
from tlsprobe.model.trace import Side
from tlsprobe.report.blocks import Block, BulletList, Column, Heading, Page, Paragraph, Table
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.plurals import counted


@dataclass(slots=True)
class Agreement:
    """The RSTs of one side of one server's runs, of which the kernel told the reason.

    ``right``: it allows the first choice; ``by_alternative``: only one that was left open;
    ``wrong``: none that was named. ``high`` counts those with that confidence, ``high_wrong`` those
    of them of which the first choice is not right, ``meant`` those that are aborts on purpose by
    our word and the kernel's.
    """

    resets: int = 0
    right: int = 0
    by_alternative: int = 0
    wrong: int = 0
    high: int = 0
    high_wrong: int = 0
    meant: int = 0
    against: list[Paired] = field(default_factory=list)

    def count(self, one: Paired) -> None:
        """Count one RST."""
        self.resets += 1
        self.right += one.agrees
        self.meant += one.agrees and one.reset.cause is Cause.DELIBERATE
        self.by_alternative += one.agrees_by_alternative
        self.wrong += not (one.agrees or one.agrees_by_alternative)
        if one.reset.confidence is Confidence.HIGH:
            self.high += 1
            self.high_wrong += not one.agrees
        if not one.agrees:
            self.against.append(one)

    def add(self, other: Agreement) -> None:
        """Count what another has counted."""
        for name in ("resets", "right", "by_alternative", "wrong", "high", "high_wrong", "meant"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.against += other.against


def agreement(facts: Callable[[], Iterable[Fact]]) -> dict[Side, Agreement]:
    """The agreement over the facts of one run, for the RSTs of either side."""
    return agreement_with(facts(), judged_run(facts).trials)


def agreement_with(facts: Iterable[Fact], trials: Iterable[JudgedTrial]) -> dict[Side, Agreement]:
    """The same of a run whose trials were judged already; its other facts are enough."""
    found = {side: Agreement() for side in Side}
    heard = [fact for fact in facts if isinstance(fact, KernelFact | ReachedFact)]
    told = sorted(
        (reset for fact in heard if isinstance(fact, KernelFact) for reset in fact.resets),
        key=lambda reset: reset.time_ns,
    )
    address = next((fact.address for fact in heard if isinstance(fact, ReachedFact)), "")
    if not told or not address:
        return found
    for one in with_kernel(trials, told, endpoint_of(address)):
        if one.kernel is not None:
            found[one.reset.side].count(one)
    return found


def agreements(folder: Path) -> dict[str, dict[Side, Agreement]]:
    """The agreement of each run in a folder of runs, by the names of their folders."""
    return {
        path.parent.name: agreement(RecordedFacts(path).read)
        for path in sorted(folder.glob(f"*/{FACTS_FILE}"))
    }


_HEADS = ("server", "RSTs", "right", "by alternative", "wrong", "high", "high and wrong")


def kernel_page(
    servers: dict[str, dict[Side, Agreement]], runs: str = "the committed runs"
) -> Page:
    """The agreement by server, the sums first."""
    return tuple(_blocks(servers, runs))


def _blocks(servers: dict[str, dict[Side, Agreement]], runs: str) -> Iterator[Block]:
    yield Heading(1, "The kernel's reasons and our causes")
    yield Paragraph(
        f"Why each RST of {runs} was sent, as the packets tell it, held against the reason that the"
        " kernel which sent it gives (tracepoint tcp:tcp_send_reset)."
    )
    for side in Side:
        yield Heading(2, f"RSTs that the {side} sent")
        total = Agreement()
        for found in servers.values():
            total.add(found[side])
        yield Paragraph(_sentence(total))
        rows = [_row(name, found[side]) for name, found in servers.items() if found[side].resets]
        if rows:
            yield Table(tuple(map(Column, _HEADS)), tuple(rows))
        told = tuple(_unsettled({name: found[side] for name, found in servers.items()}))
        if told:
            yield Paragraph("Where the first choice is not the kernel's word:")
            yield BulletList(told)


def _unsettled(servers: dict[str, Agreement]) -> Iterator[str]:
    """For each server, which of our words stood against which of the kernel's, how often, and why.

    Linux looks for unread data before it looks at SO_LINGER (tcp_close), so that it names unread
    data where both are so.
    """
    for name, found in servers.items():
        pairs = Counter((str(one.reset.cause), _reason(one)) for one in found.against)
        said = [
            f"{cause} against {reason} {counted(n, 'time')}" for (cause, reason), n in pairs.items()
        ]
        if said:
            both = found.meant > 0 and pairs.keys() <= {(Cause.DELIBERATE, _UNREAD)}
            why = _both(found.meant) if both else ""
            yield f"{name}: {', '.join(said)}{why}."


_UNREAD = "TCP_ABORT_ON_CLOSE"


def _both(meant: int) -> str:
    return (
        f". In {counted(meant, 'other connection')} the kernel confirms that this server resets"
        " also where it has read everything (SO_LINGER with a time of zero). Here something was"
        " unread as well, and the kernel, which looks for that first, names it. The packets are the"
        " same either way: whether the application had read the last bytes is not on the wire"
    )


def _reason(one: Paired) -> str:
    assert one.kernel is not None
    return one.kernel.reason


def _sentence(total: Agreement) -> str:
    if not total.resets:
        return "None of which the kernel told the reason."
    first = total.resets - total.right
    return (
        f"Of {counted(total.resets, 'RST')} our first choice is right for {total.right}; for"
        f" {total.by_alternative} an alternative that we named is, and for {total.wrong} nothing"
        f" that we named. First choices that are not right: {first / total.resets:.2%}. Of"
        f" {total.high} with confidence high, {total.high_wrong} are wrong."
    )


def _row(name: str, found: Agreement) -> tuple[str, ...]:
    numbers = (found.resets, found.right, found.by_alternative, found.wrong)
    return (name, *map(str, (*numbers, found.high, found.high_wrong)))


def lines(name: str, found: dict[Side, Agreement]) -> Iterator[str]:
    """What disagrees, a line an RST."""
    for side in Side:
        for one in found[side].against:
            assert one.kernel is not None
            trial, reset = one.trial.trial, one.reset
            left = ",".join(reset.alternatives) or "-"
            yield (
                f"{name} {side} {trial.sequence} {trial.tls} {trial.index}"
                f" [{one.trial.judgement.signature}] {reset.cause} {reset.confidence} ({left})"
                f" kernel {one.kernel.state} {one.kernel.reason}"
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How often the kernel agrees with the causes.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--page", type=Path, help="write the page of the one folder to this file")
    return parser.parse_args()


def _told_runs(servers: Iterable[Path]) -> str:
    """How many runs they were, and the days on which they ended."""
    how = [RecordedFacts(path).how_measured() for path in servers]
    days = sorted({fact.finished[:10] for fact in how if fact is not None})
    return f"{counted(len(how), 'run')} from {' and '.join(dict.fromkeys((days[0], days[-1])))}"


if __name__ == "__main__":
    asked = _arguments()
    for folder in asked.folders:
        servers = agreements(folder)
        for name, found in servers.items():
            for line in lines(name, found):
                print(line)
        for side in Side:
            total = Agreement()
            for found in servers.values():
                total.add(found[side])
            print(f"{folder}, {side}: {_sentence(total)}")
        if asked.page is not None:
            runs = _told_runs(sorted(folder.glob(f"*/{FACTS_FILE}")))
            asked.page.write_text(page_for_folder(kernel_page(servers, runs)), encoding="utf-8")
