"""The rules of the judge, one question after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import Act, C, Line, S, crossing, play, silence, step
from tests.judge.scenarios import (
    BARE_FIN,
    FAIL,
    HALF_CLOSE,
    INFO,
    NGINX,
    NOT_APPLICABLE,
    PASS,
    POSTGRES,
    SERVER_DROPS,
    WARN,
    driven,
    goaway,
    result,
    results,
    with_close_notify,
    with_event,
)
from tlsprobe.judge.rules import RULES, undecided
from tlsprobe.judge.verdict import judge
from tlsprobe.model.judgement import DataEnd, ExpiryOutcome, Result, Verdict
from tlsprobe.model.knowledge import AlertAlone, Knowledge
from tlsprobe.model.run import Cell, Finding
from tlsprobe.model.trace import (
    Coverage,
    DriverEvent,
    EventKind,
    Flag,
    Remark,
    RemarkKind,
    Trace,
)

# --- TLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [S.fin(), S.rst(active=True)])
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_neither_fin_nor_rst_may_come_without_an_alert(end: Line, tls: str) -> None:
    rule = f"TLS{tls.replace('.', '')}-NOTIFY"
    told = results(play(C.ack(), end, tls=tls), Knowledge(gave_up=True))
    assert told[rule].result is FAIL


@pytest.mark.parametrize("rule", ["TLS12-NOTIFY", "TLS13-NOTIFY", "TLS12-ANSWER"])
def test_an_alert_that_the_kernel_may_have_dropped_is_not_missed(rule: str) -> None:
    """ZNC's: held back behind a ticket that nobody had acknowledged, and gone with the RST."""
    ours = (C.notify(), C.notify()) if rule != "TLS12-NOTIFY" else ()
    tls = f"1.{rule[4]}"
    acked = *ours, S.ticket(), C.ack(), S.rst(active=True)
    unacked = *ours, S.ticket(), S.rst(active=True)
    assert result(rule, play(*acked, tls=tls), Knowledge(gave_up=True)) is FAIL
    assert result(rule, play(*unacked, tls=tls), Knowledge(gave_up=True)) is INFO
    gone = play(*unacked[:-1], S.fin(), tls=tls)  # a FIN leaves behind all that was said
    assert result(rule, gone, Knowledge(gave_up=True)) is FAIL


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_fatal_alert_stands_for_a_close_notify(tls: str) -> None:
    rule = f"TLS{tls.replace('.', '')}-NOTIFY"
    assert result(rule, play(S.alert(80), S.fin(), tls=tls)) is PASS


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_reset_behind_the_close_notify_keeps_the_tls_rule(tls: str) -> None:
    rule = f"TLS{tls.replace('.', '')}-NOTIFY"
    assert result(rule, play(S.notify(), S.rst(active=True), tls=tls)) is PASS


def test_silence_after_our_alert_breaks_tls_1_2_and_not_1_3() -> None:
    assert result("TLS12-ANSWER", play(C.notify(), tls="1.2")) is FAIL
    silent = {r.result for r in results(play(C.notify(), tls="1.3")).values()}
    assert FAIL not in silent


def test_an_alert_without_an_end_breaks_tls_1_2_and_not_1_3() -> None:
    kept_open = (C.notify(), S.notify())
    assert result("TLS12-ANSWER", play(*kept_open, tls="1.2")) is FAIL
    assert FAIL not in {r.result for r in results(play(*kept_open, tls="1.3")).values()}


@pytest.mark.parametrize("kind", [RemarkKind.CLOSE_ANNOUNCED, RemarkKind.CLOSE_IMPLIED])
def test_a_close_notify_of_the_response_is_no_answer_to_ours(kind: RemarkKind) -> None:
    """Whoever begins a close need not end it at once, and this one may have begun it."""
    lines = (HALF_CLOSE, S.response() + S.notify())
    assert result("TLS12-ANSWER", play(*lines, tls="1.2")) is FAIL
    ends = driven(play(*lines, tls="1.2"), remarks=(Remark(kind, "close"),))
    assert result("TLS12-ANSWER", ends) is INFO


def test_who_is_left_in_a_handshake_owes_no_answer() -> None:
    """Node begins one when it is asked to, and ends where a request comes in its midst."""
    asked = C.handshake(), C.request()
    lost = play(*asked, S.handshake(), S.fin(), tls="1.2")
    assert result("INTEROP-DATA-LOST", lost) is Result.NOT_APPLICABLE
    assert judge(lost).axes.data is not DataEnd.TRUNCATED
    assert result("INTEROP-DATA-LOST", play(*asked, S.fin(), tls="1.2")) is WARN


