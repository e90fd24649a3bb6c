"""The page of one server: its closes in sentences, for people who have to live with it.

Every question gets a sentence. What was not measured is called so; from a server's documentation
come only the defaults, which are called documented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlsprobe.model.causes import Party, is_for
from tlsprobe.model.judgement import Outcome
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Cell, Run, Spread
from tlsprobe.model.trace import Side
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    Column,
    Field,
    Fields,
    Heading,
    Page,
    Paragraph,
    Table,
    Text,
)
from tlsprobe.report.compatibility import Vendor, asked
from tlsprobe.report.ending import NOT_MEASURED, Ending, by_tls, cells_of, ending_of, endings_of
from tlsprobe.report.glyphs import duration, seconds
from tlsprobe.report.plurals import counted
from tlsprobe.report.sentences import (
    count_verdicts,
    describe_capture,
    describe_host,
    describe_measurement,
    describe_races,
    idle_advice,
)
from tlsprobe.report.summary_table import safety_of

IDLE = {
    "after a request": "idle-expiry",
    "before the first request": "idle-before-request",
    "in the middle of a request": "idle-partial-request",
    "before the handshake": "idle-before-handshake",
}
"""When a connection may idle, and the sequence that waits there."""

LONGEST_MARGIN, MARGIN = 5.0, 0.1
"""How far below a server's timeout a client should stay: a tenth, and no more than 5 s."""

CLIENT_FIRST = (
    ("close-notify-fin", "close_notify and FIN one after the other"),
    ("close-notify-fin-coalesced", "close_notify and FIN in one segment"),
    ("close-notify-only", "close_notify and no FIN"),
    ("data-after-close-notify", "bytes after the close_notify"),
    ("fin-only", "a FIN without close_notify"),
)
"""What the client may do first, and the sequence that does it."""

GAPS = ("", "-1ms", "-50ms")
"""The gaps between goodbye and close_notify that the catalogue has."""


def vendor_page(vendor: Vendor, profile: Profile | None = None, command: str = "") -> Page:
    """The page of a vendor. ``command`` reproduces what it says."""
    if vendor.run is None:
        reason = vendor.reason or "no reason was given"
        return (
            Heading(1, vendor.title),
            Paragraph(f"It could not be measured here: {reason}."),
        )
    sections = vendor_sections(vendor, vendor.run, profile, command)
    return (
        Heading(1, title_of(vendor)),
        _lead(vendor.run),
        *(block for head, blocks in sections for block in (Heading(2, head), *blocks)),
    )


def title_of(vendor: Vendor) -> str:
    """What heads the page of a vendor."""
    return f"How {vendor.title} ends TLS connections"


IDLE_SECTION = "Idle connections"


def vendor_sections(
    vendor: Vendor, run: Run, profile: Profile | None, command: str
) -> tuple[tuple[str, Iterable[Block]], ...]:
    """Everything that is to be said of a server in words, each section with its heading."""
    return (
        (IDLE_SECTION, _idle(run, profile)),
        ("When the client says close_notify first", _client_first(run)),
        ("Half-close", _half_close(run)),
        ("Goodbye, and its own close answered", _goodbye(run)),
        ("What provokes an RST", _resets(run)),
        ("What it means for clients", _clients(run, profile)),
        ("What it means for forwarders", _forwarders(run)),
        ("What changes it", _directives(run, profile)),
        ("How this was measured", _measured(vendor, run, profile, command)),
    )


# --- The server -----------------------------------------------------------------------------------


def _lead(run: Run) -> Block:
    cells = asked(run)
    sequences = {cell.sequence for cell in cells}
    reset = {cell.sequence for cell in cells if _server_resets(cell)}
    return Paragraph(
        f"It was probed with {counted(len(sequences), 'sequence')}; {len(reset)} of them drew an"
        f" RST. Safe behind a forwarder: {safety_of(run)}. {count_verdicts([run]).capitalize()}."
        " Where no TLS version is named, all versions behaved the same."
    )


def _idle(run: Run, profile: Profile | None) -> Iterator[Block]:
    items: list[Text] = []
    for when, sequence in IDLE.items():
        by_version = [(cell.tls, _expiry(cell)) for cell in cells_of(run, sequence)]
        items.append(f"{when[0].upper()}{when[1:]}: {_versions(by_version)}")
    if profile and profile.idle_s is not None:
        source = f" ({profile.idle_source})" if profile.idle_source else ""
        items.append(f"Documented default: {seconds(profile.idle_s)}{source}.")
    if run.server and run.server.idle_s:
        lab = profile.lab if profile else None
        chosen = f"For the lab it was set to {seconds(run.server.idle_s)}"
        if lab and lab.idle_directive:
            items.append((f"{chosen} with ", Code(lab.idle_directive), "."))
        else:
            items.append(f"{chosen}.")
    yield BulletList(tuple(items))


