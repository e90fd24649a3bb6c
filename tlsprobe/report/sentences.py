"""The facts of a run as phrases and sentences, the same on every page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from tlsprobe.judge.rules import undecided
from tlsprobe.model.causes import cause_named
from tlsprobe.model.judgement import Doubt
from tlsprobe.model.run import CaptureFacts, CountedFrom, Idle, Plan, Run
from tlsprobe.report.document import SUMMARY_KEYS
from tlsprobe.report.findings import Place, Why
from tlsprobe.report.glyphs import seconds
from tlsprobe.report.plurals import counted, in_short
from tlsprobe.waiving import is_waived


def target_title(run: Run) -> str:
    """The target as the user named it, its address if that says more, and its profile."""
    address = str(run.target)
    name = address if run.target.name == address else f"{run.target.name} at {address}"
    profile = run.target.profile
    return name if profile in name.split() else f"{name} (profile {profile})"


def describe_measurement(run: Run) -> str:
    """With which tlsprobe, when, and how many trials."""
    counts = sorted({cell.trials for cell in run.cells if cell.trials})
    trials = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else "".join(map(str, counts)) or "0"
    times = f"{trials} trial{'' if trials == '1' else 's'} per cell"
    return f"{run.tool.name} {run.tool.version}, {run.started[:19].replace('T', ' ')} UTC, {times}"


def describe_host(run: Run) -> str:
    """The machine that probed."""
    host = run.host
    return f"{host.system} {host.kernel}, Python {host.python}, {host.openssl}"


def describe_capture(capture: CaptureFacts) -> str:
    """How packets were captured, and what that is worth as evidence."""
    if capture.backend == "none":
        return (
            "none. Weaker evidence: only what our own socket reported is known. Who sent an RST, "
            "when and why cannot be shown; 'tlsprobe doctor' says how to get a capture."
        )
    where = f"{capture.backend} on {capture.interface}, {counted(capture.packets, 'packet')}"
    if capture.dropped is None:
        return f"{where}. It does not report drops, so a gap may go unnoticed."
    if capture.dropped:
        return (
            f"{where}, {capture.dropped} DROPPED. Weaker evidence: connections with a hole are "
            "inconclusive; probe more slowly (--rate, --concurrency) for a complete capture."
        )
    return f"{where}, none dropped"


_SINCE = {
    CountedFrom.EXCHANGE: "the last packet with data before the silence",
    CountedFrom.ACCEPT: "the server's SYN-ACK, whatever passed since",
}


def describe_idle(idle: Idle) -> str:
    """How the server ends an idle connection, and what a client should do about it."""
    if idle.timeout_s is None:
        what = f"no idle timeout seen ({idle.how})" if idle.how else "no idle timeout seen"
    else:
        spread = _spread(idle.spread_s or 0.0)
        how = f" with {idle.how}" if idle.how else ""
        since = f", counted from {_SINCE[idle.counted_from]}" if idle.counted_from else ""
        timeout = seconds(idle.timeout_s)
        what = f"the server ends an idle connection after {timeout}{spread}{how}{since}"
    return ". ".join(_sentence(part) for part in (what, idle_advice(idle)) if part)


def idle_in_brief(idle: Idle) -> str:
    """The same in the fewest words; the advice in full where it is not to stay below a number."""
    if not idle.timeout_s or not idle.advice_s or idle.counted_from is CountedFrom.ACCEPT:
        return describe_idle(idle)
    how = f", then {idle.how}" if idle.how else ""
    kept = f"keep the client's idle timeout at {seconds(idle.advice_s)} or less"
    return f"{seconds(idle.timeout_s)}{_spread(idle.spread_s or 0.0)}{how}; {kept}"


def _spread(spread_s: float) -> str:
    """A spread in parentheses, if it is more than nothing at the precision in which it is told."""
    said = seconds(spread_s)
    return f" (spread {said})" if said != seconds(0) else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def idle_timers(idle: Idle) -> Iterator[str]:
    """The server's timers one by one, where there are several, or one that is no idle timeout."""
    if len(idle.kinds) < 2 and all(k.timeout_s == idle.timeout_s for k in idle.kinds.values()):
        return
    for kind, timer in idle.kinds.items():
        if timer.timeout_s is None:
            yield f"{kind}: not ended while we waited"
        else:
            yield f"{kind}: {seconds(timer.timeout_s)}, {timer.how}"


def describe_cost(spent: Plan) -> str:
    """What a run has cost the server, and us."""
    return (
        f"{counted(spent.connections, 'connection')}, at most {spent.most_open} open at once,"
        f" {seconds(spent.seconds)}"
    )


def cost_in_brief(run: Run) -> str:
    """Connections, packets and time; empty where there is nothing to say."""
    capture, spent, said = run.capture, run.spent, list[str]()
    if spent is not None:
        said.append(f"{counted(spent.connections, 'connection')} in {seconds(spent.seconds)}")
    if capture.backend != "none" and not capture.dropped:
        lost = ", none dropped" if capture.dropped is not None else ""
        where = f"on {capture.interface} ({capture.backend})"
        said.append(f"{counted(capture.packets, 'packet')} {where}{lost}")
    return "; ".join(said)


def describe_lateness(run: Run) -> str:
    """How late our steps were, and what came of it; empty if nobody knows."""
    out = _left_out(run)
    said = [f"our steps were on the wire {late}"] if (late := _how_late(run)) else []
    said += [
        f"{counted(out[why], 'trial')} left out: {because}"
        for why, because in _SPOILED.items()
        if out[why]
    ]
    return "; ".join((*said, *_driven_again(run)))


