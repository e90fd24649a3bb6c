"""What a box on the way sees of our side without a look inside TLS, and could have acted upon."""

from __future__ import annotations

from collections.abc import Iterable

from tlsprobe.model.knowledge import Visible
from tlsprobe.model.trace import ALERTS, MESSAGES, Drive, EventKind, RecordKind, Segment, Side

_MUCH = 1 << 16
"""Bytes of a connection that nobody takes for requests alone."""

_ORDINARY = ALERTS | MESSAGES | {RecordKind.HANDSHAKE, RecordKind.PLAIN}


def visible(drive: Drive, prior: Iterable[Segment]) -> frozenset[Visible]:
    """What there was to be seen of ours in the packets ``prior``.

    In TLS 1.3 the type of a record is sealed, and its size tells what it is.
    """
    ours = [s for s in prior if s.side is Side.CLIENT and not s.rst]
    reach = max((s.end for s in ours), default=0)
    sent = [r for r in drive.records if r.side is Side.CLIENT and r.start < reach]
    opened = drive.mark.client if drive.mark is not None else reach
    alert = next((r.end for r in sent if r.kind in ALERTS), reach)
    whole = max((r.end for r in sent), default=reach)
    seen = {
        Visible.FIN: any(s.fin for s in ours),
        Visible.ALERT: any(r.kind in ALERTS for r in sent),
        Visible.BEHIND_ALERT: alert < reach,
        Visible.MUCH: reach > _MUCH,
        Visible.UNFINISHED: drive.did(EventKind.HANDSHAKEN) is None,
        Visible.ODD_RECORD: whole < reach
        or any(r.kind not in _ORDINARY for r in sent)
        or any(r.kind is RecordKind.HANDSHAKE and r.end > opened for r in sent),
    }
    return frozenset(what for what, is_seen in seen.items() if is_seen)
