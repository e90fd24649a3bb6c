"""All trials of one sequence in one TLS version, counted into a cell of the matrix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

from tlsprobe.judge.early import ending_words
from tlsprobe.judge.families import Family
from tlsprobe.judge.race import ANSWERED, MET, WINDOW, race_of
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.judge.rules import RULES
from tlsprobe.judge.spread import spread
from tlsprobe.model.causes import Cause, Remedy
from tlsprobe.model.judgement import (
    Confidence,
    Doubt,
    Judgement,
    Outcome,
    Provoked,
    Reader,
    Reset,
    Result,
    Verdict,
)
from tlsprobe.model.run import (
    BeforeAfter,
    CauseFacts,
    Cell,
    CellPlan,
    Example,
    Finding,
    JudgedTrial,
    ReaderCounts,
    ResetCounts,
    Spread,
)
from tlsprobe.model.trace import Side

_SEVERITY = (Result.ERROR, Result.FAIL, Result.WARN, Result.INFO, Result.PASS)
_NOT_MEASURED = "interrupted before the first trial had ended"
_DIED = "right afterwards no connection worked: a server that is down breaks no rule of closing"
_KEPT_OPEN = (
    "the server kept the connection open as long as we waited, and did nothing that a rule is about"
)
_DOUBTS = {
    Doubt.CAPTURE_ENDED: "the capture had ended by then",
    Doubt.PACKETS_DROPPED: "the capture dropped packets",
    Doubt.PACKETS_MISSING: "packets are missing from the capture",
    Doubt.WITH_RESPONSE: "the server ended the connection with its response, before anything else"
    " could be seen of it",
    Doubt.OVERTAKEN: "the server began to end the connection before our sequence did anything",
    Doubt.NO_LIMIT: "not reached: the server let us go on, and no limit of its was met",
    Doubt.CROWDED: "our own connections filled the server",
    Doubt.SERVER_GONE: "the server served no more connections from then on: its death, or a ban of"
    " ours, may have ended it",
    Doubt.SHUT_OUT: "the server left connections without a word just then, as one does that limits"
    " how many are opened",
    Doubt.FELL: "the server ended it together with others, however long they had been quiet, as one"
    " does whose process crashes or is started again",
}


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """A planned cell with its judged trials.

    ``path_alive``: whether connections worked afterwards, None if nobody tried; ``refused``: why
    the server does not do this TLS version. ``repeated`` counts trials that were driven once more,
    and of which the last one is there. ``gone`` is why the server was left before all was
    driven, if it was. Remedies depend on ``protocol`` and ``family``.
    """

    plan: CellPlan
    trials: tuple[JudgedTrial, ...] = ()
    path_alive: bool | None = None
    refused: str | None = None
    protocol: str = ""
    family: Family | None = None
    repeated: int = 0
    gone: str = ""


def windows_of(measured: Iterable[MeasuredCell]) -> dict[str, Spread]:
    """For each TLS version the window that the server's idle expiry leaves open.

    It is read off cells in which our side only waits: an answer would change it.
    """
    waiting = (cell for cell in measured if cell.plan.sequence.name == "idle-expiry")
    timings = {cell.plan.tls: _timing(_reached(cell)) for cell in waiting}
    return {tls: timing[WINDOW] for tls, timing in timings.items() if WINDOW in timing}


def cell_of(measured: MeasuredCell, window: Spread | None = None) -> Cell:
    """Count the trials of a cell; trials that never reached their sequence count as ``error``.

    Races are told beside the ``window`` of their TLS version.
    """
    plan, judged = measured.plan, measured.trials
    name = plan.sequence.name
    if measured.refused is not None and not judged:
        no = Verdict.UNSUPPORTED
        return Cell(name, plan.steps, plan.tls, 0, no, reason=measured.refused, role=plan.role)
    said = [trial.judgement for trial in judged]
    reached = _reached(measured)
    dead_before = bool(judged) and not reached and measured.path_alive is False
    alive = None if dead_before else measured.path_alive
    findings = (*_findings(said), *_path(alive))
    verdict = _verdict(said, findings, alive)
    shown = _shown(judged)
    return Cell(
        sequence=name,
        steps=plan.steps,
        tls=plan.tls,
        trials=len(said),
        verdict=verdict,
        outcomes=_counted(j.outcome for j in _with_room(said)),
        signatures=_counted(j.signature for j in reached),
        resets=ResetCounts(_resets(reached, Side.SERVER), _resets(reached, Side.CLIENT)),
        causes=_counted(cause for j in reached for cause in _causes(j)),
        reader=_readers(reached),
        path_alive=alive,
        findings=findings,
        why=tuple(_why(measured, _shown_first(shown, reached))),
        timing_us=_timing(reached),
        example=_example(shown, shaped=plan.sequence.is_shaped),
        role=plan.role,
        race=race_of(judged, window) if plan.sequence.is_race else None,
        reason=_reason(measured, verdict, findings),
        repeated=measured.repeated,
        left_out=_counted(j.doubt for j in said if j.doubt is not None),
        answers=_answers(said),
    )


def _reached(measured: MeasuredCell) -> list[Judgement]:
    """The judgements of trials that came to their sequence, on a server that had room for them."""
    said = _with_room(trial.judgement for trial in measured.trials)
    return [judgement for judgement in said if judgement.outcome.reached]


def _with_room(said: Iterable[Judgement]) -> list[Judgement]:
    return [judgement for judgement in said if judgement.doubt not in _NOT_ITS_WAY]


_NOT_ITS_WAY = frozenset({Doubt.CROWDED, Doubt.SERVER_GONE, Doubt.SHUT_OUT, Doubt.FELL})


def _verdict(
    said: list[Judgement], findings: tuple[Finding, ...], path_alive: bool | None
) -> Verdict:
    """The worst finding, unless there is no evidence to stand on.

    Where nothing wrong was seen, nor anything that answers, it is no pass; nor is it where nobody
    knows whether what was seen was the server's.
    """
    results = {finding.result for finding in findings}
    if Result.ERROR in results or any(map(_is_error, _with_room(said))):
        return Verdict.ERROR
    died = Result.FAIL in results and path_alive is False  # which breaks no rule of closing
    if died or not said or not all(j.conclusive for j in said):
        return Verdict.INCONCLUSIVE
    worst = (result for result in (Result.FAIL, Result.WARN, Result.INFO) if result in results)
    silent = all(j.doubt is not None for j in said)
    if not results & {Result.FAIL, Result.WARN} and any(j.unsettled for j in said):
        return Verdict.INCONCLUSIVE
    if _is_unanswered(said, findings):
        return Verdict.INCONCLUSIVE
    return Verdict(next(worst, Verdict.INCONCLUSIVE if silent else Verdict.PASS))


def _is_unanswered(said: list[Judgement], findings: tuple[Finding, ...]) -> bool:
    """Whether we waited in vain for anything that the server does: waiting is not passing."""
    told = any(RULES[finding.rule].of_server for finding in findings)
    return not told and all(judgement.outcome is Outcome.OPEN for judgement in said)


def _is_error(judgement: Judgement) -> bool:
    """Whether the trial did not come to its sequence, and not for want of a processor of ours."""
    return judgement.outcome.failed and judgement.doubt is not Doubt.BUSY


def _reason(measured: MeasuredCell, verdict: Verdict, findings: tuple[Finding, ...]) -> str | None:
    """Why there is no answer, with in how many trials; None where there is one."""
    judged = measured.trials
    if not judged:
        return measured.gone or _NOT_MEASURED
    if verdict not in {Verdict.ERROR, Verdict.INCONCLUSIVE}:
        return None
    failures = Counter(t.failure for t in judged if t.failure and _is_error(t.judgement))
    if verdict is Verdict.ERROR:
        broken = (f.text for f in findings if f.result is Result.ERROR)
        found = [*failures.most_common(1), *((text, 1) for text in broken)]
    else:
        found = _doubts(judged)
    if not found:
        said = [trial.judgement for trial in judged]
        return _KEPT_OPEN if _is_unanswered(said, findings) else _DIED
    ((why, count),) = found[:1]
    alike = count == len(judged) and (
        verdict is Verdict.ERROR or all(_is_silent(t) for t in judged)
    )
    return why if alike else f"in {count} of {len(judged)} trials: {why}"


def _is_silent(trial: JudgedTrial) -> bool:
    """Whether it was seen for certain, and answers nothing."""
    doubt = trial.judgement.doubt
    return bool(trial.judgement.unsettled) if doubt is None else not doubt.spoils


def _doubts(judged: tuple[JudgedTrial, ...]) -> list[tuple[str, int]]:
    """Why trials prove nothing, each reason in the words of its first trial, commonest first."""
    said: dict[Doubt | str, str] = {}
    counts: Counter[Doubt | str] = Counter()
    for trial in judged:
        doubt, words = trial.judgement.doubt, trial.judgement.unsettled
        if doubt is not None:
            words = _doubted(trial, doubt)
        if words:
            reason = doubt if doubt is not None and _is_silent(trial) else words
            said.setdefault(reason, words)
            counts[reason] += 1
    return [(said[reason], count) for reason, count in counts.most_common()]


def _at_least(seconds: float) -> float:
    """Without the fraction that says how busy the machine was; a short wait keeps one digit."""
    return floor(seconds) if seconds >= 1 else floor(seconds * 10) / 10


def _doubted(trial: JudgedTrial, doubt: Doubt) -> str:
    if doubt is Doubt.NOT_REACHED:
        waited = trial.judgement.timing_us.get("waited")
        how_long = "" if waited is None else f" for {_at_least(waited / 1e6):g} s"
        return f"not reached: no idle timer of the server fired while we waited{how_long}"
    if doubt is Doubt.LATE or doubt is Doubt.BUSY:
        return _slow(trial.judgement, doubt)
    if doubt is not Doubt.ENDED_EARLY:
        return _DOUBTS[doubt]
    how = trial.failure or ending_words(trial.judgement.words)
    return f"the server ended the connection before the sequence began: {how}"


def _slow(judgement: Judgement, doubt: Doubt) -> str:
    """What came too late, by how much."""
    timing = judgement.timing_us
    if doubt is Doubt.BUSY:
        slowest = timing.get("slowest")
        if slowest is None:
            return "the machine was too busy to tell a slow server from a slow machine"
        return f"we waited in vain, but a plain answer took {slowest / 1000:.0f} ms just then"
    late = timing.get("spoiled_by", timing.get(MET, timing.get(ANSWERED)))
    if late is None:
        return "nothing was sent when the idle timer fired"
    return f"our step came {late / 1000:.1f} ms late"


def _findings(said: list[Judgement]) -> tuple[Finding, ...]:
    """Every result of every rule, with in how many trials it came out so, worst first."""
    reached = [judgement for judgement in _with_room(said) if judgement.outcome.reached]
    counted = Counter((r.rule, r.level, r.result, r.text) for j in reached for r in j.results)
    doubted = [judgement for judgement in said if not _is_sure(judgement)]
    silent = {rule: sum(_is_silent_on(rule, j) for j in doubted) for rule, *_ in counted}
    findings = [
        Finding(
            rule, level, result, count, text, len(said) - silent[rule] if silent[rule] else None
        )
        for (rule, level, result, text), count in counted.items()
    ]
    return tuple(sorted(findings, key=_rank))


def _is_sure(judgement: Judgement) -> bool:
    """Whether the trial answers what its sequence asks."""
    return judgement.doubt is None and judgement.outcome.reached


def _is_silent_on(rule: str, doubted: Judgement) -> bool:
    """Whether a trial that is left out says nothing of a rule either.

    What does not depend on the time of our steps stands where one was late.
    """
    if any(result.rule == rule for result in doubted.results):
        return False
    known = RULES.get(rule)
    return doubted.doubt is not Doubt.LATE or known is None or known.timed


def _answers(said: list[Judgement]) -> dict[str, int]:
    """The outcomes of the trials that were not left out, where some were; none if all were."""
    kept = [j for j in said if j.doubt is None or _stands(j)]
    return {} if len(kept) == len(said) else _counted(j.outcome for j in kept)


def _stands(judgement: Judgement) -> bool:
    """Whether a step of ours was late, and something is amiss that does not depend on it."""
    bad = {Result.FAIL, Result.WARN}
    return judgement.doubt is Doubt.LATE and any(r.result in bad for r in judgement.results)


_ORDER = {rule: place for place, rule in enumerate(RULES)}


def _rank(finding: Finding) -> tuple[int, int, int]:
    place = _ORDER.get(finding.rule, len(_ORDER))  # a rule of another tlsprobe, in a resumed run
    return _SEVERITY.index(finding.result), place, -finding.count


def _path(alive: bool | None) -> tuple[Finding, ...]:
    if alive is None:
        return ()
    rule = RULES["INTEROP-PATH"]
    if alive:
        text = "a fresh connection through the same path worked afterwards"
        return (Finding(rule.id, rule.level, Result.PASS, 1, text),)
    text = "afterwards, a fresh connection through the same path did not work"
    return (Finding(rule.id, rule.level, Result.WARN, 1, text),)


_Kind = tuple[Side, Cause, Confidence]


def _why(measured: MeasuredCell, reached: list[Judgement]) -> list[CauseFacts]:
    """For each side, cause and confidence: in how many trials, with the evidence of the first.

    Where the sequence itself aborts, our own RST needs no explanation.
    """
    asked = measured.plan.sequence.aborts
    first: dict[_Kind, Reset] = {}
    counts: Counter[_Kind] = Counter()
    remedies: defaultdict[_Kind, dict[Remedy, None]] = defaultdict(dict)
    provoked: defaultdict[_Kind, dict[Provoked, None]] = defaultdict(dict)
    for judgement in reached:
        resets = [r for r in judgement.resets if not (asked and r.side is Side.CLIENT)]
        kinds = {(r.side, r.cause, r.confidence): r for r in reversed(resets)}
        counts.update(kinds.keys())
        first = kinds | first
        for kind, reset in kinds.items():
            if reset.provoked is not None:
                provoked[kind][reset.provoked] = None
            if reset.side is Side.SERVER:
                about = measured.protocol, measured.family, judgement.axes.reader
                situation = situation_of(reset, *about)
                remedies[kind][remedy_of(situation)] = None
    return [
        CauseFacts(
            cause=cause,
            count=count,
            side=side,
            confidence=confidence,
            evidence=first[side, cause, confidence].evidence,
            remedy=_each_once(remedies[side, cause, confidence]),
            hurts=tuple(remedy.hurts for remedy in remedies[side, cause, confidence]),
            provoked=tuple(sorted(provoked[side, cause, confidence])),
            tried_by={
                str(advice): advice.tried_by
                for remedy in remedies[side, cause, confidence]
                for advice in remedy.advice
                if advice.tried_by
            },
        )
        for (side, cause, confidence), count in counts.most_common()
    ]


def _each_once(remedies: Iterable[Remedy]) -> tuple[str, ...]:
    """The sentences of several remedies."""
    return tuple(dict.fromkeys(text for remedy in remedies for text in remedy.sentences))


def _causes(judgement: Judgement) -> dict[Cause, None]:
    """The causes of the server's RSTs in one trial; echoes do not count twice."""
    return dict.fromkeys(r.cause for r in judgement.resets if r.side is Side.SERVER)