def lateness_in_brief(run: Run) -> str:
    """The same without why trials were left out."""
    said = [f"our steps were {late}"] if (late := _how_late(run)) else []
    if out := _left_out(run).total():
        said.append(f"{counted(out, 'trial')} left out")
    return "; ".join((*said, *_driven_again(run)))


def _how_late(run: Run) -> str:
    late = run.lateness
    if not late.n or late.p50 is None or late.max is None:
        return ""
    return f"{late.p50 / 1000:.1f} ms late (median), at most {late.max / 1000:.1f} ms"


def _left_out(run: Run) -> Counter[str]:
    """How many trials, by why their timing left them without a say."""
    out = Counter[str]()
    for cell in run.cells:
        out.update({why: n for why, n in cell.left_out.items() if why in _SPOILED})
    return out


def _driven_again(run: Run) -> Iterator[str]:
    if repeated := sum(cell.repeated for cell in run.cells):
        yield f"{counted(repeated, 'trial')} driven once more"


_SPOILED = {
    Doubt.LATE: "a step of ours was late",
    Doubt.BUSY: "everything was too slow for our patience",
    Doubt.CROWDED: "our own connections filled the server",
}


def describe_races(run: Run) -> Iterator[str]:
    """The races of a run, each in a paragraph."""
    for cell in run.cells:
        if cell.race is not None:
            yield f"{cell.sequence}, TLS {cell.tls}: {cell.race.text}"


def undecided_rules(run: Run) -> str:
    """The rules that nothing in this run could decide."""
    return ", ".join(undecided(run.cells))


def idle_advice(idle: Idle) -> str:
    """The run's advice, or one made of its number."""
    if idle.advice or not idle.advice_s:
        return idle.advice
    return f"Close idle connections on the client before {seconds(idle.advice_s)}."


def count_verdicts(runs: Sequence[Run]) -> str:
    """Cells by verdict; those that do not occur are left out."""
    totals = {key: sum(run.summary.get(key, 0) for run in runs) for key in SUMMARY_KEYS}
    verdicts = ", ".join(f"{count} {key}" for key, count in totals.items() if count)
    cells = sum(len(run.cells) for run in runs)
    waived = sum(is_waived(run, cell) for run in runs for cell in run.cells)
    passing = f"; {waived} of them waived" if waived else ""
    return f"{counted(cells, 'cell')}: {verdicts or 'nothing judged'}{passing}"


def describe_cause(why: Why) -> str:
    """The cause, how often, and how sure it is: in each share of the trials, if that differs."""
    shares = why.confidences or ((why.facts.confidence, why.facts.count),)
    if len(shares) == 1:
        ((sure, count),) = shares
        said = f"confidence {sure}, in {counted(count, 'trial')}"
    else:
        (sure, count), *others = shares
        rest = "".join(f", {other} in {number}" for other, number in others)
        said = f"confidence {sure} in {counted(count, 'trial')}{rest}"
    open_end = ", before or after the FIN" if why.mixed else ""
    return f"{why.facts.cause} ({said}{open_end})"


def describe_loose_cause(why: Why) -> str:
    """A reset without a finding: whose it was, and why."""
    cause = cause_named(why.facts.cause)
    if why.facts.side == "client":
        whose = "our own side reset"
    elif cause is not None and not cause.row.by_sender:
        whose = "a reset came in the server's name"
    else:
        whose = "the server reset"
    return f"{whose}: {describe_cause(why)}"


def place_names(places: Sequence[Place], *, several: bool = False) -> tuple[str, ...]:
    """Where, and in how many trials: by sequence, or by target if the page is about several.

    ``abort (TLS 1.2 3/20, TLS 1.3 20/20)``, ``terminate (20/20 each, TLS 1.2 and 1.3)``; with
    several targets ``nginx: abort 40/40``, ``caddy: 3 sequences 60/60``.
    """
    if several or len({place.target for place in places}) > 1:
        return tuple(_in_target(*item) for item in _by(places, "target").items())
    return tuple(f"{name} ({_counts(of)})" for name, of in _by(places, "sequence").items())


def _by(places: Sequence[Place], field: Literal["target", "sequence"]) -> dict[str, list[Place]]:
    groups: dict[str, list[Place]] = {}
    for place in places:
        name = place.target if field == "target" else place.sequence
        groups.setdefault(name, []).append(place)
    return groups


def _in_target(target: str, places: list[Place]) -> str:
    sequences = list(_by(places, "sequence"))
    what = sequences[0] if len(sequences) == 1 else f"{len(sequences)} sequences"
    count, trials = sum(p.count for p in places), sum(p.trials for p in places)
    told = in_short(count, trials, trials + sum(p.left_out for p in places))
    return f"{target}: {what} {told}" if trials else f"{target}: {what}"


def _counts(places: list[Place]) -> str:
    counts = [in_short(p.count, p.trials, p.trials + p.left_out) for p in places]
    if len(set(counts)) > 1:
        return ", ".join(f"TLS {p.tls} {c}" for p, c in zip(places, counts, strict=True))
    versions = "TLS " + " and ".join(place.tls for place in places)
    if not places[0].trials:
        return versions
    return f"{counts[0]}{' each' if len(counts) > 1 else ''}, {versions}"