def test_a_warning_is_no_answer_to_our_close_notify() -> None:
    """As nginx refuses to renegotiate, and then closes."""
    refused = C.notify(), S.alert(100, level=1) + S.fin()
    assert result("TLS12-ANSWER", play(*refused, tls="1.2")) is FAIL
    failed = C.notify(), S.alert(40) + S.fin()
    assert result("TLS12-ANSWER", play(*failed, tls="1.2")) is PASS


def test_no_answer_breaks_the_answering_rule_alone() -> None:
    found = results(play(*BARE_FIN, tls="1.2"))
    assert found["TLS12-ANSWER"].result is FAIL
    assert found["TLS12-NOTIFY"].result is Result.NOT_APPLICABLE
    behind_a_goodbye = results(play(C.goodbye(), C.notify(), S.fin(), tls="1.2"))
    assert behind_a_goodbye["TLS12-NOTIFY"].result is FAIL
    assert behind_a_goodbye["TLS12-ANSWER"].result is Result.NOT_APPLICABLE


def test_a_discarded_response_is_right_in_tls_1_2_and_a_loss_in_1_3() -> None:
    discards = (HALF_CLOSE, S.notify() + S.fin())
    assert result("INTEROP-DATA-LOST", play(*discards, tls="1.2")) is INFO
    assert result("INTEROP-DATA-LOST", play(*discards, tls="1.3")) is WARN
    assert result("TLS13-HALF-CLOSE", play(*discards, tls="1.3")) is INFO
    assert result("TLS13-HALF-CLOSE", play(*discards, tls="1.2")) is Result.NOT_APPLICABLE


def test_a_server_that_led_owes_no_answer_in_tls_1_2() -> None:
    assert result("TLS12-ANSWER", play(*NGINX, tls="1.2")) is Result.NOT_APPLICABLE
    assert result("TLS12-NOTIFY", play(*NGINX, tls="1.2")) is PASS


def test_one_behaviour_can_pass_tls_and_tcp_and_be_a_hazard() -> None:
    for tls, rule in (("1.2", "TLS12-NOTIFY"), ("1.3", "TLS13-NOTIFY")):
        found = results(play(*POSTGRES, tls=tls, protocol="postgres"))
        assert found[rule].result is PASS
        assert found["TCP-RST-ON-UNREAD"].result is PASS
        assert found["INTEROP-RESET-BEFORE-FIN"].result is WARN


def test_only_one_notify_rule_speaks() -> None:
    for tls, silent in (("1.2", "TLS13-NOTIFY"), ("1.3", "TLS12-NOTIFY")):
        assert result(silent, play(*SERVER_DROPS, tls=tls)) is Result.NOT_APPLICABLE


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("after", [(), (S.fin(),)])
def test_our_abort_excuses_the_server(after: tuple[Line, ...], tls: str) -> None:
    found = results(play(C.abort(), *after, tls=tls))
    assert {r.result for r in found.values()} <= {PASS, Result.NOT_APPLICABLE}


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_middlebox_is_not_held_to_the_servers_rules(tls: str) -> None:
    forged = play(S.rst(active=True).but(ttl=9, ip_id=9), tls=tls, protocol="http1")
    assert FAIL not in {r.result for r in results(forged).values()}


# --- HTTP, TCP, interop ---------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [(S.rst(active=True),), (S.notify(), S.rst(active=True))])
def test_an_idle_expiry_by_reset_is_not_graceful(lines: tuple[Line, ...]) -> None:
    trace = play(silence(60), *lines, protocol="http1")
    assert result("HTTP-IDLE-GRACEFUL", trace, Knowledge(near=True)) is WARN
    assert result("HTTP-IDLE-GRACEFUL", trace) is Result.INFO  # a box may have made it


def test_a_connection_that_ended_with_its_response_was_not_idle() -> None:
    """Whoever keeps no connection ends each behind its response: TLS has a rule for how."""
    waited = play(step("await"), silence(60), S.fin(), protocol="http1")
    assert result("HTTP-IDLE-GRACEFUL", waited, Knowledge(near=True)) is WARN
    at_once = play(step("await"), silence(0.001), S.fin(), protocol="http1")
    assert result("HTTP-IDLE-GRACEFUL", at_once) is NOT_APPLICABLE
    assert result("TLS13-NOTIFY", at_once) is FAIL
    closes = (Remark(RemarkKind.CLOSE_ANNOUNCED, "connection: close"),)
    slow = play(step("await"), silence(0.3), S.fin(), protocol="http1")
    assert result("HTTP-IDLE-GRACEFUL", driven(slow, remarks=closes)) is NOT_APPLICABLE


