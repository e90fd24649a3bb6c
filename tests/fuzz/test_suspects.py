"""Nothing that was seen is lost, and no failure counts what it does not share."""

from __future__ import annotations

from dataclasses import replace

from tests.fuzz.test_properties import seen
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import PROPERTIES, Violation
from tlsprobe.fuzz.suspects import MOST_TRIES, TRIES, Sighting, Suspect, Suspects
from tlsprobe.language import parse
from tlsprobe.model.causes import Cause
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import Provoked, TcpEnd

ALL = tuple(PROPERTIES.values())
RESET = Violation("no-reset-before-fin", "INTEROP-RESET-BEFORE-FIN", "it reset")


def length(example: Example) -> tuple[int, int, int, list[int], list[int]]:
    return len(example.sequence.steps), example.together, 0, [], []


def reset(steps: str, signature: str = "G N n r", tls: str = "1.3") -> Observation:
    one = seen(
        steps,
        "INTEROP-RESET-BEFORE-FIN",
        tcp=TcpEnd.RESET,
        cause=Cause.UNREAD_AT_CLOSE,
        signature=signature,
    )
    return Observation(Example(one.example.sequence, tls), one.judgement)


def noted(*observations: Observation) -> Suspects:
    suspects = Suspects(ALL, lambda: 7, length, lambda: None)
    for one in observations:
        suspects.note_all(one)
    return suspects


def confirmed(suspects: Suspects, *versions: str) -> Suspect:
    suspect = suspects.next()
    assert suspect is not None
    for _ in range(5):
        suspect.tally("it", broke=True, kinds=[suspect.kind])
    suspect.versions = dict.fromkeys(versions or (suspect.shortest.tls,))
    suspects.settle(suspect, confirmed=True)
    return suspect


SHORT = reset("terminate; close_notify; drain")
LONG = reset("request; terminate; close_notify; fin; drain")


def test_the_simplest_example_of_a_kind_is_looked_into_and_explains_the_others() -> None:
    suspects = noted(LONG, SHORT)
    failure = confirmed(suspects)
    assert failure.shortest == SHORT.example
    assert suspects.next() is None
    assert suspects.seen(failure) == 2
    assert not list(suspects.left())


def test_a_second_fault_of_the_same_property_is_a_failure_of_its_own() -> None:
    other = reset("close_notify; send; drain", "N D n r")
    suspects = noted(SHORT, other)
    failures = [confirmed(suspects), confirmed(suspects)]
    assert {failure.shortest for failure in failures} == {SHORT.example, other.example}
    assert [suspects.seen(failure) for failure in failures] == [1, 1]


def test_what_does_not_hold_the_failure_s_close_is_not_counted_as_it() -> None:
    suspects = noted(SHORT)
    failure = confirmed(suspects)
    suspects.note_all(reset("terminate; send; drain"))  # the same kind, on another close
    assert suspects.seen(failure) == 1
    second = suspects.next()
    assert second is not None
    assert second.found.steps == "terminate; send; drain"


def test_who_resets_with_nothing_unread_does_so_with_something_unread() -> None:
    """Each thing that may lie unread had been a fault of its own, and took its own runs."""
    how = {"tcp": TcpEnd.RESET, "signature": "N r"}
    unread = seen(
        "close_notify; send; drain",
        "INTEROP-RESET-BEFORE-FIN",
        cause=Cause.UNREAD_AT_CLOSE,
        provoked=Provoked.BEHIND_END,
        **how,  # type: ignore[arg-type]
    )
    for cause, is_news in ((Cause.DELIBERATE, False), (Cause.UNREAD_AT_CLOSE, True)):
        first = seen("close_notify; drain", "INTEROP-RESET-BEFORE-FIN", cause=cause, **how)  # type: ignore[arg-type]
        suspects = noted(first)
        confirmed(suspects)
        suspects.note_all(unread)
        assert (suspects.next() is not None) is is_news


