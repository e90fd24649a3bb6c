"""The evidence for a cause, in sentences that name the packets.

What anything else reads of a judgement is a value; sentences are for people, and all those that the
causes give are made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.model.causes import Cause
from tlsprobe.model.far_side import Renaming
from tlsprobe.model.judgement import Control
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.knowledge import Rewritten
from tlsprobe.model.trace import EventKind, Record, RecordKind, Segment, Side


def in_place_of_fin(context: ResetContext) -> str:
    """The RST came where a FIN belongs."""
    return f"packet {context.rst.number} takes the place of a FIN: {active_form(context)}"


def active_form(context: ResetContext) -> str:
    """What an RST looks like that its sender decided upon."""
    window = context.rst.window
    return f"an RST with ACK and window {window}, decided by the {context.sender} itself"


def passive_form(context: ResetContext) -> str:
    """What an RST looks like that answers a segment."""
    trigger = context.trigger
    repeats = f", seq repeating the ack of packet {trigger.number}" if trigger else ""
    return f"an RST without ACK, window {context.rst.window}{repeats}"


def passive_rst(context: ResetContext) -> str:
    """Its number and its form."""
    return f"packet {context.rst.number}: {passive_form(context)}"


def kernel_answer(context: ResetContext) -> str:
    """It is what a kernel says to data for a closed socket."""
    return f"packet {context.rst.number} is the kernel's answer: {passive_form(context)}"


def by_kernel(context: ResetContext, told: KernelReset) -> str:
    """Why the kernel of its sender says that it sent it."""
    return (
        f"the kernel that sent packet {context.rst.number} gives the reason {told.reason}, the"
        f" socket being in state {told.state}"
    )


def against_kernel(cause: Cause) -> str:
    """What packets suggest is not what the kernel says."""
    return f"the packets alone look like {cause}, which is not what the kernel says"


def refused(context: ResetContext, syn: Segment) -> str:
    """It answers a SYN."""
    again = next((s for s in context.later if s.syn and s.side is syn.side), None)
    taken = again and any(s.syn and s.side is context.sender for s in context.later)
    gets = "the client gets ECONNREFUSED"
    if again is not None and taken:
        gets = f"the client asks again in packet {again.number}, and is let in"
    return (
        f"packet {context.rst.number} answers the SYN in packet {syn.number}: nothing listens, or a"
        f" firewall rejects it (REJECT with a reset looks the same); {gets}"
    )


def refused_and_accepted(context: ResetContext, syn: Segment, accepted: Segment) -> str:
    """The same SYN was refused and taken."""
    return (
        f"packet {context.rst.number} refuses the SYN in packet {syn.number}, and packet"
        f" {accepted.number} accepts the same SYN: one of them was not made by the"
        f" {context.sender}"
    )


def missed_syn(context: ResetContext, syn: Segment) -> Iterator[str]:
    """It came to a SYN, whose sender has no use for it."""
    rst = context.rst
    lacks = "has no ACK flag" if rst.ack is None else "acknowledges something else"
    yield (
        f"packet {rst.number} follows the SYN in packet {syn.number} and {lacks}: who waits for a"
        " SYN-ACK drops such an RST (RFC 9293 section 3.10.7.3)"
    )
    after = next((s for s in context.later if s.side is syn.side and not s.rst), None)
    if after is None:
        yield (
            f"nothing of the {syn.side} follows: the capture does not show whether it waited on or"
            " gave its SYN up"
        )
    elif after.syn:
        waited = _seconds((after.time_ns - syn.time_ns) / 1e9)
        yield f"the {syn.side} sends its SYN again after {waited} (packet {after.number})"
    else:
        yield f"the {syn.side} goes on (packet {after.number})"


def refused_elsewhere(context: ResetContext, asked: str) -> str:
    """The SYN stands under another address."""
    return (
        f"packet {context.rst.number} acknowledges the very SYN with which the"
        f" {context.sender.peer} asked {asked}: the address is translated on the way, and behind"
        " it nothing listens, or a firewall rejects it"
    )


def half_open(context: ResetContext, trigger: Segment, again: Segment | None) -> str:
    """No socket wanted the SYN-ACK."""
    if context.elsewhere is not None:
        return (
            f"it answers the SYN-ACK in packet {trigger.number}, and the {context.sender} had asked"
            f" {context.elsewhere} with that very number: the address was translated on the way,"
            " and was not on the way back"
        )
    if again is not None:
        return (
            f"it answers the SYN-ACK in packet {trigger.number}, and packet {again.number} is the"
            f" same SYN again: the {context.sender} still connects and does not take this answer."
            " It may have asked another address, which was translated on the way"
        )
    return (
        f"it answers the SYN-ACK in packet {trigger.number}: the {context.sender} has no socket for"
        " it, as in a half-open port scan, or when connect() was given up meanwhile"
    )


def echo(context: ResetContext, earlier: int, trigger: Segment) -> str:
    """It is drawn by what was under way when the connection was reset."""
    return (
        f"packet {context.rst.number} echoes the reset in packet {earlier}: the"
        f" {context.sender.peer}'s packet {trigger.number} no longer found a socket"
    )


def again(context: ResetContext, first: Segment) -> str:
    """It is no other decision."""
    return f"packet {context.rst.number} is the RST in packet {first.number} once more"


def crossing(data: Segment) -> str:
    """What stands behind the RST, and may have been there before it."""
    return (
        f"packet {data.number} stands right behind it, brings data and would have drawn the same"
        " RST: packets of two directions are not always captured in their order"
    )


def had_closed(context: ResetContext, fin: Segment) -> str:
    """The sender's FIN went before."""
    return f"the {context.sender} had closed: its FIN is packet {fin.number}"


