"""Whom something hurts and what helps: chosen by cause, side, the bytes that drew it, and server.

`Cause.remedy` says what holds of a cause in general. Here is what depends on more: whether the
bytes were a request, which is lost, or an alert, which nobody misses; whether the connection had
been idle; what the protocol is; and which server it is, by its own word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tlsprobe.judge.families import FORWARDER, Family
from tlsprobe.model.causes import Advice, Cause, Party, Remedy
from tlsprobe.model.judgement import Provoked, Reader, Reset
from tlsprobe.model.protocols import may_be_http
from tlsprobe.model.trace import Side


@dataclass(frozen=True, slots=True)
class Situation:
    """What a remedy depends on.

    ``protocol`` is the adapter's name, empty where nobody knows; ``family`` is the server's, None
    where it does not name itself. ``heeded`` as in `Reset`. ``overtook``: our own path had kept the
    server's FIN back, and the reader got this RST first.
    """

    cause: Cause
    side: Side
    provoked: Provoked | None = None
    after_idle: bool = False
    protocol: str = ""
    family: Family | None = None
    heeded: bool = True
    overtook: bool = False


def situation_of(
    reset: Reset,
    protocol: str = "",
    family: Family | None = None,
    reader: Reader | None = None,
) -> Situation:
    """What the remedies of a reset depend on; ``reader`` is what the reader of its trial got."""
    about = reset.provoked, reset.after_idle, protocol, family, reset.heeded
    overtook = reader is Reader.RESET and not reset.before_fin
    return Situation(reset.cause, reset.side, *about, overtook)


def remedy_of(situation: Situation) -> Remedy:
    """Whom such a reset hurts, and what helps."""
    if not situation.heeded:
        return _MISSED_SYN if _met_a_syn(situation) else _UNHEEDED
    if situation.provoked is Provoked.BEHIND_RESET:
        return _BEHIND_RESET
    choose = _ROWS.get((situation.cause, situation.side))
    chosen = None if choose is None else choose(situation)
    remedy = chosen or situation.cause.remedy(situation.side)
    is_forwarders = situation.family is FORWARDER and situation.side is Side.SERVER
    return by_forwarder(remedy) if is_forwarders else remedy


def by_forwarder(remedy: Remedy) -> Remedy:
    """The same where a program that passes the connection on does what it asks of the server."""
    others = [one for one in remedy.advice if one.party not in {Party.SERVER, Party.FORWARDER}]
    first = (_PASSED_ON,) if len(others) < len(remedy.advice) else ()
    return Remedy(remedy.hurts, (*first, *others))


# --- what is said more than once ------------------------------------------------------------------

_METRICS = Advice(Party.METRICS, "do not alarm on resets that follow a FIN.")

_FORWARDER = Advice(
    Party.FORWARDER,
    "treat ECONNRESET after the server's last byte as the end of one connection, not of the"
    " tunnel.",
)

_PASSED_ON = Advice(
    Party.FORWARDER,
    "it has the TCP connection, not the server: pass each FIN on by itself, go on in the other"
    " direction until that has ended too, and take a reset for the end of one connection alone.",
)

_IDLE_BELOW = Advice(
    Party.CLIENT,
    "set its idle timeout below the server's, so that it closes first.",
    tried_by=("close-notify-fin",),
)

_IN_BETWEEN = (
    "anyone who reads between client and server: the read fails with ECONNRESET where EOF belongs"
)
_READERS_IN_BETWEEN = f"{_IN_BETWEEN[0].upper()}{_IN_BETWEEN[1:]}"

_WHO_CONNECTS = Advice(
    Party.ANYBODY, "Look who scans the port, or gives up while it still connects."
)

_OVERTOOK = (
    "No reader where packets come in order, for EOF comes first. Here our path kept the FIN back,"
    " as one that loses a packet does, and the reader got ECONNRESET."
)

_INJECTED = Advice(
    Party.PATH,
    "look for what injects packets: capture on both sides of each hop, and see where this RST, or"
    " the packet that it answers, is born.",
)

_UNHEEDED = Remedy("Nobody: its receiver went on, and the connection with it.", (_INJECTED,))

_MISSED_SYN = Remedy(
    "Nobody: who still connects drops such an RST, and this one went on trying.", (_INJECTED,)
)

_MAY_HAVE_MISSED_SYN = Remedy(
    "Unclear: who still connects is to drop such an RST and go on, and the capture does not show"
    " whether it did.",
    (_INJECTED,),
)

_ANSWERED_ELSEWHERE = Remedy(
    "The client: it still wants to connect, and takes no answer from that address.",
    (
        Advice(
            Party.PATH,
            "look for an address that is translated on the way there and not on the way back (a"
            " virtual IP, a Service's address, DNAT to a host next to the client), for two ways"
            " that differ, and for a firewall that rejects answers.",
        ),
    ),
)

_BEHIND_RESET = Remedy(
    "Nobody: the side that it reached had reset the connection itself before.",
    (
        Advice(
            Party.ANYBODY,
            "Nothing need be done where what drew it was still under way; where it came much later,"
            " look what else sends from those ports, such as a scanner.",
        ),
    ),
)

_LAST_WORD = (
    "Unclear: the client ended TLS right behind what it said last, so that this may have been a"
    " farewell, which asks for nothing; a request would be lost."
)

_NOTHING_BEHIND = Advice(
    Party.CLIENT,
    "send nothing after its own close_notify or goodbye: nobody is to act on it.",
    tried_by=("close-notify-fin", "terminate"),
)


def _lost_request(situation: Situation) -> str:
    """Whom a request hurts that was sent and not read."""
    proxy = ": a proxy or load balancer answers 502" if may_be_http(situation.protocol) else ""
    return f"The client whose request it was: nobody knows whether it was done{proxy}."


def _never_done(situation: Situation) -> str:
    """The same where the server had closed before the request came."""
    proxy = ", and a proxy or load balancer that does not ask again answers 502"
    told = proxy if may_be_http(situation.protocol) else ""
    return f"The client whose request it was: it is lost, no response will come{told}."


def _against_lost_requests(situation: Situation) -> Iterator[Advice]:
    if situation.after_idle:
        yield Advice(
            Party.CLIENT,
            "set the idle timeout of its pool (or of the proxy in between) below the server's, so"
            " that no request meets the expiry.",
        )
        yield Advice(Party.SERVER, f"{_idle_setting(situation)} above that of its clients.")
    yield Advice(
        Party.CLIENT,
        "send the request again over a fresh connection, if it may be done twice: no part of a"
        " response had come.",
    )


def _named(family: Family | None, setting: str | None) -> str:
    """A setting in parentheses with whose it is: a proxy may pass on what another server says."""
    return f" ({family.name}: '{setting}')" if family is not None and setting else ""


def _idle_setting(situation: Situation) -> str:
    family = situation.family
    return f"raise its idle timeout{_named(family, family.idle if family else None)}"


def _lingering(situation: Situation) -> Advice:
    """Reading on after the FIN; nginx's setting does not do so for connections that idled out."""
    how = _linger_setting(situation)
    return Advice(Party.SERVER, f"after its FIN read on until the client is done, then close{how}.")


