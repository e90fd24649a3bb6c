"""The page of a fleet: what its servers do, worst first, and which could not be measured."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tlsprobe.behaviours import behaviours_of
from tlsprobe.model.behaviour import Behaviour, Harm, Seen
from tlsprobe.model.fleet import Answer, FleetPlan, State
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    Column,
    Field,
    Fields,
    Heading,
    Names,
    Note,
    Page,
    Paragraph,
    Table,
    Tag,
    Text,
)
from tlsprobe.report.pages.behaviours import tag_of
from tlsprobe.report.plurals import counted, how_long
from tlsprobe.waiving import (
    is_all_waived,
    standing,
    standing_first,
    standing_verdict,
    worst_standing,
)

WORST = 30
"""So many targets are listed by name, the worst first."""


@dataclass(slots=True)
class _Habit:
    """A behaviour and the targets that have it."""

    behaviour: Behaviour
    targets: list[Answer] = field(default_factory=list)

    @property
    def rank(self) -> tuple[bool, int, int]:
        return *standing_first(self.behaviour), -len(self.targets)


def in_short(answer: Answer) -> Answer:
    """What the pages of a fleet need of an answer: a sixtieth of it, for there may be thousands.

    The cells are left out, and of each behaviour is told in how many trials it was seen, not where.
    The summary counts them by the verdicts that nobody has waived.
    """
    if answer.run is None:
        return answer
    run = answer.run
    behaviours = tuple(map(_in_short, behaviours_of(run)))
    verdicts = Counter(str(standing_verdict(run, cell)) for cell in run.cells)
    short = replace(run, cells=(), behaviours=behaviours, summary=dict(verdicts))
    return replace(answer, run=short)


def _in_short(one: Behaviour) -> Behaviour:
    seen = Seen("", "", one.count, one.trials, one.asked)
    return replace(one, seen=(seen,), hurts=(), rules=(), evidence=(), to_do=())


def fleet_page(
    answers: Sequence[Answer], command: str = "", before: Sequence[Answer] | None = None
) -> Page:
    """The whole page. ``command`` measures it again; ``before`` is an earlier fleet."""
    found = [(one, behaviours_of(one.run)) for one in answers if one.run is not None]
    return (
        Heading(1, "Fleet"),
        Fields(tuple(_facts(answers, found, command))),
        *_habits(found),
        *_worst(found),
        *_vantages(answers),
        *_changes(answers, before),
        *_in_part(answers),
        *_unanswered(answers),
        *_repeated(answers),
    )


Behaviours = tuple[Behaviour, ...]
_Found = list[tuple[Answer, Behaviours]]


def harm_of(found: Iterable[Behaviour]) -> Harm:
    """The worst harm among some behaviours."""
    return worst_standing(found) or Harm.NONE


def _facts(answers: Sequence[Answer], found: _Found, command: str) -> Iterator[Field]:
    days = sorted(one.run.started[:10] for one in answers if one.run is not None)
    yield Field("measured", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing")
    states = Counter(_state(one) for one in answers)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield Field("targets", f"{len(answers)}: {told}")
    harms = Counter(harm_of(behaviours) for _, behaviours in found)
    clean = [one for one, all_ in found if harm_of(all_) is Harm.NONE and _state(one) == "measured"]
    unsure = sum(_is_unsure(one) for one in clean)
    hurt = [f"{harms[harm]} {who}" for harm, who in _HURT.items() if harms[harm]]
    if accepted := sum(is_all_waived(behaviours) for _, behaviours in found):
        hurt.append(f"{accepted} of which everything that hurts is waived")
    nothing = f"{len(clean) - accepted} with nothing that hurts a client"
    if unsure:
        nothing += f", {unsure} of which with cells in which nobody can tell"
    yield Field("servers", ", ".join([*hurt, nothing]))
    if names := sorted({one.vantage for one in answers if one.vantage}):
        yield Field("measured from", ", ".join(names))
    if command:
        yield Field("command", (Code(command),))


_HURT = {
    Harm.BREAKS: "that break most clients",
    Harm.MAY_BREAK: "that may break some",
    Harm.NOISE: "that make noise",
}


def _is_unsure(one: Answer) -> bool:
    """Whether some cell of a run has no verdict: what was not seen may be there all the same."""
    return one.run is not None and bool(one.run.summary.get(Verdict.INCONCLUSIVE))


def _state(one: Answer) -> str:
    if one.run is not None and one.state is not State.INTERRUPTED:
        return "measured in part" if one.is_in_part else "measured"
    return {State.FAILED: "not measurable", None: "not begun"}.get(one.state, "not finished")


# --- what they do -----------------------------------------------------------------------------


def _habits(found: _Found) -> Iterator[Block]:
    """Each behaviour once, with how many targets of which profile have it."""
    habits: dict[str, _Habit] = {}
    for answer, behaviours in found:
        for one in behaviours:
            known = habits.setdefault(one.name, _Habit(one))
            known.targets.append(answer)
            known.behaviour = min(known.behaviour, one, key=standing_first)
    if not habits:
        return
    profiles = Counter(answer.run.target.profile for answer, _ in found if answer.run)
    yield Heading(2, "What they do")
    yield Table(
        (
            Column("harm"),
            Column("what"),
            Column("targets"),
            Column("by profile"),
            Column("such as"),
        ),
        tuple(_habit(one, profiles) for one in sorted(habits.values(), key=lambda h: h.rank)),
    )


def _habit(one: _Habit, profiles: Counter[str]) -> tuple[Text, ...]:
    mine = Counter(answer.run.target.profile for answer in one.targets if answer.run)
    shares = ", ".join(f"{name} {count}/{profiles[name]}" for name, count in mine.most_common(4))
    what = one.behaviour.sentence
    if one.behaviour.phase is not None:
        what += f" ({one.behaviour.phase})"
    names = Names(tuple(answer.target.title for answer in one.targets[:WORST]), few=3)
    return ((tag_of(one.behaviour),), what, str(len(one.targets)), shares, (names,))


def _worst(found: _Found) -> Iterator[Block]:
    """The targets that hurt most."""
    hurting = worst_first(found)
    if not hurting:
        return
    yield Heading(2, "Worst first")
    labels = list(dict.fromkeys(name for one, _ in hurting for name in one.target.labels))[:2]
    head = ("target", "profile", "calls itself", *labels, "worst", "what it does")
    yield Table(
        tuple(Column(name) for name in head),
        tuple(_target(one, behaviours, labels) for one, behaviours in hurting[:WORST]),
    )
    if len(hurting) > WORST:
        rest = counted(len(hurting) - WORST, "target")
        yield Note(f"{rest} more: tlsprobe fleet report --json names them all.")


def worst_first(found: Iterable[tuple[Answer, Behaviours]]) -> list[tuple[Answer, Behaviours]]:
    """Those of the targets that hurt somebody, the worst first."""
    hurting = [(one, all_) for one, all_ in found if harm_of(all_) in _HURT]
    return sorted(hurting, key=lambda pair: _rank(pair[1]))


def _rank(found: Sequence[Behaviour]) -> tuple[int, ...]:
    """Sorts by how many behaviours of each harm there are, the worst harm first."""
    counts = Counter(one.harm for one in standing(found))
    return tuple(-counts[harm] for harm in Harm)


def _target(one: Answer, found: Sequence[Behaviour], labels: Sequence[str]) -> tuple[Text, ...]:
    says = one.run.server_says if one.run is not None else ""
    profile = one.run.target.profile if one.run is not None else ""
    named = tuple(str(one.target.labels.get(name, "")) for name in labels)
    return (one.target.title, profile, says, *named, (Tag(harm_of(found)),), what_it_does(found))


def what_it_does(found: Sequence[Behaviour]) -> str:
    """What hurts somebody among some behaviours, in a line: three of it, and how many more."""
    bad = [each for each in standing(found) if each.harm is not Harm.NONE]
    what = "; ".join(dict.fromkeys(each.sentence for each in bad[:3]))
    return what + (f"; {len(bad) - 3} more" if len(bad) > 3 else "")


# --- comparisons ------------------------------------------------------------------------------


def _vantages(answers: Sequence[Answer]) -> Iterator[Block]:
    """Targets that look otherwise from elsewhere."""
    views: defaultdict[str, dict[str, Answer]] = defaultdict(dict)
    for one in answers:
        if one.attempts:
            views[one.target.title][one.vantage] = one
    told = [
        f"{title}: {difference}"
        for title, by in sorted(views.items())
        if len(by) > 1 and (difference := _difference(by))
    ]
    if told:
        yield Heading(2, "Otherwise from elsewhere")
        yield BulletList(tuple(told))


def _difference(by: dict[str, Answer]) -> str:
    """What every trial shows from one place, and none from another; from where none could look.

    Empty where nobody could.
    """
    runs = {vantage: one.run for vantage, one in by.items() if one.run is not None}
    everywhere = [{one.name for one in behaviours_of(run)} for run in runs.values()]
    parts = []
    for vantage, one in sorted(by.items()):
        if one.run is not None:
            if own := set(_certain(one.run)).difference(everywhere[0].intersection(*everywhere)):
                parts.append(f"from {vantage} {', '.join(sorted(own))}")
        elif runs:
            parts.append(f"from {vantage} {_state(one)}: {_reason(one)}")
    return "; ".join(parts)


def _reason(one: Answer) -> str:
    """Why a target has no answer; many may share it."""
    return one.reason.replace(one.target.address, "the target")


def _certain(run: Run) -> Iterator[str]:
    """What a run shows every time: a race may be seen from one place and not from another."""
    for one in behaviours_of(run):
        if one.count == one.asked:
            yield one.name


def has_changed(answers: Sequence[Answer], before: Sequence[Answer]) -> bool:
    """Whether some target does now what it never did, or never does what it always did.

    Or could be measured then, and cannot now.
    """
    return any(True for _ in _changed(answers, before))


def _changed(answers: Sequence[Answer], before: Sequence[Answer]) -> Iterator[str]:
    known = {one.target.title: one.run for one in before if one.run is not None}
    for one in answers:
        earlier = known.get(one.target.title)
        if earlier is None:
            continue
        if one.run is None and one.state is State.FAILED:
            yield f"{one.target.title}: {_state(one)} any more: {_reason(one)}"
        if one.run is None:
            continue
        was, now = set(_certain(earlier)), set(_certain(one.run))
        # What shows now and then may show or not: only what every trial shows can be missed.
        new = sorted(now - {each.name for each in behaviours_of(earlier)})
        gone = sorted(was - {each.name for each in behaviours_of(one.run)})
        parts = [f"new {name}" for name in new] + [f"gone {name}" for name in gone]
        if parts:
            yield f"{one.target.title}: {', '.join(parts)}"


def _changes(answers: Sequence[Answer], before: Sequence[Answer] | None) -> Iterator[Block]:
    """What is new and what is gone since an earlier fleet, target by target."""
    if before is None:
        return
    titles = {one.target.title for one in before}
    both = sum(one.target.title in titles for one in answers)
    yield Heading(2, "Changed since")
    told = tuple(_changed(answers, before))
    if told:
        yield BulletList(told)
    else:
        among = counted(both, "target")
        yield Paragraph(f"Nothing that every trial shows is new or gone, in {among} of both.")


# --- no answer --------------------------------------------------------------------------------


def _in_part(answers: Sequence[Answer]) -> Iterator[Block]:
    """The targets that were left before everything was driven."""
    return _by_reason("Measured in part", (one for one in answers if one.is_in_part))


def _unanswered(answers: Sequence[Answer]) -> Iterator[Block]:
    """The targets without an answer, or with one that can still be gone on with."""
    left = (one for one in answers if not _state(one).startswith("measured"))
    return _by_reason("Not measured", left)


def _by_reason(title: str, answers: Iterable[Answer]) -> Iterator[Block]:
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for one in answers:
        by_reason[_reason(one) or _state(one)].append(one.target.title)
    if not by_reason:
        return
    yield Heading(2, title)
    rows = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    yield Table(
        (Column("reason"), Column("targets"), Column("which")),
        tuple((reason, str(len(all_)), (Names(tuple(all_), few=4),)) for reason, all_ in rows),
    )


def _repeated(answers: Sequence[Answer]) -> Iterator[Block]:
    """Nothing is measured twice in silence."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for one in answers:
        for attempt in one.attempts:
            if attempt.because:
                by_reason[attempt.because].append(one.target.title)
    if by_reason:
        yield Heading(2, "Measured more than once")
        rows = [
            (reason, str(len(all_)), (Names(tuple(all_), few=4),))
            for reason, all_ in by_reason.items()
        ]
        yield Table((Column("why"), Column("targets"), Column("which")), tuple(rows))


# --- before it begins -------------------------------------------------------------------------


def plan_page(plan: FleetPlan) -> Page:
    """What a fleet would do, before anything is opened."""
    hosts = counted(plan.hosts, "host")
    rows = tuple(
        (name, str(count), str(connections)) for name, count, connections in plan.by_profile
    )
    return (
        Heading(1, "Plan"),
        Fields(
            (
                Field("targets", f"{plan.targets}, on {hosts}"),
                Field("connections", f"about {plan.connections}, with repeats more"),
                Field(
                    "time",
                    f"at least {how_long(plan.least_s)}: the longest chain of one host;"
                    f" at most {counted(plan.most, 'target')} at once, and"
                    f" {how_long(plan.within_s)} for any that answers quickly at first,"
                    f" {how_long(plan.slowest_s)} for the slowest that --patience lets through",
                ),
            )
        ),
        Table((Column("profile"), Column("targets"), Column("connections")), rows),
        *_refused(plan),
    )


def _refused(plan: FleetPlan) -> Iterator[Block]:
    if plan.refused:
        yield Heading(2, "Not probed")
        yield BulletList(tuple(f"{title}: {why}" for title, why in plan.refused))