def test_the_other_tls_version_is_explained_only_where_it_was_confirmed() -> None:
    other = reset("terminate; close_notify; fin; drain", tls="1.2")
    one = noted(SHORT, other)
    confirmed(one, "1.3")
    assert one.next() is not None
    both = noted(SHORT, other)
    confirmed(both, "1.3", "1.2")
    assert both.next() is None


def test_what_does_not_show_again_is_listed_with_how_often_it_was_tried() -> None:
    suspects = noted(SHORT)
    suspect = suspects.next()
    assert suspect is not None
    suspect.tried += 1
    suspect.tally("it", broke=False)
    suspects.settle(suspect, confirmed=False)
    assert suspects.next() is None, "the same example is not tried twice"
    ((sighting, count, tried),) = suspects.left()
    assert (sighting.seen, count, tried) == (SHORT, 1, 1)


def test_a_kind_that_never_shows_again_has_to_repeat_and_is_left_alone_at_last() -> None:
    suspects = noted()
    for number in range(MOST_TRIES + 2):
        suspects.note_all(reset("send; " * number + "terminate; close_notify; drain"))
        suspect = suspects.next()
        assert (suspect is None) is (number >= MOST_TRIES)
        if suspect is not None:
            assert suspect.must_repeat is (number >= TRIES)
            suspects.settle(suspect, confirmed=False)


def test_what_came_to_nothing_waits_until_every_other_kind_had_a_turn() -> None:
    again = reset("send; terminate; close_notify; drain")
    suspects = noted(SHORT, again, seen("fin; drain", "TLS-FATAL-CLOSES"))
    suspect = suspects.next()
    assert suspect is not None
    assert suspect.violation.name == "no-reset-before-fin"
    suspects.settle(suspect, confirmed=False)
    suspect = suspects.next()
    assert suspect is not None
    assert suspect.violation.name == "rules"


def test_what_came_of_a_late_step_is_tried_again_before_it_counts() -> None:
    late = replace(SHORT, late_s=0.1)
    suspects = noted(late)
    assert suspects.next() is None
    assert suspects.to_make_sure() == [(SHORT.example, False)]
    suspects.note_all(SHORT)
    assert suspects.next() is not None


def test_of_what_stayed_open_one_of_a_kind_is_tried_again_and_the_others_wait() -> None:
    one, other = (
        seen(steps, "INTEROP-LEAK", tcp=TcpEnd.OPEN, signature="F")
        for steps in ("fin; drain", "sleep 0.3s; fin; drain")
    )
    suspects = noted(one, other)
    assert suspects.to_make_sure() == [(one.example, True)]
    suspects.note_all(replace(one, patient=True))
    assert suspects.to_make_sure() == [], "the first of its kind is a suspect"
    suspect = suspects.next()
    assert suspect is not None
    suspects.settle(suspect, confirmed=True)
    assert suspects.to_make_sure() == [], "it explains the other"
    assert not suspects.in_doubt


def test_who_waits_for_a_leak_waits_for_few_of_a_kind() -> None:
    hasty = seen("fin; drain", "INTEROP-LEAK", tcp=TcpEnd.OPEN, signature="F")
    suspects = noted()
    assert [suspects.is_worth_waiting(hasty) for _ in range(3)] == [True, True, False]


def test_what_was_open_in_haste_is_tried_again_before_it_counts() -> None:
    hasty = seen("fin; drain", "INTEROP-LEAK", tcp=TcpEnd.OPEN, signature="F")
    suspects = noted(hasty)
    assert suspects.next() is None
    assert list(suspects.in_doubt) == [hasty.example]
    patient = Observation(hasty.example, hasty.judgement, patient=True)
    suspects.note_all(patient)
    assert suspects.next() is not None


def test_what_a_dying_server_showed_is_forgotten() -> None:
    suspects = noted(SHORT, LONG)
    suspects.forget([SHORT.example])
    suspect = suspects.next()
    assert suspect is not None
    assert suspect.found == LONG.example


def test_two_that_differ_are_one_kind_whatever_they_are() -> None:
    unlike = Violation("versions-alike", "FUZZ-VERSIONS-ALIKE", "unlike", "fin / reset")
    suspects = noted()
    suspects.note(Sighting(unlike, SHORT, LONG))
    suspects.note(Sighting(unlike, LONG, SHORT))
    assert len(suspects.sightings) == 1


