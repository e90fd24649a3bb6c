"""Whether an RST hurts anybody: by its cause, by who sent it and by what drew it.

The sentences of `tlsprobe.judge.remedies` say whom; a test holds that both agree.
"""

from __future__ import annotations

from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Harm
from tlsprobe.model.judgement import Provoked, Reset
from tlsprobe.model.trace import Side

_HARM = {
    Cause.UNREAD_AT_CLOSE: Harm.ERROR,
    Cause.UNREAD_AFTER_FIN: Harm.NOBODY,
    Cause.DATA_AFTER_CLOSE: Harm.NOBODY,
    Cause.CLOSED_ALREADY: Harm.NOBODY,
    Cause.KEEPALIVE: Harm.NOBODY,
    Cause.NO_STATE: Harm.ERROR,
    Cause.DELIBERATE: Harm.ERROR,
    Cause.REFUSED: Harm.ERROR,
    Cause.MIDDLEBOX: Harm.ERROR,
    Cause.UNKNOWN: Harm.UNCLEAR,
}

_LOSES_DATA = frozenset({
    (Cause.UNREAD_AT_CLOSE, Side.SERVER),
    (Cause.UNREAD_AFTER_FIN, Side.SERVER),
    (Cause.DATA_AFTER_CLOSE, Side.SERVER),
    (Cause.DATA_AFTER_CLOSE, Side.CLIENT),
    (Cause.NO_STATE, Side.SERVER),
    (Cause.NO_STATE, Side.CLIENT),
})  # fmt: skip
"""Who, for which cause, loses what the peer had sent, if that was data."""

_MAY_MISS_IT = frozenset({
    (Cause.DATA_AFTER_CLOSE, Side.CLIENT),
    (Cause.DATA_AFTER_CLOSE, Side.SERVER),
    (Cause.UNREAD_AFTER_FIN, Side.SERVER),
})  # fmt: skip
"""Where the last bytes of the peer may have been wanted, or not, and nothing else is lost."""

_NO_CONNECTION = frozenset({Provoked.SYN, Provoked.BEHIND_RESET})
"""What reached a sender without the connection when there was none yet, or none any more."""


def harm_of(reset: Reset) -> Harm:
    """The worst that it does."""
    if not reset.heeded:
        return Harm.NOBODY  # its receiver went on
    if reset.provoked is Provoked.UNSEEN and reset.cause is Cause.DATA_AFTER_CLOSE:
        return Harm.UNCLEAR
    if reset.provoked is Provoked.LATE and (reset.cause, reset.side) in _MAY_MISS_IT:
        return Harm.UNCLEAR
    if reset.provoked is Provoked.DATA and (reset.cause, reset.side) in _LOSES_DATA:
        return Harm.LOST
    if reset.provoked is Provoked.BEHIND_RESET or (
        reset.cause is Cause.NO_STATE and reset.provoked in _NO_CONNECTION
    ):
        return Harm.NOBODY
    return _HARM[reset.cause]