def provoked_unseen(context: ResetContext) -> str:
    """What a closed socket answers is among what is missing."""
    return f"it answers something of the {context.sender.peer} that the capture does not hold"


def data_to_closed(trigger: Segment, fin: Segment) -> str:
    """What the closed socket was sent."""
    when = "then" if trigger.number > fin.number else "crossed that FIN and"
    return f"packet {trigger.number} {when} brought {_bytes(trigger.length)} to the closed socket"


def shut_down(context: ResetContext, fin: Segment) -> str:
    """The sender half-closed before."""
    return f"the {context.sender} shut down its write side: its FIN is packet {fin.number}"


def closed_with_unread(context: ResetContext) -> str:
    """What it left unread behind its FIN."""
    return (
        f"it then closed with {_bytes(context.unanswered)} of the {context.sender.peer} unread:"
        f" packet {context.rst.number} is {active_form(context)}"
    )


def reset_after_fin(context: ResetContext, fin: Segment) -> str:
    """It reset behind its FIN, with nothing left to answer."""
    return (
        f"after its FIN (packet {fin.number}) the {context.sender} reset although everything"
        f" of the {context.sender.peer} was answered: packet {context.rst.number} is"
        f" {active_form(context)}"
    )


def our_own(context: ResetContext) -> str:
    """We did it."""
    done = "aborts" if context.own_end is EventKind.ABORTED else "closes the socket"
    return f"packet {context.rst.number} is our own: the sequence {done} here"


def not_our_own(context: ResetContext) -> str:
    """Somebody did it in our name."""
    return (
        f"packet {context.rst.number} is a reset in our name, and our own program neither aborted"
        " nor closed its socket by then: something between client and server made it"
    )


def forged(context: ResetContext) -> str:
    """Our path did it."""
    return f"packet {context.rst.number} is our own: the sequence has it forged here"


def not_read_by_us(context: ResetContext) -> str:
    """What lay in its socket when it gave up."""
    unread = _bytes(context.unanswered)
    return (
        f"{unread} of the {context.sender.peer} had arrived and were not read, which alone makes"
        " the kernel send an RST"
    )


def never_answered(context: ResetContext) -> str:
    """What it acknowledges and did not answer."""
    return (
        f"it acknowledges {_bytes(context.unanswered_shown)} of the {context.sender.peer}"
        f" ({_packets(context.unanswered_segments)}) that the {context.sender} never answered"
    )


def all_answered(context: ResetContext) -> str:
    """Nothing can have been unread, or nothing shows it: a client does not answer responses."""
    if context.sender is Side.CLIENT and not context.driven:
        return (
            "what it acknowledges last is a response, or had been answered: nothing shows that"
            " anything of the server was left unread"
        )
    asked = context.asked_together
    if len(asked) > 1:
        return (
            f"something was said behind all that it acknowledges; whether that answers each of"
            f" {_packets(asked)}, or only the first, is not told"
        )
    return (
        f"everything that it acknowledges had been answered, so nothing of the"
        f" {context.sender.peer} was left unread"
    )


