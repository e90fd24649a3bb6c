"""What other protocols inside TLS say about their end.

A protocol is known by its adapter, or, where one adapter speaks many (``chat``), by the profile's
name, which is then what the trace carries as its protocol.
"""

from __future__ import annotations

from tlsprobe.judge.closing import FIN, before
from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput, kind_of
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.judgement import Level, Result, TlsEnd
from tlsprobe.model.trace import EventKind, RemarkKind, Side


def _ldap_alert(given: RuleInput) -> Answer:
    if given.said_goodbye or given.aborted or not given.client_led:
        return None
    if given.not_the_servers:
        return None
    if given.axes.tls is TlsEnd.NOTIFIED:
        return Result.PASS, "our closure alert was answered with a closure alert"
    if given.closing.server_end is not None:
        return Result.PASS, "the server ended the session after our closure alert"
    return Result.FAIL, "our closure alert drew neither an alert nor the end of the session"


def _ends_after_goodbye(given: RuleInput, goodbye: str, otherwise: Result) -> Answer:
    said = given.goodbye
    if said is None or given.aborted or given.not_the_servers or given.crossed(said):
        return None
    end = given.closing.server_end
    if end is None and given.axes.tls is TlsEnd.NOTIFIED:
        # It has begun to close: a TLS library may wait for our close_notify before it closes TCP.
        return Result.PASS, f"the server ended TLS after {goodbye}, and waits for our close_notify"
    if end is None:
        return otherwise, f"the server kept the connection after {goodbye}"
    return Result.PASS, f"the server ended with {kind_of(end)} after {goodbye}"


def _pg_terminate(given: RuleInput) -> Answer:
    return _ends_after_goodbye(given, "Terminate", Result.WARN)


def _mqtt_disconnect(given: RuleInput) -> Answer:
    return _ends_after_goodbye(given, "DISCONNECT", Result.WARN)


def _websocket_close(given: RuleInput) -> Answer:
    """Who has ended TLS and waits for our close_notify before TCP has begun to close."""
    answer = _last_words(given, "Close", "Close")
    waits = given.closing.server_end is None and given.axes.tls is TlsEnd.NOTIFIED
    if answer is None or answer[0] is not Result.PASS or not waits:
        return answer
    return Result.INFO, "the server answered Close, ended TLS, and waits for our close_notify"


def _smtp_221(given: RuleInput) -> Answer:
    return _last_words(given, "QUIT", "221")


def _imap_bye(given: RuleInput) -> Answer:
    """In the profiles nothing less answers the goodbye than BYE and the completion behind it."""
    return _last_words(given, "LOGOUT", "BYE")


def _last_words(given: RuleInput, goodbye: str, words: str) -> Answer:
    """Asked where we waited for them: not where our alert or FIN followed the goodbye at once."""
    said = given.goodbye
    if said is None or given.aborted or given.not_the_servers or given.crossed(said):
        return None
    left = given.closing.first(Side.CLIENT, "n", FIN)
    if left is not None and before(left, given.closing.server_began):
        return None
    if given.trace.drive.answered_to < said.end:
        return Result.FAIL, f"{goodbye} was not answered with {words}"
    return _ends_after_goodbye(given, words, Result.FAIL)


def _ftps_data(given: RuleInput) -> Answer:
    """What the server said of a transfer on the control connection.

    Nothing that it says is a breach: 4yz may have a reason that has nothing to do with the end.
    """
    remarks = given.trace.drive.remarks
    verdict = next((r.text for r in remarks if r.kind is RemarkKind.VERDICT), None)
    if verdict is None:
        return None
    is_taken, code = verdict.startswith("2"), f"({verdict[:3]})"
    if any(remark.kind is RemarkKind.CLOSE_IMPLIED for remark in remarks):
        if is_taken:
            return Result.PASS, f"the server calls the download whole {code}"
        return Result.INFO, f"the server calls a download failed that met {_own_end(given)} {code}"
    if not is_taken:
        return Result.INFO, f"the server refused an upload that ended with {_own_end(given)} {code}"
    if given.ours is None:
        said = f"the server took an upload that ended with {_own_end(given)}"
        return Result.INFO, f"{said}, as it would a truncated one {code}"
    return Result.PASS, f"the server took an upload that ended with our close_notify {code}"


def _own_end(given: RuleInput) -> str:
    if given.ours is not None:
        return "our close_notify"
    return "our RST" if given.trace.drive.did(EventKind.ABORTED) else "our FIN alone"


PROTOCOL_RULES = (
    Rule(
        "LDAP-ALERT",
        "RFC 4511 section 4.14.3",
        Level.MUST,
        "peer",
        "A closure alert is answered with one, unless the whole LDAP session is ended.",
        _ldap_alert,
        checked=True,
        protocols=("ldap",),
        remedy=Remedy(
            "A client that waits to go on in plain text, or for the end, and gets neither.",
            (Advice(Party.SERVER, "answer the alert with one, or close the connection."),),
        ),
    ),
    Rule(
        "PG-TERMINATE",
        "PostgreSQL documentation, Frontend/Backend Protocol, Termination",
        Level.SHOULD,
        "server",
        "On Terminate the backend closes the connection.",
        _pg_terminate,
        checked=True,
        protocols=("postgres",),
        remedy=Remedy(
            "The server's own connection slots, which run out.",
            (Advice(Party.POOLER, "pass Terminate on, then close."),),
        ),
    ),
    Rule(
        "WS-CLOSE",
        "RFC 6455 section 5.5.1",
        Level.MUST,
        "server",
        "A Close frame is answered with one, and then the server closes the connection at once.",
        _websocket_close,
        checked=True,
        protocols=("websocket",),
        remedy=Remedy(
            "Clients that wait for the end of the closing handshake, and call it abnormal (1006).",
            (Advice(Party.SERVER, "answer Close with Close before ending TLS, then close."),),
        ),
    ),
    Rule(
        "FTPS-DATA",
        "RFC 959 section 4.2; RFC 8446 section 6.1",
        Level.INFO,
        "server",
        "Whether the server takes a transfer for whole, which it says on the control connection.",
        _ftps_data,
        protocols=("ftps",),
    ),
    Rule(
        "SMTP-221",
        "RFC 5321 section 4.1.1.10",
        Level.MUST,
        "server",
        "QUIT is answered with 221, and then the connection is closed.",
        _smtp_221,
        checked=True,
        protocols=("smtp", "smtps"),
        remedy=Remedy(
            "Sending mail servers, which may take the message for undelivered and send it again.",
            (Advice(Party.SERVER, "answer QUIT with 221 before closing."),),
        ),
    ),
    Rule(
        "IMAP-BYE",
        "RFC 9051 section 6.1.3, RFC 3501 section 6.1.3",
        Level.MUST,
        "server",
        "LOGOUT is answered with BYE before it is completed.",
        _imap_bye,
        checked=True,
        protocols=("imap", "imaps"),
        remedy=Remedy(
            "Mail clients that recognise by BYE that the server ends the session on purpose.",
            (Advice(Party.SERVER, "send BYE before the completion of LOGOUT, then close."),),
        ),
    ),
    Rule(
        "MQTT-DISCONNECT",
        "MQTT 3.1.1 section 3.14.4",
        Level.SHOULD,
        "server",
        "On DISCONNECT the server closes the connection, if the client has not.",
        _mqtt_disconnect,
        checked=True,
        protocols=("mqtt",),
        remedy=Remedy(
            "The broker's own connection slots, held by clients that have said goodbye.",
            (Advice(Party.BROKER, "close when DISCONNECT arrives."),),
        ),
    ),
)
"""The rules of other protocols, in the order of reports."""
