"""The pages in ``docs/reference`` that say what the code says: made from it, committed.

``python -m tests.docs.reference`` writes them anew; ``test_reference.py`` holds that they are what
the code gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.docs.markdown import anchor, plain, table
from tests.docs.python_reference import python_page
from tlsprobe.catalogue import Entry, catalogue
from tlsprobe.cli.verbs import VERBS, load
from tlsprobe.judge.rules import RULES, Rule
from tlsprobe.keys import shown
from tlsprobe.language import format_groups, grammar
from tlsprobe.model.alerts import DESCRIPTIONS, LEVELS
from tlsprobe.model.causes import Cause, CauseRow, Remedy
from tlsprobe.model.profile import Profile
from tlsprobe.model.sequence import Awaited, Signal
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import PROTOCOLS, protocol_of
from tlsprobe.report.schema import SCHEMAS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

MADE = "<!-- Made from the code: python -m tests.docs.reference -->\n"
_ALSO = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")


def pages() -> dict[str, str]:
    """What each page says, by the name of its file."""
    return {f"{name}.md": page(name) for name in PAGES}


def page(name: str) -> str:
    """What one of them says."""
    return _page(PAGES[name]())


def write() -> None:
    """Write every page."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _page(lines: Iterable[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join([MADE, *lines])).rstrip() + "\n"


# -- commands --------------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield "# Commands and their options"
    yield ""
    yield (
        "What `--help` says, of every command. `-h` is short for `--help`, and `tlsprobe --version`"
        " prints the version. What a command found goes to standard output, everything else to"
        " standard error. Exit codes are in the text of each command; 130 means interrupted."
    )
    for verb in VERBS:
        command = load(verb)
        inner = getattr(command, "commands", {})
        yield from _command(f"tlsprobe {verb}", command)
        for name, one in inner.items():
            yield from _command(f"tlsprobe {verb} {name}", one)