UNVOUCHED = "nothing but its own header says that the server made it: a box on the way may have"
CUT_SHORT = "a response was under way: the rest of it is discarded"


def not_notified(context: ResetContext) -> str:
    """It ended TLS without a close_notify."""
    return f"the {context.sender} sent no close_notify before it"


def probes_unanswered(context: ResetContext, probes: Sequence[int]) -> Iterator[str]:
    """Its kernel gave the connection up."""
    yield f"keepalive probes of the {context.sender} ({_packets(probes)}) were not answered"
    yield f"its kernel then gave up the connection: packet {context.rst.number} is an RST with ACK"


def answers_may_be_lost(context: ResetContext, probes: Sequence[int]) -> str:
    """Where the capture saw probes answered, and their sender perhaps did not."""
    return (
        f"keepalive probes of the {context.sender} ({_packets(probes)}) were answered here, and it"
        " reset when the next was due: if the answers were lost behind this point, it gave up"
    )


def window_was_shut(context: ResetContext, shut: Segment) -> str:
    """Its buffer was full when it closed."""
    return (
        f"the {context.sender}'s window was shut (packet {shut.number}): its buffer was full of"
        f" what it had not read of the {context.sender.peer}"
    )


def perhaps_probes(context: ResetContext, probes: Sequence[int]) -> Iterator[str]:
    """Its kernel may have given the connection up."""
    yield (
        f"the {context.sender} sent the same acknowledgement again and again at even intervals"
        f" ({_packets(probes)}), and nothing answered: in a text that leaves out their numbers,"
        " keepalive probes look like that"
    )
    yield f"packet {context.rst.number} is an RST with ACK, sent when the next was due"


def tries_unanswered(context: ResetContext, tries: Sequence[Segment]) -> Iterator[str]:
    """It sent the same again until it gave up."""
    numbers = [s.number for s in tries]
    took = _seconds((context.rst.time_ns - tries[0].time_ns) / 1e9)
    yield (
        f"the {context.sender} sent the same bytes {len(tries)} times ({_packets(numbers)}), and"
        f" in {took} the {context.sender.peer} did not answer"
    )
    yield f"packet {context.rst.number} gives the connection up"


def fin_acknowledged(context: ResetContext, fin: Segment, trigger: Segment) -> Iterator[str]:
    """The acknowledgement of its FIN drew it."""
    yield (
        f"packet {trigger.number} brings nothing but the acknowledgement of the FIN in packet"
        f" {fin.number}"
    )
    yield (
        f"packet {context.rst.number} answers it: {passive_form(context)}; a socket that does not"
        " wait for the peer's FIN does that (TCP_LINGER2 below 0), and so does a host that lost the"
        " connection"
    )


def fin_in_line(context: ResetContext, trigger: Segment, under_way: int, widest: int) -> str:
    """Why a FIN may have been queued, unseen."""
    if under_way > 0:
        return (
            f"{_bytes(under_way)} of the {context.sender} were not acknowledged yet: if it had"
            " closed, its FIN may still have been queued behind them, and no packet shows it"
        )
    return (
        f"packet {trigger.number} has a window of only {trigger.window} (at most {widest} before):"
        f" if the {context.sender} had closed, its FIN may still have been queued, and no packet"
        " shows it"
    )


def no_state(context: ResetContext, trigger: Segment) -> str:
    """The sender had no state for this connection."""
    return (
        f"it answers packet {trigger.number}, and no FIN or RST of the {context.sender} came"
        " before: the sender had no state for this connection"
    )


def over(context: ResetContext, fin: Segment, trigger: Segment) -> str:
    """Nothing was left of the connection that its sender had closed."""
    since = (trigger.time_ns - fin.time_ns) / 1e9
    return (
        f"it answers packet {trigger.number}, which brings no data, {_seconds(since)} after the"
        f" {context.sender}'s FIN in packet {fin.number}: the connection was over, and nothing of"
        " it was left"
    )


def peer_had_reset(context: ResetContext, ended: Segment) -> str:
    """The peer had ended it."""
    return f"the {context.sender.peer}'s RST in packet {ended.number} had ended the connection"