def _linger_setting(situation: Situation) -> str:
    family = situation.family
    return "" if situation.after_idle else _named(family, family.lingers if family else None)


_UNSEEN = (
    "Unclear: what came behind its FIN was not captured. A close_notify is missed by nobody; a"
    " request, or the rest of a response, is lost."
)

# --- the server's resets --------------------------------------------------------------------------


def _data_after_close(situation: Situation) -> Remedy | None:
    if situation.provoked is Provoked.DATA:
        advice = (*_against_lost_requests(situation), _lingering(situation))
        return Remedy(_never_done(situation), advice)
    if situation.provoked is Provoked.LATE:
        return Remedy(_LAST_WORD, (_lingering(situation),))
    if situation.provoked is Provoked.UNSEEN:
        return Remedy(_UNSEEN, (_lingering(situation),))
    if situation.overtook:
        return Remedy(_OVERTOOK, (_lingering(situation), _METRICS))
    if situation.provoked is Provoked.CLOSE_NOTIFY:
        hurts = (
            "No reader, for EOF came first; but the client's answering alert draws the reset, so"
            " that reset metrics climb with every orderly close."
        )
        first = (_IDLE_BELOW,) if situation.after_idle else (_lingering(situation),)
        return Remedy(hurts, (*first, _METRICS))
    hurts = "No reader, for EOF came first; reset metrics and firewalls count it."
    behind = (_NOTHING_BEHIND,) if situation.provoked is Provoked.BEHIND_END else ()
    return Remedy(hurts, (*behind, _lingering(situation), _METRICS))


def _unread_after_fin(situation: Situation) -> Remedy | None:
    if situation.provoked is Provoked.DATA:
        advice = (*_against_lost_requests(situation), _lingering(situation))
        return Remedy(_never_done(situation), advice)
    if situation.provoked is Provoked.LATE:
        return Remedy(_LAST_WORD, (_lingering(situation),))
    hurts = "No reader, for EOF came first; firewalls and reset metrics count it."
    hurts = _OVERTOOK if situation.overtook else hurts
    return Remedy(hurts, (_lingering(situation), _METRICS))


def _unread_at_close(situation: Situation) -> Remedy | None:
    match situation.provoked:
        case Provoked.DATA:
            hurts = f"{_lost_request(situation)} And {_IN_BETWEEN}."
            advice = (*_against_lost_requests(situation), _read_first(situation), _FORWARDER)
        case Provoked.LATE:
            hurts = f"{_READERS_IN_BETWEEN}. {_LAST_WORD}"
            advice = (_read_first(situation), _FORWARDER)
        case Provoked.BEHIND_END:
            hurts = f"{_READERS_IN_BETWEEN}."
            advice = (_NOTHING_BEHIND, _read_first(situation), _FORWARDER)
        case Provoked.HANDSHAKE | Provoked.ALERT:
            hurts = (
                "The client: the reset can erase an alert that says what was wrong, and it reports"
                " ECONNRESET in its place."
            )
            advice = (
                Advice(
                    Party.SERVER,
                    "behind a fatal alert shut the write side down and read on for a moment before"
                    " closing, so that the alert is read.",
                ),
                Advice(
                    Party.CLIENT,
                    "look for the alert in the capture or in the server's log: it names the cause.",
                ),
            )
        case Provoked.CLOSE_NOTIFY if situation.after_idle:
            hurts = f"{_READERS_IN_BETWEEN}."
            advice = (_IDLE_BELOW, _read_first(situation), _FORWARDER)
        case _:
            return None
    return Remedy(hurts, advice)