@pytest.mark.parametrize("protocol", ["raw", "postgres"])
def test_http_rules_bind_http_alone(protocol: str) -> None:
    found = results(play(*SERVER_DROPS, protocol=protocol))
    http = {r.result for rule, r in found.items() if rule.startswith("HTTP")}
    assert http == {Result.NOT_APPLICABLE}


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(play(*POSTGRES), id="unread at close"),
        pytest.param(play(S.fin(), C.notify(), S.rst(active=True)), id="unread after FIN"),
        pytest.param(play(*NGINX), id="data after close"),
    ],
)
def test_tcp_asks_for_these_resets(trace: Trace) -> None:
    assert result("TCP-RST-ON-UNREAD", trace) is PASS


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(play(S.notify(), S.rst(active=True)), id="deliberate"),
        pytest.param(play(C.notify(), S.rst()), id="no state"),
        pytest.param(play(C.close(), S.notify(), C.rst(), S.fin()), id="the client's"),
    ],
)
def test_tcp_does_not_ask_for_those(trace: Trace) -> None:
    assert result("TCP-RST-ON-UNREAD", trace) is Result.NOT_APPLICABLE


def test_the_clients_reset_is_not_held_against_the_server() -> None:
    late = results(play(C.goodbye() + C.close(), S.notify() + S.fin(), C.rst()))
    assert late["INTEROP-RESET-BEFORE-FIN"].result is PASS
    assert late["INTEROP-RESET-AFTER-FIN"].result is PASS


def test_a_goodbye_to_a_server_that_had_begun_to_end_shows_no_leak() -> None:
    assert result("INTEROP-LEAK", play(S.notify(), C.goodbye())) is NOT_APPLICABLE


def test_a_server_that_waits_for_our_alert_behind_its_own_leaks_nothing() -> None:
    assert result("INTEROP-LEAK", play(C.goodbye(), S.notify())) is PASS
    assert result("INTEROP-LEAK", play(C.goodbye(), C.fin(), S.notify())) is WARN


def test_a_goodbye_that_ends_nothing_is_a_leak() -> None:
    assert result("INTEROP-LEAK", play(C.goodbye())) is WARN
    assert result("INTEROP-LEAK", play(C.goodbye(), S.notify() + S.fin())) is PASS


# --- ourselves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "missing"),
    [
        (with_close_notify(play(*SERVER_DROPS)), "close_notify"),
        (with_event(play(C.notify(), S.notify()), EventKind.FIN_SENT), "FIN"),
        (with_event(play(C.notify()), EventKind.ABORTED), "RST"),
    ],
)
def test_what_the_driver_did_must_be_in_the_capture(trace: Trace, missing: str) -> None:
    found = results(trace)["SELF-NOTIFY"]
    assert found.result is Result.ERROR
    assert missing in found.text


def test_an_rst_of_ours_must_have_been_asked_for() -> None:
    unasked = play(C.notify(), S.notify(), C.rst(active=True))
    assert result("SELF-NOTIFY", unasked) is Result.ERROR
    assert result("SELF-NOTIFY", play(C.notify(), C.abort())) is PASS
    closed = play(C.goodbye() + C.close(), S.notify(), C.rst())
    assert result("SELF-NOTIFY", closed) is PASS
    repeated = play(C.notify(), S.notify() + S.fin(), C.fin(), C.rst())
    assert result("SELF-NOTIFY", repeated) is PASS
    echoed = play(S.notify() + S.fin(), C.notify(), S.rst(), C.rst())
    assert result("SELF-NOTIFY", echoed) is PASS


def test_a_response_that_never_comes_is_no_good_end() -> None:
    silent = play(C.request())
    assert result("INTEROP-DATA-LOST", silent) is WARN
    assert result("INTEROP-DATA-LOST", play(C.request(), S.response())) is Result.NOT_APPLICABLE


@pytest.mark.parametrize("coverage", [Coverage.HOLES, Coverage.NONE])
def test_an_incomplete_capture_cannot_contradict_us(coverage: Coverage) -> None:
    trace = with_close_notify(play(*SERVER_DROPS, coverage=coverage))
    assert result("SELF-NOTIFY", trace) is Result.NOT_APPLICABLE


