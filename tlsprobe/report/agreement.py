"""Our causes against the kernel's own reasons, over many runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlsprobe.model.run import Disagreement, Run, Truth
from tlsprobe.report.plurals import counted


@dataclass(frozen=True, slots=True)
class Named:
    """A disagreement and the title of the server that it is about."""

    title: str
    what: Disagreement


@dataclass(frozen=True, slots=True)
class Agreement:
    """The truths of several runs added up; ``runs`` is how many had one."""

    runs: int
    total: Truth
    disagreements: tuple[Named, ...]


def agreement_of(titled: Iterable[tuple[str, Run]]) -> Agreement | None:
    """The sum over the runs for which the kernel was asked; None if it never was."""
    known = [(title, run.truth) for title, run in titled if run.truth is not None]
    if not known:
        return None
    truths = [truth for _, truth in known]
    total = Truth(
        resets=sum(truth.resets for truth in truths),
        agreed=sum(truth.agreed for truth in truths),
        agreed_by_alternative=sum(truth.agreed_by_alternative for truth in truths),
        disagreements=tuple(one for truth in truths for one in truth.disagreements),
        unmatched=tuple(one for truth in truths for one in truth.unmatched),
        not_seen=sum(truth.not_seen for truth in truths),
        lost=sum(truth.lost for truth in truths),
    )
    named = (Named(title, one) for title, truth in known for one in truth.disagreements)
    return Agreement(len(known), total, tuple(named))


def agreement_sentences(agreement: Agreement) -> Iterator[str]:
    """The sum in sentences, the gaps in it included, then every disagreement."""
    total = agreement.total
    runs = counted(agreement.runs, "run")
    if total.resets:
        yield (
            f"Of {counted(total.resets, 'RST')} in {runs}, the reason that"
            f" the sending kernel gives agrees with our cause for {total.agreed}, with an"
            f" alternative that we named for {total.agreed_by_alternative}, and with neither for"
            f" {len(total.disagreements)}."
        )
    else:
        yield f"In {runs} there was no RST for which the kernel gave a reason."
    if total.unmatched:
        yield f"For {len(total.unmatched)} more the kernel gave no reason."
    if total.not_seen:
        yield f"On the same connections it sent {total.not_seen} more that no trial saw."
    if total.lost:
        yield f"Its trace lost {total.lost} entries, so some may be missing from these numbers."
    yield from map(_disagreement, agreement.disagreements)


def _disagreement(named: Named) -> str:
    """Where, what we said, and what the kernel says."""
    one = named.what
    others = f" or {', '.join(one.alternatives)}" if one.alternatives else ""
    kernel = " ".join(filter(None, (one.state, one.reason))) or "nothing"
    return (
        f"{named.title}: {one.sequence}, TLS {one.tls}, trial {one.trial}, packet {one.packet} "
        f"(the {one.side}'s): {one.cause}{others} ({one.confidence}); the kernel says {kernel}"
    )