def test_a_race_waits_for_its_turn_unless_a_failure_explains_it_meanwhile() -> None:
    suspects = noted(SHORT)
    race = suspects.next()
    assert race is not None
    suspects.postpone(race)
    assert suspects.next() is None
    assert suspects.are_waiting(comparing=False)
    assert suspects.next_race(comparing=False) is race
    assert race.has_waited
    assert suspects.next_race(comparing=True) is None
    suspects.postpone(race)
    suspects.failures.append(race)
    race.kinds = {race.kind}
    assert suspects.next_race(comparing=True) is None


def test_that_two_runs_differ_is_looked_into_last() -> None:
    unlike = Violation("runs-alike", "FUZZ-RUNS-ALIKE", "unlike", "fin / reset")
    suspects = noted()
    suspects.note(Sighting(unlike, SHORT, LONG))
    difference = suspects.next()
    assert difference is not None
    suspects.postpone(difference)
    assert not suspects.are_waiting(comparing=False)
    assert suspects.next_race(comparing=False) is None
    assert suspects.next_race(comparing=True) is difference


def test_what_takes_another_connection_explains_nothing_that_does_without() -> None:
    harmed = reset("await end 500ms; fin; drain")
    beside = Example(parse("terminate; drain"), "1.3")
    with_it = replace(harmed, example=replace(harmed.example, beside=beside))
    suspects = noted(with_it)
    failure = confirmed(suspects)
    assert failure.shortest.beside == beside
    suspects.note_all(harmed)
    suspect = suspects.next()
    assert suspect is not None
    assert suspect.found == harmed.example


def test_what_the_same_close_harms_is_one_failure_in_whatever_words() -> None:
    beside = Example(parse("terminate; drain"), "1.3")
    harmed, other = reset("await end 500ms; fin; drain"), reset("send; fin; drain", "D n r")
    both = [replace(o, example=replace(o.example, beside=beside)) for o in (harmed, other)]
    suspects = noted(*both)
    failure = confirmed(suspects)
    assert suspects.next() is None
    assert suspects.seen(failure) == 2
    third = replace(other.example, beside=Example(parse("abort; drain"), "1.3"))
    suspects.note_all(replace(other, example=third))
    assert suspects.next() is not None, "that close is another one"


def test_what_looks_into_a_suspect_is_no_sighting_of_its_own() -> None:
    suspects = noted(SHORT)
    suspect = suspects.next()
    assert suspect is not None
    beside = Example(parse("abort; drain"), "1.3")
    again = reset("await end 500ms; fin; drain")
    suspects.note_all(replace(again, example=replace(again.example, beside=beside)))
    suspects.settle(suspect, confirmed=False)
    assert suspects.next() is None


def test_it_is_known_that_connections_harm_each_other_once_a_crowd_has_shown_it() -> None:
    suspects = noted(SHORT)
    failure = confirmed(suspects)
    assert not suspects.takes_company(failure.kind)
    failure.shortest = replace(failure.shortest, together=4)
    assert suspects.takes_company(failure.kind)
    assert not suspects.takes_company(failure.kind._replace(name="ends"))


def test_a_few_closes_that_only_a_crowd_shows_speak_for_their_kind() -> None:
    """One reset of a server where two close at once was ten failures, a close each."""
    suspects = noted(SHORT)
    failure = confirmed(suspects)
    other = reset("close_notify; drain", "N r").example
    kind = failure.kind._replace(phase="close_notify", shape="r")
    assert suspects.crowd_like(kind) is None
    failure.shortest = replace(failure.shortest, together=4)
    assert suspects.crowd_like(kind) is failure
    assert suspects.crowd_like(kind._replace(rule="LEAK")) is None
    failure.in_crowd[kind] = TRIES - 1
    assert not suspects.is_explained(kind, other)
    failure.in_crowd[kind] += 1
    assert suspects.is_explained(kind, other)
    assert not suspects.is_explained(kind._replace(phase="fin"), other)