def _resets(reached: list[Judgement], side: Side) -> BeforeAfter:
    firsts = [next((r for r in j.resets if r.side is side), None) for j in reached]
    before = sum(reset is not None and reset.before_fin for reset in firsts)
    return BeforeAfter(before, sum(reset is not None for reset in firsts) - before)


def _readers(reached: list[Judgement]) -> ReaderCounts:
    counts = Counter(j.axes.reader for j in reached)
    return ReaderCounts(counts[Reader.EOF], counts[Reader.RESET], counts[Reader.TIMEOUT])


def _timing(reached: list[Judgement]) -> dict[str, Spread]:
    names = sorted({name for j in reached for name in j.timing_us})
    return {
        name: spread([j.timing_us[name] for j in reached if name in j.timing_us]) for name in names
    }


def _shown(judged: tuple[JudgedTrial, ...]) -> JudgedTrial | None:
    """The trial that shows the cell best.

    What the cell is warned of or fails for, if that can be seen; a reset, or else the commonest
    signature.
    """
    told = [trial for trial in judged if trial.ladder]
    common = Counter(trial.judgement.signature for trial in judged)

    def telling(trial: JudgedTrial) -> tuple[int, int, int]:
        judgement = trial.judgement
        return _worst(judgement), _interest(judgement), common[judgement.signature]

    return max(told, key=telling, default=None)


def _example(shown: JudgedTrial | None, *, shaped: bool) -> Example | None:
    if shown is None:
        return None
    return Example(shown.trial.index, shown.judgement.signature, shown.ladder, shaped)


def _shown_first(shown: JudgedTrial | None, reached: list[Judgement]) -> list[Judgement]:
    """The judgements, that of the example first: its evidence names the packets that are shown."""
    example = None if shown is None else shown.judgement
    return sorted(reached, key=lambda judgement: judgement is not example)


def _interest(judgement: Judgement) -> int:
    return sum(2 if reset.before_fin else 1 for reset in judgement.resets[:1])


def _worst(judgement: Judgement) -> int:
    """How bad the worst is that the rules say of a trial which tells something."""
    if judgement.doubt is not None:
        return 0
    return max((_GRAVE.get(result.result, 0) for result in judgement.results), default=0)


_GRAVE = {Result.WARN: 1, Result.FAIL: 2}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(map(str, words)).most_common())
