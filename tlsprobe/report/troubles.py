"""What is amiss at the end of a connection that nobody reset, in one sentence each."""

from __future__ import annotations

from tlsprobe.model.explanation import ExplainedFlow, Explanation, Trouble, TroubleKind
from tlsprobe.report.explain import server_of
from tlsprobe.report.glyphs import seconds
from tlsprobe.report.plurals import counted

_ORDER = tuple(TroubleKind)


def trouble_sentences(explanation: Explanation) -> list[str]:
    """Those of a kind at one server together, the worst kind first, then the most frequent."""
    found: dict[object, list[tuple[ExplainedFlow, Trouble]]] = {}
    for flow in explanation.flows:
        for trouble in flow.troubles:
            key = trouble.kind, trouble.side, trouble.what, server_of(flow)
            found.setdefault(key, []).append((flow, trouble))
    ranked = sorted(found.values(), key=lambda of: (_ORDER.index(of[0][1].kind), -len(of)))
    return [_of_all(of) for of in ranked]


def _of_all(of: list[tuple[ExplainedFlow, Trouble]]) -> str:
    flow, trouble = max(of, key=lambda one: one[1].seconds or 0)
    said = f"{flow.client} to {server_of(flow)}: {trouble_sentence(trouble)}"
    if len(of) == 1:
        return said
    return f"{said}; {counted(len(of) - 1, 'more connection')} to this server likewise"


def trouble_sentence(trouble: Trouble) -> str:
    """What is amiss, with the packets that show it."""
    if trouble.kind is TroubleKind.SLOW_CLOSE:
        return _slow(trouble)
    key = trouble.kind, trouble.what
    template = _SENTENCES.get(key) or _SENTENCES[trouble.kind, ""]
    numbers = ", ".join(map(str, trouble.packets))
    return template.format(
        side=trouble.side,
        peer=trouble.side.peer,
        packets=f"packet{'' if len(trouble.packets) == 1 else 's'} {numbers}",
        took=_took(trouble),
        octets=counted(trouble.octets or 0, "byte"),
        stream=trouble.stream,
        what=trouble.what,
        how="" if trouble.sure else ", by the sizes of its records",
    )