# --- what the versions make of the same bytes -----------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((C.notify(), C.request(), S.response()), {"1.2": "TLS12-", "1.3": "TLS13-IGNORE"}),
        ((C.notify(),), {"1.2": "TLS12-ANSWER", "1.3": None}),
        ((HALF_CLOSE, S.notify() + S.fin()), {"1.2": None, "1.3": None}),
    ],
)
def test_the_version_decides(lines: tuple[Line, ...], told: dict[str, str | None]) -> None:
    for tls, rule in told.items():
        failed = [r.rule for r in results(play(*lines, tls=tls)).values() if r.result is FAIL]
        assert bool(failed) == (rule is not None), failed
        assert all(found.startswith(rule or "-") for found in failed)


def test_an_error_alert_needs_no_fatal_level_in_tls_1_3() -> None:
    stays = (S.alert(80, level=1),)
    assert result("TLS-FATAL-CLOSES", play(*stays, tls="1.3")) is FAIL
    assert result("TLS-FATAL-CLOSES", play(*stays, tls="1.2")) is Result.NOT_APPLICABLE


@pytest.mark.parametrize("protocol", ["http1", "http2", "ldap", "postgres"])
@pytest.mark.parametrize("lines", [(S.fin(),), (C.fin(), S.fin()), (C.notify(),), (C.fin(),)])
def test_where_there_was_no_tls_nothing_of_it_is_missed(
    lines: tuple[Line, ...], protocol: str
) -> None:
    found = results(play(*lines, tls=None, asked=False, protocol=protocol)).values()
    told = {r.rule for r in found if r.result in {FAIL, WARN, INFO}}
    assert told <= {"INTEROP-LEAK"}


def test_a_response_owed_before_the_alert_is_no_answer_to_what_came_behind() -> None:
    late = play(HALF_CLOSE, C.data(), S.response(), S.notify() + S.fin())
    assert result("TLS13-IGNORE-AFTER", late) is PASS


@pytest.mark.parametrize(("said", "expected"), [((S.data(),), PASS), ((S.data(), S.data()), INFO)])
def test_a_goaway_is_no_answer_to_what_came_behind_the_alert(
    said: tuple[Line, ...], expected: Result
) -> None:
    late = play(C.notify(), C.data(), *said, S.notify() + S.fin(), protocol="http2")
    told = driven(late, remarks=(goaway(1),))
    assert result("TLS13-IGNORE-AFTER", told) is expected


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("spoke", "expected"),
    [
        pytest.param(0, FAIL, id="to the alert alone it says nothing"),
        pytest.param(3, PASS, id="HAProxy answers the alert itself, with a 400"),
        pytest.param(1, PASS, id="sometimes it does"),
    ],
)
def test_what_a_server_says_to_the_alert_alone_answers_nothing_behind_it(
    tls: str, spoke: int, expected: Result
) -> None:
    late = play(C.notify(), C.data(), S.data(), S.notify() + S.fin(), tls=tls, asked=False)
    rule = f"TLS{tls.replace('.', '')}-IGNORE-AFTER"
    assert results(late)[rule].result is INFO, "nobody tried"
    alone = Knowledge(alert_alone=AlertAlone("close_notify; drain", 3, spoke))
    assert results(late, alone)[rule].result is expected


# --- after the server's own alert -----------------------------------------------------------------


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((S.notify() + S.fin(),), PASS),
        ((S.notify() + S.data(), S.fin()), FAIL),
        ((S.notify(), S.notify(), S.fin()), FAIL),
        ((S.notify(), S.alert(80), S.fin()), FAIL),
        ((S.alert(80), S.data(), S.fin()), FAIL),
        ((S.alert(80), S.notify() + S.fin()), INFO),
        ((S.alert(90, level=1), S.notify() + S.fin()), PASS),
        ((S.notify(), S.plain(), S.fin()), NOT_APPLICABLE),
        ((S.fin(),), NOT_APPLICABLE),
    ],
)
def test_nothing_comes_after_a_servers_own_alert(
    lines: tuple[Line, ...], expected: Result, tls: str
) -> None:
    rule = f"TLS{tls.replace('.', '')}-AFTER-OWN-ALERT"
    assert result(rule, play(C.notify(), *lines, tls=tls)) is expected


# --- handshakes that were broken off --------------------------------------------------------------