def _command(words: str, command: Any) -> Iterator[str]:
    yield f"\n## {words}\n"
    context = command.make_context(words, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"`{words} {usage}`\n"
    for paragraph in (command.help or "").split("\n\n"):
        text = " ".join(paragraph.replace("\b", "").split())
        lead, example, line = text.partition("Example: ")
        yield f"{lead}{example}`{line}`\n" if example and not lead else f"{_prose(text)}\n"
    offered = [one for one in command.params if not one.hidden and "--help" not in one.opts]
    yield from _arguments([one for one in offered if one.param_type_name == "argument"])
    yield from _options([one for one in offered if one.param_type_name == "option"])


def _arguments(arguments: list[Any]) -> Iterator[str]:
    if arguments:
        rows = ((f"`{one.metavar or one.name.upper()}`", _prose(one.help)) for one in arguments)
        yield from table(("argument", "meaning"), rows)


def _options(options: list[Any]) -> Iterator[str]:
    by_panel: dict[str, list[Any]] = {}
    for one in options:
        by_panel.setdefault(one.rich_help_panel or "General", []).append(one)
    if by_panel:
        yield from table(
            ("option", "meaning"),
            (
                (_named(one), _prose(one.help) + _default(one))
                for found in by_panel.values()
                for one in found
            ),
        )


def _named(option: Any) -> str:
    names = ", ".join(f"`{word}`" for word in [*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} `{_operand(option)}`"


def _operand(option: Any) -> str:
    """What stands behind an option: its metavar, its choices, or what its type is written as."""
    if option.metavar:
        return str(option.metavar)
    kind = re.sub(r"^<|>.*$", "", str(option.make_metavar(None))).removesuffix(" range")
    return _OPERANDS.get(kind, kind)


_OPERANDS = {"str": "TEXT", "int": "N", "float": "N", "path": "FILE", "Path": "FILE"}


def _default(option: Any) -> str:
    value = option.default
    if option.is_flag or value is None or "efault" in (option.help or ""):
        return ""
    return f" Default: {value:g}." if isinstance(value, float) else f" Default: {value}."


def _prose(text: str | None) -> str:
    return _ALSO.sub(r"`\1`", plain(" ".join((text or "").split())))


# -- rules and causes ------------------------------------------------------------------------------


def _rules() -> Iterator[str]:
    yield "# Rules"
    yield ""
    yield (
        "What a close is judged by; `tlsprobe rules ID` prints one. A **MUST** that is broken is"
        " `fail`. A broken **SHOULD** is `warn`, and so is a broken rule of level **interop**,"
        " which no standard makes: a close that hurts somebody although it is allowed. What is"
        " **info** is told and fails nothing. A **check** is about tlsprobe itself. *Checked*"
        " means that the sentence was compared with the text of the source."
    )
    rows = ((_rule_link(r.id), str(r.level), r.binds, _source(r)) for r in RULES.values())
    yield from table(("rule", "level", "binds", "source"), rows)
    for rule in RULES.values():
        yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    yield f"\n## {rule.id}\n"
    yield f"{plain(rule.text)}\n"
    only = [f"TLS {rule.tls}"] if rule.tls else []
    only += [", ".join(rule.protocols)] if rule.protocols else []
    deciders = [e.sequence.name for e in catalogue().values() if rule.id in e.decides]
    by = ", ".join(map(_sequence_link, deciders)) or "every sequence"
    yield f"- level: {rule.level}"
    yield f"- binds: {rule.binds}"
    yield f"- source: {_source(rule)}{' (checked)' if rule.checked else ''}"
    yield from ([f"- applies to: {'; '.join(only)}"] if only else [])
    yield f"- decided by: {by}"
    if rule.remedy is not None:
        yield from _remedy("", rule.remedy)


def _source(rule: Rule) -> str:
    return plain(rule.source)


def _remedy(whose: str, remedy: Remedy) -> Iterator[str]:
    yield f"- hurts{whose}: {plain(remedy.hurts)}"
    yield f"- what helps{whose}:"
    yield from (f"    - {plain(sentence)}" for sentence in remedy.sentences)


def _causes() -> Iterator[str]:
    yield "# Causes of an RST"
    yield ""
    yield (
        "Why an RST was sent. How each is recognised from packets is in"
        " [Reading an RST](../../ARCHITECTURE.md#reading-an-rst); the kernel's reasons are those of"
        " Linux, as the tracepoint `tcp:tcp_send_reset` names them. *Sender* is the end that sent"
        " the RST, or in whose name it came."
    )
    rows = (
        (f"[`{cause}`](#{anchor(cause)})", plain(cause.row.meaning), _when(cause.row))
        for cause in Cause
    )
    yield from table(("cause", "meaning", "where it stands"), rows)
    for cause in Cause:
        yield from _cause(cause)


def _when(row: CauseRow) -> str:
    words = {True: "before a FIN of its sender", False: "after its sender's FIN", None: "either"}
    return words[row.before_fin]


def _cause(cause: Cause) -> Iterator[str]:
    row = cause.row
    yield f"\n## {cause}\n"
    yield f"{plain(row.meaning[0].upper() + row.meaning[1:])}.\n"
    yield f"- stands: {_when(row)}"
    if row.prescribed:
        yield "- TCP asks for it (RFC 9293 section 3.6.1): the fault, if any, is the program's"
    if not row.by_sender:
        yield "- made by a box in between, or by a host that knew no such connection"
    if row.kernel:
        yield f"- the kernel says: {', '.join(f'`{word}`' for word in row.kernel)}"
    alike = ", ".join(f"[`{word}`](#{anchor(word)})" for word in row.alike)
    yield from ([f"- can be taken for: {alike}"] if alike else [])
    if row.server == row.client:
        yield from _remedy("", row.server)
    else:
        yield from _remedy(", as the server's", row.server)
        yield from _remedy(", as the client's", row.client)


# -- sequences -------------------------------------------------------------------------------------


def _sequences() -> Iterator[str]:
    yield "# Sequences"
    yield ""
    yield (
        "The closes that tlsprobe knows by name; `tlsprobe sequences NAME` prints one. A chapter's"
        " name works with `--sequence` too. The steps are in [the language](language.md) that you"
        " can write your own in."
    )
    chapters = groupby(catalogue().values(), lambda entry: entry.group)
    for group, entries in chapters:
        yield f"\n## {group}\n"
        for entry in entries:
            yield from _sequence(entry)


def _sequence(entry: Entry) -> Iterator[str]:
    yield f"\n### {entry.sequence.name}\n"
    yield f"`{format_groups(entry.sequence.groups)}`\n"
    yield f"{plain(entry.asks)} {plain(entry.why)}\n"
    yield f"- who closes like that: {entry.who}: {plain(entry.example)}"
    rules = ", ".join(map(_rule_link, entry.decides))
    yield f"- decides: {rules or 'nothing by itself; it shows in the next connection'}"


def _rule_link(rule: str) -> str:
    return f"[{rule}](rules.md#{anchor(rule)})"


def _sequence_link(name: str) -> str:
    return f"[{name}](sequences.md#{anchor(name)})"


def _language() -> Iterator[str]:
    yield "# The language of sequences"
    yield ""
    yield (
        "A sequence is one line. Steps are separated by `;`, and steps joined by `+` leave in one"
        " TCP segment. A wait is a duration (`200us`, `5ms`, `1.5s`), or `idle` for the run's"
        " `--idle-limit`; without one it is the run's `--patience`. Words in square brackets may be"
        " left out. `string` is text in double quotes, with `\\n`, `\\x00` and the like."
    )
    events = ", ".join(f"`{event}`" for event in Awaited)
    yield f"\nAn event is one of {events}. Every wait also ends when the connection does.\n"
    levels, names = (
        " or ".join(f"`{w}`" for w in LEVELS),
        ", ".join(f"`{w}`" for w in DESCRIPTIONS),
    )
    yield f"\nA level is {levels}; a name is that of an alert, one of {names}.\n"
    signals = ", ".join(f"`{what}`" for what in Signal)
    yield f"\nWhat the server's process is told is one of {signals}; the profile says how.\n"
    rows = ((f"`{written}`", plain(meaning)) for written, meaning in grammar())
    yield from table(("step", "does"), rows)
    yield (
        "`sleep` reads meanwhile, but for less than 3 ms it only waits. `answer` sends a record"
        " that was made beforehand. `meet` without a distance goes from 5 ms before to 2 ms after,"
        " trial by trial.\n"
    )
    yield "The forms of a step:\n"
    rows = ((f"`{word}`", meaning) for word, meaning in _FORMS.items())
    yield from table(("form", "meaning"), rows)
    yield "Give a sequence of your own as an argument, or the path of a file that holds it:\n"
    yield "<!-- not run: it takes a server of yours -->"
    yield "```sh"
    yield "tlsprobe run --target db.example:5432 --profile postgres \\"
    yield "    --sequence 'request; terminate + close_notify; sleep 5ms; fin; drain'"
    yield "```"


_FORMS = {
    "large": "a request for a large response",
    "part": "the first half of it",
    "cut": "a TLS record of which only the first half is ever sent",
    "split": "the whole, in two segments",
    "upload": "a request with a large body, which the server is expected to refuse",
}


# -- profiles --------------------------------------------------------------------------------------


def _profiles() -> Iterator[str]:
    yield "# Profiles"
    yield ""
    yield (
        "What is known about a kind of server before it is measured: what it speaks, on which port,"
        " after how long it ends an idle connection. `tlsprobe profiles NAME` prints one in full."
        " Without `--profile` tlsprobe goes by the port. [Write a profile of your"
        " own](../how-to/own-profile.md) says how to make another."
    )
    shipped = [load_profile(name) for name in list_profiles()]
    rows = (
        (f"`{p.name}`", plain(p.title), plain(protocol_of(p).name), str(p.port), _idle(p))
        for p in shipped
    )
    yield from table(("profile", "server", "adapter", "port", "idle timeout"), rows)


def _idle(profile: Profile) -> str:
    return "" if profile.idle_s is None else f"{profile.idle_s:g} s"


def _profile_keys() -> Iterator[str]:
    yield "# Keys of a profile"
    yield ""
    yield (
        "The `[protocol]` table of a `profile.toml`, adapter by adapter: which keys there are and"
        " what stands where a key is left out. A key that is wrong is named in the error, with what"
        " to write instead, all of them at once."
    )
    for name, protocol in PROTOCOLS.items():
        yield f"\n## {name}\n"
        yield f"{plain(protocol.title[0].upper() + protocol.title[1:])}.\n"
        rows = (
            (f"`{key}`", plain(entry.help), _default_of(protocol.settings, key))
            for key, entry in protocol.keys.items()
        )
        yield from (table(("key", "meaning", "default"), rows) if protocol.keys else ())


def _default_of(settings: type, field: str) -> str:
    """What stands in the place of a key that is left out."""
    (found,) = (one for one in fields(settings) if one.name == field)
    if found.default is not MISSING:
        return f"`{shown(found.default)}`"
    return (
        f"`{shown(found.default_factory())}`"
        if found.default_factory is not MISSING
        else "required"
    )


# -- documents -------------------------------------------------------------------------------------


def _schemas() -> Iterator[str]:
    yield "# Documents and their schemas"
    yield ""
    yield (
        "What `--json` prints and results folders hold. `tlsprobe schema NAME` prints the JSON"
        " Schema (2020-12), made from the types that write the document. Documents gain fields"
        " freely, so a reader must accept fields that it does not know; a field whose meaning"
        " changes takes a new number in `schema`."
    )
    for name, make in SCHEMAS.items():
        schema = make()
        yield f"\n## {name}\n"
        yield f"`{schema['$id']}`: {plain(schema['title'])}. `tlsprobe schema {name}`\n"
        yield from _fields(schema)
        for kind, definition in sorted(schema.get("$defs", {}).items()):
            if "properties" in definition:
                yield f"\n### {kind} in {name}\n"
                yield from _fields(definition)


def _fields(definition: Mapping[str, Any]) -> Iterator[str]:
    if said := definition.get("description", ""):
        yield f"{_described(said)}\n"
    required = definition.get("required", ())
    rows = (
        (f"`{key}`", _type_of(value), "always" if key in required else "")
        for key, value in definition["properties"].items()
    )
    yield from table(("field", "type", "there"), rows)


def _described(text: str) -> str:
    """A docstring, whose names in code style stay as they are."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part.startswith("`") else plain(part) for part in parts)


def _type_of(schema: Mapping[str, Any]) -> str:
    """A type in a few words."""
    match schema:
        case {"$ref": place}:
            return str(place).rpartition("/")[2]
        case {"anyOf": kinds} | {"oneOf": kinds}:
            return " or ".join(map(_type_of, kinds))
        case {"const": _} | {"enum": _}:
            values = schema.get("enum", [schema.get("const")])
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": inner}:
            return f"list of {_type_of(inner)}"
        case {"type": "object", "additionalProperties": {} as inner}:
            return f"object of {_type_of(inner)}"
    return str(schema.get("type", "anything"))


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "commands": _commands,
    "rules": _rules,
    "causes": _causes,
    "sequences": _sequences,
    "language": _language,
    "profiles": _profiles,
    "profile-keys": _profile_keys,
    "schemas": _schemas,
    "python": python_page,
}


if __name__ == "__main__":
    write()
