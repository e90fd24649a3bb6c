"""What a server sends after our close_notify."""

from __future__ import annotations

from tlsprobe.model.trace import Drive, Record, RecordKind, RemarkKind, Side

_NO_ANSWER = frozenset(
    {
        *(RemarkKind.GOAWAY, RemarkKind.NOTICE_OF_DISCONNECTION),
        *(RemarkKind.CONNECTION_CLOSE, RemarkKind.CLOSE_FRAME),
    }
)
"""Remarks that are messages of their own and answer no request."""


def is_our_notice(record: Record) -> bool:
    """Whether it is a close_notify of ours."""
    return record.kind is RecordKind.CLOSE_NOTIFY and record.side is Side.CLIENT


def unasked(drive: Drive) -> int:
    """How many messages of the server answer nothing: what it says about the connection itself."""
    return sum(remark.kind in _NO_ANSWER for remark in drive.remarks)


def spoke_behind(drive: Drive) -> bool:
    """Whether data of the server came after our close_notify, beyond what it says unasked."""
    since = next((r.time_ns for r in drive.records if is_our_notice(r)), None)
    if since is None:
        return False
    late = (r for r in drive.records if r.side is Side.SERVER and r.time_ns > since)
    said = {RecordKind.DATA, RecordKind.PLAIN}  # some take the alert for the end of TLS alone
    return sum(r.kind in said for r in late) > unasked(drive)