def begun_anew(context: ResetContext, syn: int, trigger: Segment) -> str:
    """The old connection is of no use to its client any more."""
    return (
        f"the {context.sender} had begun another connection on the same ports (packet {syn}), and"
        f" knew this one no more; packet {trigger.number} still speaks of this one"
    )


def just_heard(context: ResetContext, trigger: Segment) -> str:
    """Why an acknowledgement alone is weak evidence."""
    return (
        f"packet {trigger.number} only acknowledges what the {context.sender} had sent just before,"
        " when it still knew the connection"
    )


def nothing_provoked(context: ResetContext) -> str:
    """It answers nothing."""
    heard = [s for s in context.prior if s.side is context.sender.peer]
    quiet = ""
    if heard:
        silence = (context.rst.time_ns - heard[-1].time_ns) / 1e9
        quiet = f", and {_seconds(silence)} of silence went before"
    told = f"nothing of the {context.sender.peer} waited for an answer"
    if heard and heard[-1].length and heard[-1].end > context.acknowledged:
        told = (
            f"packet {heard[-1].number} of the {context.sender.peer} waited for an answer, whose"
            " number would be what that packet acknowledges"
        )
    return (
        f"{told}{quiet}: the application gave up, or something in between did; stacks other than"
        " Linux abort in this form"
    )


def other_connection(context: ResetContext, syn: Segment, trigger: Segment) -> Iterator[str]:
    """Its SYN met what is left of another connection."""
    yield (
        f"packet {trigger.number} does not answer the SYN in packet {syn.number}: what it"
        f" acknowledges is of another connection with these addresses and ports, which the"
        f" {trigger.side} still holds (TIME_WAIT, or half open) or something in between does"
    )
    yield (
        f"packet {context.rst.number} is the {context.sender}'s kernel refusing that (RFC 9293"
        f" section 3.5.1): {passive_form(context)}"
    )
    again = next((s for s in context.later if s.syn and s.side is context.sender), None)
    if again is not None:
        waited = _seconds((again.time_ns - syn.time_ns) / 1e9)
        yield f"the {context.sender} sends its SYN again after {waited} (packet {again.number})"


def still_connecting(context: ResetContext) -> str:
    """What it answers came before its connection was there."""
    return (
        f"the {context.sender} had sent nothing but its SYN: it had no connection yet that this"
        " could belong to"
    )


def only_shook_hands(context: ResetContext) -> str:
    """It may be a listener that took nothing more."""
    return (
        f"the {context.sender} has sent nothing but its SYN-ACK: a full accept queue"
        " (tcp_abort_on_overflow) looks the same"
    )


def rewritten(found: Rewritten) -> str:
    """Whose connection this one goes on with, naming both ports."""
    was = found.was
    return (
        f"{found.now} never did a handshake here; its numbers continue the connection"
        f" {was.client} > {was.server} (next bytes {was.client_next} and"
        f" {was.server_next}): the client's address was rewritten on the way, its NAT"
        " state was lost"
    )


MADE_ON_THE_WAY = (
    "both sides of the router were captured, and the RST is on the client's side alone: the server"
    " never sent it"
)


def renamed(client: str, renaming: Renaming) -> str:
    """Under which names a connection reached the server, and what that drew."""
    answer = ""
    if renaming.reset is not None:
        answer = f", and the server answers with the RST in packet {renaming.reset}"
    return (
        f"{client} reached the server as {renaming.before}; with the NAT entry gone its next packet"
        f" (server-side packet {renaming.packet}) came from {renaming.after}, which never made a"
        f" handshake{answer}"
    )


def no_row(context: ResetContext) -> str:
    """Nothing that is known looks like it."""
    return f"packet {context.rst.number} matches no known pattern"


def missing(context: ResetContext) -> str:
    """What the capture lacks."""
    if context.peer_unseen:
        before = " before it" if any(s.side is not context.sender for s in context.later) else ""
        lacks = f"the capture holds nothing of the {context.sender.peer}'s direction{before}"
    elif any(s.syn for s in context.prior):
        lacks = "the capture has holes"
    else:
        lacks = "the capture does not hold the beginning of the connection"
    return f"{lacks}, so this is less sure than it looks"


def by_control(control: Control) -> str:
    """What the control said."""
    how = "is reset as well" if control.resets else "ends without a reset"
    often = f"({control.trials} of {control.trials} trials)"
    return f"the control '{control.name}', which leaves nothing unread, {how} {often}"