def _expiry(cell: Cell) -> str:
    ending = ending_of(cell)
    if ending is None:
        return _unanswered(cell)
    if ending.is_open and not ending.events:
        return "it did not end the connection while we waited"
    return (
        f"it ended the connection{_after(cell.timing_us.get('idle_to_end'))} with {_said(ending)}"
    )


def _after(spread: Spread | None) -> str:
    if spread is None or not spread.n or spread.p50 is None:
        return ""
    between = ""
    if spread.n > 1 and spread.min is not None and spread.max is not None:
        between = f" ({duration(spread.min)} to {duration(spread.max)} in {spread.n} trials)"
    return f" after {duration(spread.p50)}{between}"


def _client_first(run: Run) -> Iterator[Block]:
    yield Paragraph(_answering(run))
    yield BulletList(
        tuple(f"After {ours}: {_ending(run, sequence)}" for sequence, ours in CLIENT_FIRST)
    )


def _answering(run: Run) -> str:
    names = ("close-notify-await", "close-notify-fin", "close-notify-only")
    endings = endings_of(run, names)
    if not endings:
        return "Whether it answers close_notify was not measured."
    answers = by_tls([(tls, _answers(ending)) for tls, ending in endings])
    return f"Does it answer a close_notify with its own? {answers[0].upper()}{answers[1:]}."


def _answers(ending: Ending) -> str:
    if "n" in ending.events:
        often = f", in {ending.count} of {ending.trials} trials" * (ending.count < ending.trials)
        return f"yes{often}"
    return f"no, it sends {_plain(ending)}" if ending.events else "no, it sends nothing"


def _half_close(run: Run) -> Iterator[Block]:
    items = []
    for sequence, owed in (
        ("half-close", "a response"),
        ("half-close-large", "a response of a megabyte"),
    ):
        by_version = [(cell.tls, _delivery(cell)) for cell in cells_of(run, sequence)]
        items.append(f"With {owed} owed when our close_notify arrives: {_versions(by_version)}")
    yield BulletList(tuple(items))


def _delivery(cell: Cell) -> str:
    ending = ending_of(cell)
    if ending is None:
        return _unanswered(cell)
    lost = cell.outcomes.get(Outcome.DATA_LOST, 0)
    if not lost:
        return (
            f"all of it was delivered in each of {ending.trials} trials; the end: {_said(ending)}"
        )
    return f"it did not arrive whole in {lost} of {ending.trials} trials; the end: {_said(ending)}"


def _goodbye(run: Run) -> Iterator[Block]:
    yield BulletList(tuple(_goodbyes(run)))


def _goodbyes(run: Run) -> Iterator[str]:
    yield f"After the protocol's goodbye alone: {_ending(run, 'terminate')}"
    for gap in GAPS:
        late = f" {gap[1:].replace('ms', ' ms')} later" if gap else " right after it"
        ending = _ending(run, f"terminate-close-notify{gap}")
        yield f"After the goodbye with a close_notify{late}: {ending}"
    for when, sequence in (
        ("after the goodbye", "server-close-reply"),
        ("at idle expiry", "idle-expiry-reply"),
    ):
        yield f"When its own close {when} is answered: {_ending(run, sequence)}"


# --- Resets ---------------------------------------------------------------------------------------


def _resets(run: Run) -> Iterator[Block]:
    cells = [cell for cell in asked(run) if _server_resets(cell)]
    if not cells:
        yield Paragraph("No sequence drew an RST.")
        return
    heads = ("sequence", "TLS", "in place of FIN", "after FIN", "cause", "on the wire")
    rows: dict[tuple[Text, ...], list[str]] = {}
    for cell in cells:
        rows.setdefault(_reset_fields(cell), []).append(cell.tls)
    yield Table(
        tuple(map(Column, heads)),
        tuple((first, ", ".join(tls), *rest) for (first, *rest), tls in rows.items()),
    )


def _reset_fields(cell: Cell) -> tuple[Text, ...]:
    server = cell.resets.server
    causes = "; ".join(
        f"{why.cause} ({why.confidence}, {why.count})" for why in cell.why if why.side == "server"
    )
    signature = max(cell.signatures.items(), key=lambda item: item[1], default=("", 0))[0]
    return (
        cell.sequence,
        _share(server.before_fin, cell.trials),
        _share(server.after_fin, cell.trials),
        causes or "not attributed",
        (Code(signature),) if signature else "not captured",
    )


def _share(count: int, trials: int) -> str:
    return f"{count}/{trials}" if count else "no"


def _server_resets(cell: Cell) -> int:
    return cell.resets.server.before_fin + cell.resets.server.after_fin


# --- Whom it concerns -----------------------------------------------------------------------------


def _clients(run: Run, profile: Profile | None) -> Iterator[Block]:
    yield from map(Paragraph, (*_what_readers_get(run), _safe_idle(run, profile)))
    yield from _advice(run, Party.CLIENT)
    yield from map(Paragraph, describe_races(run))


