"""How often the kernel agrees with the causes: counted over recorded facts, server by server.

A lab run records beside its trials why the kernel sent each RST. Here the trials are judged with
the code of today, each RST is paired with the kernel's word, and what came of it is counted. The
page of it is ``results/kernel.md``. By itself it lists what disagrees, in one or more folders:

    python -m tests.report.kernel results

With ``--page`` it writes a page to a file, of what was counted in the folder and of the counts that
lie beside the page since earlier times, where a server that is counted anew replaces its own. So
was ``results/kernel-many.md`` made, of facts that are too many to be kept: more trials of the
sequences in which there are resets.

    python -m tests.report.kernel --page results/kernel-many.md FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.report.kernel_counts import Agreement, Counted, read_counts, write_counts
from tlsprobe.campaign.judging import judged_run
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.lab.kernel_comparison import endpoint_of, with_kernel
from tlsprobe.model.causes import Cause
from tlsprobe.model.facts import Fact, KernelFact, ReachedFact
from tlsprobe.model.run import JudgedTrial
from tlsprobe.model.trace import Side
from tlsprobe.profiles import list_profiles
from tlsprobe.report.blocks import Block, BulletList, Column, Heading, Page, Paragraph, Table
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.plurals import counted


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


def unprepared(servers: Iterable[str]) -> list[str]:
    """Those for which no profile ships: nothing was known of them before they were measured.

    A server may have several, each with what was asked behind its name.
    """
    known = tuple(list_profiles())
    ours = {*known, *(f"{server}-{asked}" for server in known for asked in known)}
    return [name for name in servers if name not in ours]


def _blocks(servers: dict[str, dict[Side, Agreement]], runs: str) -> Iterator[Block]:
    yield Heading(1, "The kernel's reasons and our causes")
    yield Paragraph(
        f"Why each RST of {runs} was sent, as the packets tell it, held against the reason that the"
        " kernel which sent it gives (tracepoint tcp:tcp_send_reset)."
    )
    if strangers := unprepared(name.rpartition("/")[2] for name in servers):
        yield Paragraph(
            f"No profile ships for {len(strangers)} of these servers, which nobody had probed"
            f" before: {', '.join(strangers)}."
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
        pairs = found.pairs
        said = [
            f"{cause} against {reason} {counted(n, 'time')}" for (cause, reason), n in pairs.items()
        ]
        if said:
            both = found.meant > 0 and pairs.keys() <= {(str(Cause.DELIBERATE), _UNREAD)}
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
    parser.add_argument("--page", type=Path, help="write a page, and the counts beside it")
    return parser.parse_args()


def counted_in(folder: Path) -> dict[str, Counted]:
    """What comes of the runs of a folder, with their days."""
    return {
        name: Counted(_day(folder / name / FACTS_FILE), found)
        for name, found in agreements(folder).items()
    }


def _day(path: Path) -> str:
    how = RecordedFacts(path).how_measured()
    return how.finished[:10] if how is not None else ""


def told_runs(servers: dict[str, Counted]) -> str:
    """How many runs they were, and the days on which they ended."""
    days = sorted({one.day for one in servers.values() if one.day})
    told = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "unknown days"
    return f"{counted(len(servers), 'run')} from {told}"


def write_page(page: Path, new: dict[str, Counted]) -> None:
    """Write the page of these counts and of those beside it, and keep them all there."""
    kept = page.with_suffix(".json")
    servers = read_counts(kept) | new
    write_counts(kept, servers)
    sides = {name: one.sides for name, one in servers.items()}
    page.write_text(page_for_folder(kernel_page(sides, told_runs(servers))), encoding="utf-8")


if __name__ == "__main__":
    asked = _arguments()
    for folder in asked.folders:
        servers = counted_in(folder)
        for name, one in servers.items():
            for line in lines(name, one.sides):
                print(line)
        for side in Side:
            total = Agreement()
            for one in servers.values():
                total.add(one.sides[side])
            print(f"{folder}, {side}: {_sentence(total)}")
        if asked.page is not None:
            write_page(asked.page, servers)