def always_resets(aborts: int) -> str:
    """What the server does on connections with nothing unread."""
    return (
        "this server resets every connection that it closes, also where it had read everything"
        f" ({aborts} trials of this run)"
    )


RESETS_BEHIND_FIN = (
    "in this run the server also resets behind its FIN where it had read everything, so that it may"
    " do so on purpose"
)


def resets_upon_notice(aborts: int, trials: int) -> str:
    """What the server does upon a close_notify alone."""
    return (
        f"a close_notify alone draws a reset from this server although it was read ({aborts} of"
        f" {trials} trials of this run)"
    )


def alert_in(segment: Segment, record: Record) -> str:
    """A record that is taken for an alert, though nobody may have read it."""
    surely = "" if record.alert is not None else ", probably"
    if record.kind is RecordKind.CLOSE_NOTIFY:
        return f"packet {segment.number} ends with the {record.side}'s close_notify{surely}"
    return (
        f"packet {segment.number} ends with an alert of the {record.side} other than"
        f" close_notify{surely}: the {record.side} refused what it had received, such as a"
        " certificate"
    )


# --- signs and notes ------------------------------------------------------------------------------


def note(sign: str) -> str:
    """What is worth knowing and proves nothing."""
    return f"note: {sign}"


def text_of(rst: Segment) -> str:
    """What an RST carries, as text; bytes that are not text are escaped."""
    return rst.payload.decode("utf-8", "backslashreplace").strip("\0 \r\n")


def carries(rst: Segment) -> str:
    """The text in the RST itself."""
    text = text_of(rst)
    if not text:
        return (
            f"packet {rst.number} carries {_bytes(rst.length)}, which do not belong to the stream"
        )
    if not rst.length:
        return f'the machine that made packet {rst.number} says why: "{text}"'
    cut = "..." if rst.length > len(rst.payload) else ""
    return f'packet {rst.number} carries a text that does not belong to the stream: "{text}{cut}"'


def other_ttl(rst: Segment, ttls: set[int]) -> str:
    """Its TTL is not the sender's."""
    usual = "/".join(map(str, sorted(ttls)))
    return f"packet {rst.number} has TTL {rst.ttl}, the {rst.side}'s others have {usual}"


def other_id(rst: Segment, last: Segment) -> str:
    """Its IP ID is not the sender's next."""
    return f"its IP ID {rst.ip_id} does not follow {last.ip_id}"


def other_df(rst: Segment) -> str:
    """Its DF bit is not the sender's."""
    df = int(rst.df or 0)
    return f"its DF bit is {df}, that of the {rst.side}'s others {1 - df}"


def live_window(rst: Segment) -> str:
    """An answer of a kernel has no window."""
    return f"packet {rst.number} has no ACK flag and a window of {rst.window}, not 0"


def no_timestamps(rst: Segment) -> str:
    """It lacks the option that all others have; some systems leave it out of an RST."""
    return f"packet {rst.number} has no TCP timestamps, the {rst.side}'s others have them"


def other_numbers(other: Segment) -> str:
    """A second decision says something else."""
    return f"packet {other.number} is an RST of the same kind with other numbers"


def goes_on_sending(rst: Segment) -> str:
    """The sender does not know of it."""
    return f"the {rst.side} continues sending data after it"


NO_HOP_LIMIT = (
    "the input shows no hop limit (TTL), which would tell whether the sender's own machine made it"
)

NUMBER_OF_NOBODY = (
    "its sequence number is neither the sender's next byte nor one that the peer acknowledged"
)


NOT_NEXT_BYTE = "its sequence number is not its sender's next byte"


def too_soon(trigger: Segment) -> str:
    """No answer travels so fast."""
    return f"it follows packet {trigger.number} sooner than the shortest round trip that was seen"


def known_timer(silence: float, seconds: int, whose: str) -> str:
    """It came when something in between forgets."""
    return f"it came after {silence:.1f} s of silence; {seconds} s is {whose}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _packets(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"packet {numbers[0]}"
    return f"packets {numbers[0]} to {numbers[-1]}" if numbers else "no packet of its own"


def beside_a_box(foreign: int) -> str:
    """That a box on the way was caught at it elsewhere in the run."""
    return (
        f"in {foreign} trials of this run such an RST bore signs of another machine: something"
        " between client and server makes them"
    )