def broken_off(*lines: Line, tls: str, negotiated: bool, protocol: str = "http1") -> Trace:
    """A ClientHello and the server's flight, and no Finished of ours."""
    hello = (C.handshake(), S.handshake())
    trace = play(*hello, *lines, tls=tls if negotiated else None, opened=False, protocol=protocol)
    return driven(trace, events=(DriverEvent(1, EventKind.CONNECT), *trace.drive.events))


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("negotiated", [True, False])
def test_an_unfinished_handshake_is_judged_alike_in_both_versions(
    tls: str, negotiated: bool
) -> None:
    trace = broken_off(C.fin(), S.fin(), tls=tls, negotiated=negotiated)
    found = results(trace, Knowledge(offered=tls))
    assert found[f"TLS{tls.replace('.', '')}-NOTIFY"].result is INFO
    assert {r.result for r in found.values()} <= {INFO, PASS, NOT_APPLICABLE}
    http = {r.result for id_, r in found.items() if id_.startswith("HTTP")}
    assert http == {NOT_APPLICABLE}


def test_before_any_hello_there_is_no_tls_to_end() -> None:
    trace = play(C.fin(), S.fin(), tls=None, opened=False)
    connected = driven(trace, events=(DriverEvent(1, EventKind.CONNECT),))
    found = results(connected, Knowledge(offered="1.3"))
    assert found["TLS13-NOTIFY"].result is NOT_APPLICABLE


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_http_rules_need_http_to_have_been_spoken(protocol: str) -> None:
    told = play(silence(60), S.fin(), asked=False, protocol=protocol)
    silent = results(told, Knowledge(near=True))
    assert {r.result for id_, r in silent.items() if id_.startswith("HTTP")} == {NOT_APPLICABLE}
    assert silent["TLS13-NOTIFY"].result is FAIL


@pytest.mark.parametrize("more", [C.data(1), C.notify()], ids=["data", "another alert"])
def test_an_rst_for_what_came_behind_our_alert_is_none_for_an_incomplete_close(more: Line) -> None:
    """HAProxy resets for the byte that it leaves unread, and takes our alert and FIN as an end."""
    close = C.notify(), C.fin(), S.rst(active=True)
    assert result("HTTP-TLS-INCOMPLETE", play(*close, protocol="http1")) is not NOT_APPLICABLE
    behind = play(C.notify(), more, C.fin(), S.rst(active=True), protocol="http1")
    assert result("HTTP-TLS-INCOMPLETE", behind) is NOT_APPLICABLE


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_what_stands_behind_half_a_record_is_no_close_notify(tls: str) -> None:
    """To the server that is a record that does not fit, for which it has an error alert."""
    alone = play(C.notify(), C.fin(), S.alert(20) + S.fin(), tls=tls, protocol="http1")
    cut = play(
        *(C.data(60), step("send cut"), C.notify(), step("close_notify"), C.fin()),
        S.alert(20) + S.fin(),
        tls=tls,
        protocol="http1",
    )
    assert result("HTTP-TLS-INCOMPLETE", alone) is WARN
    blamed = [r for r in results(cut).values() if r.result in {WARN, FAIL}]
    assert blamed == []
    silent = play(C.data(60), step("send cut"), C.notify(), C.fin(), S.fin(), tls="1.2")
    assert result("TLS12-ANSWER", silent) is NOT_APPLICABLE


# --- what was owed --------------------------------------------------------------------------------


def owed(*lines: Line, **changes: object) -> tuple[Result, str]:
    trace = driven(play(*lines, protocol="http1"), **changes)
    return results(trace)["INTEROP-DATA-LOST"].result, judge(trace).outcome


@pytest.mark.parametrize(
    "end", [(S.notify() + S.fin(), C.request(), S.rst()), (S.fin(), C.request(), S.rst())]
)
def test_a_request_after_the_servers_end_is_owed_nothing(end: tuple[Line, ...]) -> None:
    assert owed(*end) == (PASS, "reset-after-fin")


def test_a_request_that_crossed_the_servers_end_is_owed_nothing() -> None:
    crossed = crossing(C.request(), S.notify() + S.fin())
    assert owed(crossed, S.rst())[0] is PASS


def test_what_crosses_the_servers_end_excuses_no_response_that_was_begun() -> None:
    """A goodbye that crosses it is no request."""
    cut = (C.request(), S.partial(), S.notify() + S.fin())
    assert owed(*cut, C.goodbye()) == (WARN, "data-lost")
    assert owed(*cut, C.notify(), C.fin()) == (WARN, "data-lost")
    assert owed(*cut, C.request(), S.rst())[0] is WARN