_VANISHED = "the {side} vanished: the {peer} sent "
_ZERO = "the {side}'s window was 0 for {took} ({packets}): the {peer} could "
_ALERT = "the {side} refused to go on: its alert {what} ({packets}) tells the {peer} "
_CERTIFICATE = "that it does not accept the {peer}'s certificate"
_SENTENCES = {
    (TroubleKind.CUT_SHORT, "record"): (
        "the {side} ended ({packets}) in the middle of a TLS record: at least {octets} of it are"
        " missing"
    ),
    (TroubleKind.CUT_SHORT, "content-length"): (
        "the {side} ended ({packets}) {octets} short of the Content-Length of its message"
    ),
    (TroubleKind.CUT_SHORT, "chunks"): (
        "the {side} ended ({packets}) before the last chunk of its message"
    ),
    (TroubleKind.CUT_SHORT, "stream"): (
        "the {side} ended ({packets}) in the middle of a response: stream {stream} of HTTP/2 has no"
        " END_STREAM"
    ),
    (TroubleKind.CUT_SHORT, "goaway"): (
        "the {side} ended ({packets}) without a response on stream {stream} of HTTP/2, which its"
        " GOAWAY had not refused"
    ),
    (TroubleKind.FATAL_ALERT, ""): f"{_ALERT}what is wrong",
    (TroubleKind.FATAL_ALERT, "handshake_failure"): (
        f"{_ALERT}that nothing suits it of what the {{peer}} offers: ciphers, groups, signatures or"
        " a certificate"
    ),
    (TroubleKind.FATAL_ALERT, "protocol_version"): (
        f"{_ALERT}that they have no version of TLS in common"
    ),
    (TroubleKind.FATAL_ALERT, "unknown_ca"): (
        f"{_ALERT}that it does not know who signed the {{peer}}'s certificate"
    ),
    (TroubleKind.FATAL_ALERT, "certificate_expired"): (
        f"{_ALERT}that the {{peer}}'s certificate is not valid now, by its clock"
    ),
    (TroubleKind.FATAL_ALERT, "bad_certificate"): f"{_ALERT}{_CERTIFICATE}",
    (TroubleKind.FATAL_ALERT, "certificate_unknown"): f"{_ALERT}{_CERTIFICATE}",
    (TroubleKind.FATAL_ALERT, "certificate_required"): f"{_ALERT}that the {{peer}} sent none",
    (TroubleKind.FATAL_ALERT, "unrecognized_name"): (
        f"{_ALERT}that it serves no such name as the {{peer}} asked for (SNI)"
    ),
    (TroubleKind.FATAL_ALERT, "no_application_protocol"): (
        f"{_ALERT}that they have no protocol in common (ALPN)"
    ),
    (TroubleKind.FATAL_ALERT, "sealed-client"): (
        "the client refused to go on, probably ({packets}): an alert, by its size, is all that it"
        " said to the server's handshake; most often it does not accept the certificate"
    ),
    (TroubleKind.FATAL_ALERT, "sealed-server"): (
        "the server refused to go on, probably ({packets}): an alert, by its size, is all that it"
        " said behind the handshake; it does not accept the client's certificate, misses one, or"
        " has closed at once"
    ),
    (TroubleKind.NO_TLS, "plain-answer"): (
        "the client speaks TLS, and what the server says ({packets}) is none: the port, or a proxy"
        " in between, is for plain text"
    ),
    (TroubleKind.NO_TLS, "plain-silence"): (
        "the server ended ({packets}) without a word on the client's TLS: the port may be for plain"
        " text, or the server takes no such hello (SNI, version)"
    ),
    (TroubleKind.NO_TLS, "tls-answer"): (
        "what the client says first is no TLS, and the server answers with an alert of TLS"
        " ({packets}): the port is for TLS"
    ),
    (TroubleKind.NO_TLS, "tls-silence"): (
        "the server ended ({packets}) without a word on what the client said, which is no TLS, as"
        " this port usually asks for"
    ),
    (TroubleKind.VANISHED, "data"): (
        f"{_VANISHED}the same bytes again for {{took}} ({{packets}}) and heard nothing more"
    ),
    (TroubleKind.VANISHED, "probes"): (
        f"{_VANISHED}probe after probe for {{took}} ({{packets}}) and heard nothing more"
    ),
    (TroubleKind.UNANSWERED, ""): (
        "the {side} did not answer: the {peer} sent its SYN again for {took} ({packets})"
    ),
    (TroubleKind.ZERO_WINDOW, "never-opened"): f"{_ZERO}neither send the rest nor close",
    (TroubleKind.ZERO_WINDOW, "opened-late"): f"{_ZERO}close only when it opened",
    (TroubleKind.HALF_CLOSED, ""): (
        "the {side} never closed: the {peer}'s FIN is {packets}, and nothing followed for {took},"
        " until the capture ends"
    ),
    (TroubleKind.HALF_CLOSED, "data"): (
        "the {side} never closed: the {peer}'s FIN is {packets}, and the {side}'s last data came"
        " {took} before the capture ends"
    ),
    (TroubleKind.NO_CLOSE_NOTIFY, ""): (
        "the {side} closed without close_notify ({packets}){how}: the {peer} cannot tell the end"
        " from a truncation"
    ),
    (TroubleKind.REPEATED, "FIN"): (
        "the {side} sent its FIN again for {took} ({packets}) before it was acknowledged"
    ),
    (TroubleKind.REPEATED, "RST"): "the {side} sent RST after RST ({packets})",
}


def _took(trouble: Trouble) -> str:
    return seconds(round(trouble.seconds or 0, 2))


def _slow(trouble: Trouble) -> str:
    side, peer, took = trouble.side, trouble.side.peer, _took(trouble)
    first, last = trouble.packets
    notice = "close_notify" if trouble.sure else "close_notify, probably,"
    if trouble.what == "alert-own-fin":
        return (
            f"the {peer}'s {notice} is packet {first}, its FIN came {took} later (packet {last}):"
            f" the {side} had neither answered nor closed"
        )
    notice = notice if trouble.what == "alert-fin" else "FIN"
    said = f"the {peer}'s {notice} is packet {first}, the {side}'s FIN packet {last}"
    return f"the close took {took}, waiting for the {side}: {said}"