def _what_readers_get(run: Run) -> Iterator[str]:
    cells = [cell for cell in asked(run) if cell.resets.server.before_fin]
    if cells:
        yield f"A plain reader gets ECONNRESET where it expects EOF after: {_places(cells)}."
    else:
        yield "No reader got ECONNRESET: every connection that ended gave EOF."
    lost = [cell for cell in asked(run) if cell.outcomes.get(Outcome.DATA_LOST)]
    if lost:
        yield f"An owed response did not arrive whole in: {_places(lost)}."


def _safe_idle(run: Run, profile: Profile | None) -> str:
    if run.idle is None:
        return "How long a client may keep an idle connection was not measured."
    said = idle_advice(run.idle) or "it ended no idle connection while we waited"
    sentence = f"{said[0].upper()}{said[1:].rstrip('.')}."
    documented = profile.idle_s if profile else None
    if documented and run.idle.timeout_s is not None and documented > run.idle.timeout_s:
        safe = documented - min(LONGEST_MARGIN, documented * MARGIN)
        sentence += (
            f" By the same margin, that is {seconds(safe)} with the documented default of "
            f"{seconds(documented)}."
        )
    return sentence


def _forwarders(run: Run) -> Iterator[Block]:
    resets = any(cell.resets.server.before_fin for cell in asked(run))
    error = (
        "A forwarder that takes a read error for a dead tunnel closes it for all connections."
        if resets
        else "It causes no read error in a forwarder."
    )
    yield Paragraph(f"{_after_closes(run)} {error}")
    if resets:
        yield from _advice(run, Party.FORWARDER)


def _after_closes(run: Run) -> str:
    """Whether the path was alive after the closes."""
    checked = [cell for cell in asked(run) if cell.path_alive is not None]
    if not checked:
        return "Whether the path survives a close was not measured."
    if dead := [cell for cell in checked if cell.path_alive is False]:
        return f"The path was dead afterwards in: {_places(dead)}."
    return f"The next connection worked after every cell ({counted(len(checked), 'cell')})."


def _advice(run: Run, party: Party) -> Iterator[Block]:
    """What one party can do about the resets of the server that were seen, each thing once."""
    whys = (why for cell in asked(run) for why in cell.why if why.side == Side.SERVER)
    sentences = (sentence for why in whys for sentence in why.remedy)
    found = dict.fromkeys(sentence for sentence in sentences if is_for(party, sentence))
    if found:
        yield BulletList(tuple(found))


def _directives(run: Run, profile: Profile | None) -> Iterator[Block]:
    if profile is None or not profile.directives:
        yield Paragraph("The profile knows no directive that changes it.")
        yield from _advice(run, Party.SERVER)
        return
    lab = profile.lab
    if lab and lab.idle_directive:
        yield Paragraph(("The idle timeout is set by ", Code(lab.idle_directive), "."))
    yield BulletList(tuple((Code(d.name), f": {d.effect}") for d in profile.directives))
    yield from _advice(run, Party.SERVER)


def _measured(vendor: Vendor, run: Run, profile: Profile | None, command: str) -> Iterator[Block]:
    reproduce = command or " ".join(("tlsprobe run", *run.command) if run.command else ())
    notes = (*run.notes, *([run.server.notes] if run.server and run.server.notes else []))
    yield Fields(
        (
            Field("server", vendor.versions()),
            *([Field("calls itself", run.server_says)] if run.server_says else []),
            Field("probed from", describe_host(run)),
            Field("measured", describe_measurement(run)),
            Field("capture", describe_capture(run.capture)),
            *(Field("note", note) for note in notes),
            Field("command", (Code(reproduce),) if reproduce else "not recorded"),
        )
    )


# --- Words ----------------------------------------------------------------------------------------


def _ending(run: Run, sequence: str) -> str:
    by_version = []
    for cell in cells_of(run, sequence):
        ending = ending_of(cell)
        by_version.append((cell.tls, _said(ending) if ending else _unanswered(cell)))
    return _versions(by_version)


def _versions(by_version: list[tuple[str, str]]) -> str:
    """The TLS versions folded to one sentence, or one each."""
    if not by_version:
        return f"{NOT_MEASURED}."
    if len(by_version) > 1 and len({words for _, words in by_version}) == 1:
        return f"{by_version[0][1]}."
    return "; ".join(f"{words} (TLS {tls})" for tls, words in by_version) + "."


def _said(ending: Ending) -> str:
    """The ending in running text, with its counts."""
    if not ending.events:
        return "nothing: it stays open" if ending.outcome == Outcome.OPEN else "nothing"
    return ending.describe()


def _plain(ending: Ending) -> str:
    return {"f": "a bare FIN", "r": "an RST"}.get(ending.events, ending.describe())


def _unanswered(cell: Cell) -> str:
    reason = f": {cell.reason}" if cell.reason else ""
    return f"{cell.verdict}{reason}"


def _places(cells: list[Cell]) -> str:
    by_sequence: dict[str, list[str]] = {}
    for cell in cells:
        by_sequence.setdefault(cell.sequence, []).append(cell.tls)
    return ", ".join(f"{name} (TLS {' and '.join(tls)})" for name, tls in by_sequence.items())