@pytest.mark.parametrize(("unread_ms", "expected"), [(50, WARN), (900, PASS)])
def test_an_end_that_waited_behind_what_we_left_unread_may_have_crossed(
    unread_ms: int, expected: Result
) -> None:
    """The server's idle timer expired while its response had no room: only then comes our request.

    Nobody can tell from the wire, where the end is behind the request.
    """
    unread = (C.request(), S.data(60_000), silence(1.0), C.request(), S.ack())
    trace = play(*unread, S.response(70_000), S.notify() + S.fin(), protocol="http1")
    first = next(r for r in trace.drive.records if r.end - r.start == 60_000)
    late = first._replace(time_ns=first.time_ns + unread_ms * 1_000_000)
    read = tuple(late if record == first else record for record in trace.drive.records)
    assert result("INTEROP-DATA-LOST", driven(trace, records=read)) is expected


def test_half_a_request_before_the_end_is_no_request_that_was_lost() -> None:
    assert owed(C.data(), S.fin(), C.request(), S.rst())[0] is PASS


def test_a_request_that_the_server_had_received_is_owed_its_response() -> None:
    assert owed(C.request(), S.ack(), S.notify() + S.fin()) == (WARN, "data-lost")


def test_streams_above_the_goaways_last_were_not_processed() -> None:
    lines = (C.request(), C.request(), S.response(), S.data(), S.notify() + S.fin())
    assert owed(*lines)[0] is WARN
    assert owed(*lines, remarks=(goaway(3),))[0] is PASS
    assert owed(*lines, remarks=(goaway(5),))[0] is WARN


@pytest.mark.parametrize("kind", [RemarkKind.CLOSE_ANNOUNCED, RemarkKind.CLOSE_IMPLIED])
def test_what_is_pipelined_behind_a_response_that_closes_was_not_processed(
    kind: RemarkKind,
) -> None:
    lines = (C.request(), C.request(), S.response(), S.notify() + S.fin())
    assert owed(*lines)[0] is WARN
    assert owed(*lines, remarks=(Remark(kind, "close"),))[0] is PASS


def test_a_response_in_part_is_told_from_none() -> None:
    part = play(C.request(), S.partial(), S.notify() + S.fin())
    none = play(C.request(), S.notify() + S.fin())
    texts = [results(trace)["INTEROP-DATA-LOST"].text for trace in (part, none)]
    assert "in part" in texts[0]
    assert "did not come" in texts[1]


def test_a_response_that_only_a_fin_without_an_alert_ends_may_be_whole() -> None:
    """RFC 9112 section 9.8: incomplete, to its receiver; that a part is missing nobody has seen."""
    implied = (Remark(RemarkKind.CLOSE_IMPLIED, "a body that ends with the connection"),)
    text = "nobody can tell whether it is whole"
    for end, said in (S.fin(), True), (S.rst(active=True), False), (S.notify() + S.fin(), False):
        trace = driven(play(C.request(), S.partial(), end, protocol="http1"), remarks=implied)
        assert (text in results(trace)["INTEROP-DATA-LOST"].text) is said


def test_a_response_that_a_box_cut_off_is_not_the_servers_loss() -> None:
    forged = S.rst(active=True).but(ttl=9, ip_id=9)
    found = results(play(C.request(), S.partial(), forged))
    assert found["INTEROP-DATA-LOST"].result is NOT_APPLICABLE
    assert "the server did not make" in found["INTEROP-RESET-BEFORE-FIN"].text


# --- slow machines --------------------------------------------------------------------------------


def test_a_server_that_goes_on_reading_an_upload_has_not_stopped() -> None:
    upload = (C.request(60_000), S.response().but(ack=500))
    reading = (silence(0.5), S.ack().but(ack=9_000), silence(0.6))
    assert result("HTTP-BODY", play(*upload, *reading, protocol="http1")) is NOT_APPLICABLE
    assert result("HTTP-BODY", play(*upload, silence(1.5), protocol="http1")) is FAIL
    full = S.ack().but(ack=9_000, window=0)
    assert result("HTTP-BODY", play(*upload, full, silence(1.5), protocol="http1")) is FAIL