def _read_first(situation: Situation) -> Advice:
    return Advice(
        Party.SERVER,
        "shut the write side down, and read until the client's close_notify or FIN before"
        f" closing{_linger_setting(situation)}.",
    )


def _deliberate(situation: Situation) -> Remedy | None:
    hurts = "Anyone who still reads: ECONNRESET in place of EOF, and data in flight is lost."
    family = situation.family
    option = f"an option that resets{_named(family, family.resets if family else None)}"
    advice = (Advice(Party.SERVER, f"look for linger 0, a kill at timeout, or {option}."),)
    return Remedy(hurts, (*advice, _IDLE_BELOW) if situation.after_idle else advice)


def _no_state(situation: Situation) -> Remedy | None:
    if situation.provoked is Provoked.SYN:
        return Remedy("Nobody: no connection had come about.", (_WHO_CONNECTS,))
    if situation.provoked is Provoked.WANTED_SYN:
        return _ANSWERED_ELSEWHERE
    if situation.provoked is not Provoked.DATA:
        return None
    general = situation.cause.remedy(situation.side)
    lost = _lost_request(situation)
    if situation.side is Side.CLIENT:
        lost = "What the server had sent is lost to the client, if it still wanted it."
    hurts = f"{general.hurts} {lost}"
    return Remedy(hurts, general.advice)


def _met_a_syn(situation: Situation) -> bool:
    return situation.cause is Cause.UNKNOWN and situation.provoked is Provoked.SYN


def _unknown(situation: Situation) -> Remedy | None:
    return _MAY_HAVE_MISSED_SYN if _met_a_syn(situation) else None


# --- the client's resets --------------------------------------------------------------------------


def _clients_unread(situation: Situation) -> Remedy | None:
    hurts = (
        "The server, and anyone who reads in between: a read fails with ECONNRESET where EOF"
        " belongs, and the server's log or metrics count an error."
    )
    if situation.provoked is Provoked.DATA:
        hurts += " What the client left unread is lost to it."
    return Remedy(
        hurts,
        (
            Advice(
                Party.CLIENT,
                "read to the end, until the server's close_notify or EOF, before it closes the"
                " socket.",
            ),
        ),
    )


def _clients_data_after_close(situation: Situation) -> Remedy | None:
    if situation.provoked is Provoked.DATA:
        hurts = (
            "The client had closed before all of the server's data had come: what came after is"
            " lost to it. The server may see an error when it writes."
        )
        advice: tuple[Advice, ...] = (
            Advice(Party.CLIENT, "read the whole response before it closes."),
        )
        return Remedy(hurts, advice)
    if situation.provoked is Provoked.LATE:
        hurts = (
            "Unclear: the client had answers and had ended TLS when more came, a farewell (GOAWAY)"
            " or the rest of a response, which is lost to it."
        )
        return Remedy(hurts, (Advice(Party.CLIENT, "read the whole response before it closes."),))
    if situation.provoked is Provoked.UNSEEN:
        return Remedy(_UNSEEN, (Advice(Party.CLIENT, "read the whole response before it closes."),))
    what = _LATE_WORDS.get(situation.provoked, "what the server sent last")
    hurts = (
        f"Nobody: {what} came after the client had closed, and was of no use to it any more. Reset"
        " metrics count it."
    )
    wait = Advice(
        Party.CLIENT,
        "nothing need be done; one that waits for the server's close_notify or FIN before it closes"
        " draws no reset.",
    )
    return Remedy(hurts, (wait, _METRICS))


_LATE_WORDS: dict[Provoked | None, str] = {
    Provoked.CLOSE_NOTIFY: "the server's close_notify",
    Provoked.ALERT: "an alert of the server",
    Provoked.FIN: "the server's FIN",
    Provoked.GOODBYE: "the server's farewell",
}


_ROWS: dict[tuple[Cause, Side], Callable[[Situation], Remedy | None]] = {
    (Cause.DATA_AFTER_CLOSE, Side.SERVER): _data_after_close,
    (Cause.UNREAD_AFTER_FIN, Side.SERVER): _unread_after_fin,
    (Cause.UNREAD_AT_CLOSE, Side.SERVER): _unread_at_close,
    (Cause.DELIBERATE, Side.SERVER): _deliberate,
    (Cause.NO_STATE, Side.SERVER): _no_state,
    (Cause.NO_STATE, Side.CLIENT): _no_state,
    (Cause.UNKNOWN, Side.SERVER): _unknown,
    (Cause.UNREAD_AT_CLOSE, Side.CLIENT): _clients_unread,
    (Cause.DATA_AFTER_CLOSE, Side.CLIENT): _clients_data_after_close,
}
