"""The sequence language: what is printed is read back, and every mistake is pointed at.

ARCHITECTURE.md, "Decisions": a sequence is a value that prints as one line and parses back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import assert_never

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsprobe.errors import SequenceError
from tlsprobe.language import (
    MAX_LENGTH,
    MOST_AHEAD,
    MOST_TIMES,
    format_bytes,
    format_groups,
    format_step,
    format_wait,
    grammar,
    parse,
    parse_duration,
)
from tlsprobe.model.sequence import Awaited, Group, Limit, Signal, Step, Wait
from tlsprobe.model.verbs import (
    COUNTED,
    ENDS,
    FIN_TREATMENTS,
    NEEDS_OUR_HALF,
    SENDS_FIN,
    TREATABLE,
    WRITES,
    Act,
    Form,
    Operand,
    Place,
    Treatment,
    Verb,
)

HUGE = "9" * 400 + "s"

# --- any valid sequence -----------------------------------------------------------------------

DURATIONS = st.one_of(
    st.integers(0, 10**6).map(lambda n: parse_duration(f"{n}us")),
    st.integers(0, 10**5).map(lambda n: parse_duration(f"{n}ms")),
    st.decimals(0, 10**4, places=3).map(lambda d: parse_duration(f"{d}s")),
    st.floats(0, 1e9),
    st.floats(0, allow_infinity=False, allow_nan=False),
)
WAITS = DURATIONS | st.sampled_from(Limit)
ALERTS = [(2, 0), (2, 80), (1, 90), (1, 100), (2, 120)]
"""A close_notify at the level warning is what stands for no alert at all."""


def steps(verb: Verb) -> st.SearchStrategy[Step]:  # noqa: PLR0911 - one per kind
    """Every step that the table lets this verb make."""
    step = partial(st.builds, Step, st.just(verb))
    whole = step(form=st.sampled_from([Form.WHOLE, *verb.row.forms]))
    match verb.row.operand:
        case Operand.NOTHING:
            return whole
        case Operand.BYTES:
            return whole | step(payload=st.binary(max_size=40))
        case Operand.DURATION | Operand.WAIT:
            return step(wait=WAITS)
        case Operand.EXPIRY:
            return step(wait=DURATIONS | st.just(Limit.IDLE))
        case Operand.EVENT:
            return step(event=st.sampled_from(Awaited), wait=WAITS)
        case Operand.ALERT:
            return whole | step(alert=st.sampled_from(ALERTS))
        case Operand.DISTANCE:
            offsets = st.none() | DURATIONS | DURATIONS.map(float.__neg__)
            return step(wait=st.just(Limit.IDLE), offset=offsets)
        case Operand.SERVER_FIN:
            return step(wait=DURATIONS)
        case Operand.WINDOW:
            return step(is_open=st.booleans())
        case Operand.AHEAD:
            return step(ahead=st.integers(0, MOST_AHEAD))
        case Operand.SIGNAL:
            return step(signal=st.sampled_from(Signal))
        case operand:
            assert_never(operand)


def treated(step: Step) -> st.SearchStrategy[Step]:
    """The step as it is, or with any treatment that its bytes, or its FIN, can be given."""
    if step.verb not in TREATABLE:
        return st.just(step)
    hows = FIN_TREATMENTS if step.verb is Verb.FIN else frozenset(Treatment)
    counts = {how: st.integers(1, MOST_TIMES) if how in COUNTED else st.just(1) for how in hows}
    return st.just(step) | st.sampled_from(sorted(hows)).flatmap(
        lambda how: counts[how].map(lambda count: replace(step, treatment=how, count=count))
    )


def steps_of(verbs: Iterable[Verb], *outside: Place) -> st.SearchStrategy[Step]:
    drawn = (steps(v) for v in Verb if v in verbs and v.row.place not in outside)
    return st.one_of(*drawn).flatmap(treated)


OUTSIDE = Place.FIRST, Place.IN_HANDSHAKE
WRITING = steps_of(WRITES, *OUTSIDE)
LAST = {verb for verb in Verb if verb.row.act is Act.RESUMES}
WAITING = steps_of(set(Verb) - NEEDS_OUR_HALF - ENDS - LAST, *OUTSIDE)
ALONE = steps_of(set(Verb) - WRITES - ENDS - LAST, *OUTSIDE)
IN_HAND = steps_of(set(Verb) - ENDS, Place.FIRST, Place.IN_SESSION)
JOINABLE_ENDS = [(), *((Step(verb),) for verb in SENDS_FIN)]
ENDINGS = [(), *((Step(verb),) for verb in ENDS)]


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Group, ...]:
    """Groups in an order that the language allows: nothing is written behind the end."""
    joined = st.lists(WRITING, min_size=1, max_size=4).map(tuple)
    groups: list[Group] = draw(st.lists(joined | ALONE.map(lambda step: (step,)), max_size=6))
    end = draw(st.sampled_from(ENDINGS))
    if groups and groups[-1][-1].verb in WRITES and end in JOINABLE_ENDS:
        groups[-1] = (*groups[-1], *end)
    elif end or not groups:
        groups.append(end or (Step(Verb.DRAIN),))
    groups += draw(st.lists(WAITING.map(lambda step: (step,)), max_size=2))
    return (*groups, *draw(st.lists(steps_of(LAST).map(lambda step: (step,)), max_size=1)))


@pytest.mark.slow
@given(st.data())
@pytest.mark.parametrize("verb", list(Verb))
def test_every_step_that_the_table_allows_parses_back(verb: Verb, data: st.DataObject) -> None:
    step = data.draw(steps(verb).flatmap(treated))
    opening = "" if verb.row.place is not Place.IN_HANDSHAKE else "connect; "
    text = opening + format_step(step)
    assert parse(text).steps[-1] == step
    assert format_groups(parse(text).groups) == text


def test_the_grammar_writes_out_every_verb_with_its_forms() -> None:
    written = dict(grammar())
    assert [text.split()[0] for text in written] == [*Verb, *Treatment]
    forms = "part | cut | large | upload | guarded"
    more = "plain | corrupt | empty | full | overfull"
    assert f"send [ string | {forms} | {more} ]" in written
    assert "await event [ wait ]" in written
    assert all(written.values())


@given(sequences())
def test_what_is_printed_parses_back(groups: tuple[Group, ...]) -> None:
    text = format_groups(groups)
    assert parse(text).groups == groups
    assert format_groups(parse(text).groups) == text


@given(st.lists(IN_HAND.map(lambda step: (step,)), max_size=5))
def test_a_handshake_in_hand_parses_back(groups: list[Group]) -> None:
    whole = ((Step(Verb.CONNECT),), *groups, (Step(Verb.FIN),))
    sequence = parse(format_groups(whole))
    assert sequence.groups == whole
    assert sequence.is_handshake


@given(DURATIONS)
@example(0.0)
@example(1e-16)
@example(5e-324)
@example(1.7976931348623157e308)
@example(1.23456789123)
def test_no_duration_is_rounded(seconds: float) -> None:
    assert parse_duration(format_wait(seconds)) == seconds


@given(st.binary())
def test_payloads_are_printed_as_ascii_on_one_line(payload: bytes) -> None:
    text = format_bytes(payload)
    assert text.isascii()
    assert text.isprintable()
    assert parse(f"send {text}").steps == (Step(Verb.SEND, payload=payload),)


@pytest.mark.slow
@given(st.text() | st.text('requstndamiclof_ ;+"\\x0149.u\n') | sequences().map(format_groups))
@example(f"sleep {HUGE}")
@example("sleep ²ms")
@example('send "\\x4"')
@example('send "\\')
@example("\x00")
@example("meet before idle")
@example("\ud800")
def test_any_text_parses_or_is_refused_with_its_column(text: str) -> None:
    try:
        sequence = parse(text)
    except SequenceError as error:
        assert 1 <= error.column <= len(text) + 1
    else:
        assert parse(format_groups(sequence.groups)).groups == sequence.groups


# --- what the words mean ------------------------------------------------------------------------


def test_every_word_of_the_grammar() -> None:
    text = (
        'request; send; send "a"; send "b" + terminate + close_notify; sleep 5ms; await response;'
        "await data 1.5s; await close_notify idle; await fin; await end 200us; drain; drain 2s; fin"
    )
    steps = parse(text).steps
    assert steps == (
        Step(Verb.REQUEST),
        Step(Verb.SEND),
        Step(Verb.SEND, payload=b"a"),
        Step(Verb.SEND, payload=b"b"),
        Step(Verb.TERMINATE),
        Step(Verb.CLOSE_NOTIFY),
        Step(Verb.SLEEP, wait=0.005),
        Step(Verb.AWAIT, event=Awaited.RESPONSE),
        Step(Verb.AWAIT, event=Awaited.DATA, wait=1.5),
        Step(Verb.AWAIT, event=Awaited.CLOSE_NOTIFY, wait=Limit.IDLE),
        Step(Verb.AWAIT, event=Awaited.FIN),
        Step(Verb.AWAIT, event=Awaited.END, wait=0.0002),
        Step(Verb.DRAIN),
        Step(Verb.DRAIN, wait=2.0),
        Step(Verb.FIN),
    )


def test_an_alert_is_written_by_its_level_and_its_name() -> None:
    (step,) = parse("alert fatal internal_error").steps
    assert step == Step(Verb.ALERT, alert=(2, 80))
    assert parse("alert warning close_notify") == parse("alert")
    assert parse("alert corrupt fatal unknown_ca").steps[0].form is Form.CORRUPT
    assert parse("key_update request").steps == (Step(Verb.KEY_UPDATE, form=Form.ASKING),)


def test_only_tls_1_2_renegotiates_and_only_1_3_pads() -> None:
    assert parse("request; renegotiate; fin").fits("1.2")
    assert not parse("request; renegotiate; fin").fits("1.3")
    assert parse("send full; fin").fits("1.3")
    assert not parse("send full; fin").fits("1.2")
    assert parse("send overfull; fin").fits("1.2")


def test_only_tls_1_3_has_a_key_update() -> None:
    assert not parse("request; key_update; fin").fits("1.2")
    assert parse("request; key_update; fin").fits("1.3")
    assert parse("request; alert; fin").fits("1.2")


def test_every_word_of_the_special_verbs() -> None:
    shaken = "connect; hello part; hello; await flight; close_notify split; pause 1ms; abort"
    assert parse(shaken).steps == (
        Step(Verb.CONNECT),
        Step(Verb.HELLO, form=Form.PART),
        Step(Verb.HELLO),
        Step(Verb.AWAIT, event=Awaited.FLIGHT),
        Step(Verb.CLOSE_NOTIFY, form=Form.SPLIT),
        Step(Verb.PAUSE, wait=0.001),
        Step(Verb.ABORT),
    )
    assert parse("request large; answer; answer 5s; close").steps == (
        Step(Verb.REQUEST, form=Form.LARGE),
        Step(Verb.ANSWER, wait=Limit.IDLE),
        Step(Verb.ANSWER, wait=5.0),
        Step(Verb.CLOSE),
    )
    assert parse("meet; meet before 2ms; meet after 500us").steps == tuple(
        Step(Verb.MEET, wait=Limit.IDLE, offset=offset) for offset in (None, -0.002, 0.0005)
    )
    forms = ("part", "cut", "large", "upload")
    assert [s.form for s in parse("; ".join(f"send {f}" for f in forms)).steps] == list(forms)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("request; connect", 10),
        ("hello", 1),
        ("connect; request", 10),
        ("connect; answer", 10),
        ("meet 2ms", 6),
        ("meet beside 2ms", 6),
        ("terminate part", 11),
    ],
)
def test_special_verbs_out_of_place(text: str, column: int) -> None:
    with pytest.raises(SequenceError) as caught:
        parse(text)
    assert caught.value.column == column


def test_plus_joins_and_semicolon_separates() -> None:
    sequence = parse("terminate + close_notify + fin; drain")
    assert [[step.verb for step in group] for group in sequence.groups] == [
        [Verb.TERMINATE, Verb.CLOSE_NOTIFY, Verb.FIN],
        [Verb.DRAIN],
    ]
    assert sequence.uses(Verb.FIN)
    assert not sequence.uses(Verb.ABORT)
    assert [parse(text).is_idle for text in ("drain", "await end idle")] == [False, True]


@pytest.mark.parametrize("text", ["fin;", "fin ; ", " fin", "fin\n", "\tfin;\n"])
def test_a_trailing_semicolon_and_space_mean_nothing(text: str) -> None:
    assert parse(text).groups == parse("fin").groups


def test_a_sequence_is_called_by_its_name_or_by_its_steps() -> None:
    assert parse("fin;drain", "mine").name == "mine"
    assert parse("  fin;drain ; ").name == "fin; drain"


def test_equal_texts_make_equal_values_that_hash() -> None:
    assert {parse("fin;drain 1s"), parse(" fin; drain 1000ms;", "fin; drain 1s")} == {
        parse("fin; drain 1s")
    }


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        (r'"\n\r\t\0\\\""', b'\n\r\t\0\\"'),
        (r'"\x00\xfF"', b"\x00\xff"),
        ('""', b""),
        ('"; fin + \'"', b"; fin + '"),
    ],
)
def test_escapes(text: str, payload: bytes) -> None:
    assert parse(f"send {text}").steps[0].payload == payload


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (0.005, "5ms"),
        (1.5, "1.5s"),
        (0.0002, "200us"),
        (60.0, "60s"),
        (0.0, "0s"),
        (Limit.IDLE, "idle"),
    ],
)
def test_durations_are_printed_as_people_write_them(wait: Wait, text: str) -> None:
    assert format_wait(wait) == text


def test_the_default_wait_is_not_printed() -> None:
    assert format_step(Step(Verb.DRAIN)) == "drain"
    assert format_step(Step(Verb.AWAIT, event=Awaited.END)) == "await end"


@pytest.mark.parametrize("text", ["", "5", "ms", "-5ms", "5 ms", "1e3s", "5m", "inf", HUGE])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        parse_duration(text)


# --- mistakes -----------------------------------------------------------------------------------

VERBS = f"the verbs are {', '.join(list(Verb)[:8])}"
*_SOME, _LAST = (verb for verb in Verb if verb in WRITES)
JOIN = f"only {', '.join(_SOME)} and {_LAST} can be joined; fin or close may come last"
UNITS = "5ms, 1.5s"


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("", 1, "expected a verb here", VERBS),
        (" ;", 2, "expected a verb here", VERBS),
        ("fin;; drain", 5, "expected a verb here", VERBS),
        ("fin +", 6, "expected a verb here", VERBS),
        ("+ fin", 1, "expected a verb here", VERBS),
        ('"fin"', 1, "expected a verb here", VERBS),
        ("fin drain", 5, "expected ';' or '+'", None),
        ("request 5ms", 9, "expected ';' or '+'", None),
        ("fin; bogus", 6, "expected a verb, found 'bogus'", VERBS),
        ("request; closenotify", 10, "found 'closenotify'", "did you mean 'close_notify'?"),
        ("close-notify", 1, "found 'close-notify'", "did you mean 'close_notify'?"),
        ("terminat", 1, "found 'terminat'", "did you mean 'terminate'?"),
        ("FIN", 1, "found 'FIN'", VERBS),
        ("await", 6, "expected an event, found nothing", "the events are flight, response, data"),
        ("await ; fin", 7, "expected an event, found ';'", "the events are flight, response, data"),
        ("await respons", 7, "found 'respons'", "did you mean 'response'?"),
        ("await 5ms", 7, "expected an event", "the events are"),
        ("await end soon", 11, "expected a duration here", UNITS),
        ("sleep", 6, "expected a duration here", UNITS),
        ("sleep; fin", 6, "expected a duration here", UNITS),
        ("drain idly", 7, "expected a duration here", "idle"),
        ("drain 5", 7, "a number needs a unit", UNITS),
        ("sleep 5 ms", 7, "a number needs a unit", UNITS),
        ("sleep 5msx", 7, "a number needs a unit", UNITS),
        (f"sleep {HUGE}", 7, "this duration is too long", UNITS),
        ("sleep -5ms", 7, "cannot read '-'", "';'"),
        ("fin, drain", 4, "cannot read ','", "steps are separated by ';'"),
        ("send 'a'", 6, 'cannot read "\'"', ""),
        ('fin; send "abc', 11, "this string does not end", "close it with a quote"),
        ('send "a\nb"', 6, "this string does not end", "close it with a quote"),
        (r'send "ab\q"', 9, "this character cannot be sent", r"the escapes are \n"),
        (r'send "a\xg0"', 8, "this character cannot be sent", r"\xHH"),
        (r'send "a\x1"', 8, "this character cannot be sent", r"\xHH"),
        ('send "aé"', 8, "this character cannot be sent", r"\xHH"),
        ("fin + close_notify", 5, "nothing can share a segment with 'fin'", JOIN),
        ("await fin + fin", 11, "nothing can share a segment with 'await'", JOIN),
        ("request + fin", 9, "nothing can share a segment with 'request'", "write 'send'"),
        ("send + abort", 8, "'abort' cannot share a segment", JOIN),
        ("send + drain", 8, "'drain' cannot share a segment", JOIN),
        ("send + request", 8, "'request' cannot share a segment", "write 'send'"),
        ("fin; send", 6, "'send' cannot follow the end of our half", "before fin, close or abort"),
        ("close_notify + fin; terminate", 21, "'terminate' cannot follow", "put it before"),
        ("abort; drain; request", 15, "'request' cannot follow", "put it before"),
        ("request part", 9, "expected ';' or '+'", None),
        ("send upload part", 13, "expected ';' or '+'", None),
        ("close_notify cut", 14, "expected ';' or '+'", None),
        ("pause", 6, "expected a duration here", UNITS),
        ("meet sideways 2ms", 6, "expected 'before' or 'after' here", "meet before 2ms"),
        ("meet before", 12, "expected a duration here", UNITS),
        ("meet after idle", 12, "expected a duration here", UNITS),
        ("hello", 1, "'hello' cannot stand here", "begin with 'connect'"),
        ("drain; connect", 8, "'connect' cannot stand here", "put it first or leave it out"),
        ("resume; drain", 9, "'drain' cannot follow the second connection", "put 'resume' last"),
        ("connect; hello; request", 17, "'request' cannot follow 'connect'", "leave 'connect' out"),
        ("connect; fin; hello", 15, "'hello' cannot follow the end", "put it before"),
        ("close; fin", 8, "'fin' cannot follow", "put it before"),
    ],
)
def test_mistakes(text: str, column: int, message: str, hint: str | None) -> None:
    with pytest.raises(SequenceError) as caught:
        parse(text)
    error = caught.value
    assert (error.column, error.text) == (column, text)
    assert message in error.message
    assert f"(column {column})" in error.message
    assert (error.hint is None) if hint is None else (hint in (error.hint or ""))


@pytest.mark.parametrize(
    "wrong", ["reqeust", "sned", "terminate_", "close_notfy", "abrt", "slep", "drian"]
)
def test_a_verb_that_is_nearly_right_is_recognised(wrong: str) -> None:
    with pytest.raises(SequenceError) as caught:
        parse(f"send; {wrong}")
    assert (caught.value.hint or "").startswith("did you mean '")


def test_a_text_that_is_too_long_is_refused_at_once() -> None:
    longest = "fin;" + " " * (MAX_LENGTH - 4)
    assert parse(longest).groups == ((Step(Verb.FIN),),)
    with pytest.raises(SequenceError, match="too long") as caught:
        parse(longest + " ")
    assert caught.value.hint == f"at most {MAX_LENGTH}"
    assert len(caught.value.message) < 200


def test_everything_that_ends_our_half_is_final() -> None:
    for end in ENDS:
        for verb in NEEDS_OUR_HALF:
            with pytest.raises(SequenceError):
                parse(f"{end}; {verb}")