@pytest.mark.parametrize("end", [(), (S.fin(),)])
def test_what_our_side_left_unread_did_come(end: tuple[Line, ...]) -> None:
    """A server may refuse an upload while we still write it."""
    lines = (C.request(60_000), S.unknown().but(ack=9_000), silence(2), *end)
    whole = play(*lines)
    events = tuple(event for event in whole.drive.events if event.kind is not EventKind.EOF)
    unread = replace(whole, drive=replace(whole.drive, events=events))
    assert result("INTEROP-DATA-LOST", unread) is NOT_APPLICABLE
    erased = play(C.request(60_000), S.unknown(), S.rst(active=True))
    assert result("INTEROP-DATA-LOST", erased) is WARN


def test_half_a_record_before_the_end_that_we_read_is_no_response() -> None:
    read = play(C.request(), S.unknown(), S.fin())
    assert result("INTEROP-DATA-LOST", read) is WARN


def test_to_a_request_on_its_way_no_response_is_owed_yet() -> None:
    slow = play(C.request(60_000), S.ack().but(ack=9_000), silence(2), protocol="http1")
    assert result("INTEROP-DATA-LOST", slow) is NOT_APPLICABLE


def test_a_goodbye_that_came_after_the_servers_end_was_not_answered() -> None:
    for protocol, rule in (("smtp", "SMTP-221"), ("imap", "IMAP-BYE"), ("http1", "HTTP-CLOSE")):
        late = play(S.notify() + S.fin(), C.goodbye(asks=True), S.rst(), protocol=protocol)
        assert result(rule, late) is NOT_APPLICABLE


# --- requests at the wrong moment -----------------------------------------------------------------


def test_a_second_answer_after_connection_close_is_one_too_many() -> None:
    both = (C.goodbye(asks=True) + C.request(), S.response() + S.response(), S.fin())
    assert result("HTTP-CLOSE", play(*both, protocol="http1")) is FAIL


def test_a_server_that_waits_for_our_alert_behind_its_own_has_begun_to_close() -> None:
    goodbye = (C.goodbye(asks=True), S.response())
    assert result("HTTP-CLOSE", play(*goodbye, S.notify(), protocol="http1")) is PASS
    assert result("HTTP-CLOSE", play(*goodbye, protocol="http1")) is FAIL


@pytest.mark.parametrize(
    ("protocol", "rule", "broken"),
    [
        ("smtp", "SMTP-221", FAIL),
        ("imap", "IMAP-BYE", FAIL),
        ("postgres", "PG-TERMINATE", WARN),
        ("mqtt", "MQTT-DISCONNECT", WARN),
    ],
)
def test_so_has_one_of_another_protocol(protocol: str, rule: str, broken: Result) -> None:
    """asyncio closes TLS, and TCP only behind our close_notify: aiosmtpd was failed for it."""
    goodbye = (C.goodbye(asks=True), S.response())
    assert result(rule, play(*goodbye, S.notify(), protocol=protocol)) is PASS
    assert result(rule, play(*goodbye, protocol=protocol)) is broken


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((C.request(), S.response(), S.notify() + S.fin()), PASS),
        ((C.request(), S.rst(active=True)), WARN),
        ((C.request(), S.rst()), NOT_APPLICABLE),  # a host that knows no such connection
        ((C.request(), S.notify() + S.fin()), PASS),
        ((C.request(), S.notify()), PASS),
        ((C.request(),), WARN),
    ],
)
def test_a_request_meets_the_expiry(lines: tuple[Line, ...], expected: Result) -> None:
    met = with_event(play(silence(60), *lines), EventKind.MEETS)
    assert result("INTEROP-IDLE-RACE", met) is expected


def test_a_timeout_in_words_that_crosses_the_request_is_no_answer_to_it() -> None:
    """A 408, in the form of a response: the request was not done."""
    story = play(silence(60), C.request(), S.response(), S.notify() + S.fin(), protocol="http1")
    met = with_event(story, EventKind.MEETS)
    timed_out = driven(met, remarks=(Remark(RemarkKind.TIMED_OUT, "408"),))
    assert judge(met).met is ExpiryOutcome.ANSWERED
    assert judge(timed_out).met is ExpiryOutcome.REFUSED


@pytest.mark.parametrize(
    ("early_s", "end", "expected"),
    [
        (0.0001, S.notify() + S.fin(), PASS),
        (0.003, S.notify() + S.fin(), PASS),
        (0.02, S.notify() + S.fin(), WARN),  # it had time enough to read it
        (0.0001, S.rst(active=True), WARN),
    ],
)
def test_a_request_that_had_come_when_the_timer_fired_was_not_read_yet(
    early_s: float, end: Line, expected: Result
) -> None:
    story = (C.request(), silence(early_s), end)
    met = with_event(play(silence(60), *story), EventKind.MEETS)
    assert result("INTEROP-DATA-LOST", met) is expected
    assert result("INTEROP-DATA-LOST", play(silence(60), *story)) is WARN


@pytest.mark.parametrize("event", [EventKind.MEETS, EventKind.STEP])
def test_a_request_behind_a_response_that_ends_the_connection_meets_no_expiry(
    event: EventKind,
) -> None:
    """It was said to have met the idle expiry, and to have been refused cleanly, with EOF."""
    ended = play(silence(0.001), S.notify(), silence(2), C.request())
    assert result("INTEROP-IDLE-RACE", with_event(ended, event)) is NOT_APPLICABLE


def test_a_request_that_never_left_meets_nothing() -> None:
    gone = with_event(play(silence(60), S.rst(active=True)), EventKind.MEETS)
    assert result("INTEROP-IDLE-RACE", gone) is Result.NOT_APPLICABLE


def test_an_upload_under_way_when_the_server_closes_meets_no_expiry() -> None:
    refused = play(C.request(100_000), S.response(), S.notify(), S.rst(active=True))
    assert result("INTEROP-IDLE-RACE", refused) is Result.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param((C.request(), S.response()), PASS, id="answered"),
        pytest.param((C.request(), S.rst()), WARN, id="forgotten, and a host says so"),
        pytest.param((C.request(), S.rst(active=True)), WARN, id="aborted"),
        pytest.param((C.request(),), WARN, id="forgotten, and nobody says so"),
        pytest.param((C.request(), S.notify() + S.fin()), PASS, id="ended in order"),
        pytest.param((S.notify() + S.fin(), C.request(), S.rst()), NOT_APPLICABLE, id="expired"),
        pytest.param((C.data(), S.ack()), NOT_APPLICABLE, id="not a request"),
    ],
)
def test_a_request_finds_out_what_became_of_an_idle_connection(
    lines: tuple[Line, ...], expected: Result
) -> None:
    asked = any(piece.asks for line in lines if isinstance(line, Act) for piece in line.pieces)
    trace = play(silence(350), *lines, asked=asked)
    assert result("INTEROP-IDLE-SILENT", trace) is expected


def test_a_path_that_forgets_breaks_no_rule_of_the_server() -> None:
    found = results(play(silence(350), C.request(), S.rst(), protocol="http1"))
    assert {id_ for id_, r in found.items() if r.result is FAIL} == set()
    assert {id_ for id_, r in found.items() if r.result is WARN} >= {"INTEROP-IDLE-SILENT"}


# --- the form of an RST ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ((S.rst(active=True),), PASS),
        ((S.rst(active=True).but(start=1),), INFO),
        ((S.rst(active=True).but(ack=10_000_000),), INFO),
        ((S.fin(), C.data(), S.rst()), PASS),
    ],
)
def test_the_numbers_of_an_rst(reset: tuple[Line, ...], expected: Result) -> None:
    assert result("TCP-RST-FORM", play(C.notify(), *reset)) is expected


def test_an_rst_right_behind_the_syn_ack_stands_at_the_isn_plus_1() -> None:
    syn_ack = S.syn().but(flags=Flag.SYN | Flag.ACK)
    early = play(C.syn(), syn_ack, C.ack(), S.rst(active=True), opened=False)
    events = (DriverEvent(1, EventKind.CONNECT), *early.drive.events)
    assert result("TCP-RST-FORM", driven(early, events=events)) is PASS


def test_the_form_of_a_strangers_rst_is_not_held_against_the_server() -> None:
    assert result("TCP-RST-FORM", play(C.notify(), S.rst())) is NOT_APPLICABLE


# --- what a run did not decide --------------------------------------------------------------------


def test_rules_without_a_finding_are_undecided() -> None:
    names = ("TLS13-NOTIFY", "INTEROP-LEAK")
    findings = tuple(Finding(name, RULES[name].level, PASS, 1, "seen") for name in names)
    empty = Cell("fin-only", "request; fin; drain", "1.2", 1, Verdict.PASS)
    left = undecided([empty, replace(empty, tls="1.3", findings=findings)])
    asked = [name for name, rule in RULES.items() if not rule.opt_in]
    assert left == [name for name in asked if name not in names]
    assert undecided([]) == asked
