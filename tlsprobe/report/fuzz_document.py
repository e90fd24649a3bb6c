"""The fuzz document and what goes with it: ``fuzz.json``, ``examples.jsonl``, ``fuzz-N.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tlsprobe.decoding import decoder
from tlsprobe.errors import UsageError
from tlsprobe.model.fuzz import Example, ExampleLine, FuzzFailure, FuzzRun, Replay
from tlsprobe.report.document import capture_document
from tlsprobe.spelling import speakable

FUZZ_FILE = "fuzz.json"
"""The fuzz document's name in a results folder."""

EXAMPLES_FILE = "examples.jsonl"
"""The name of the file with a line for each connection."""

_FACTS = ("schema", "tool", "started", "finished", "host", "target", "capture", "seed")
_COUNTS = ("properties", "examples", "connections", "unmeasured")
FUZZ_KEYS = (*_FACTS, *_COUNTS, "failures", "unrepeated", "ended_by", "starved", "coverage")
_FAILURE = ("property", "rule", "steps", "tls", "signature", "confirmed", "file", "cluster", "text")
FAILURE_KEYS = (*_FAILURE, "ladder")
_OPTIONAL = ("against", "interrupted", "notes", "command")
_ANSWER = ("unrepeated", "excused", "ended_by", "starved", "coverage")
_MORE = (
    *("cause", "also", "found", "examples", "seen", "shrunk", "ends", "suspects"),
    *("rate", "versions", "together", "beside", "beside_tls", "provoked", "kind_of_reset"),
    *("level", "other", "target", "waived", "like", "since"),
)

_encoder = msgspec.json.Encoder()
_decoder = decoder(ExampleLine)
_run_decoder = decoder(FuzzRun)


def encode_fuzz(run: FuzzRun) -> bytes:
    """The fuzz document as people open it."""
    return msgspec.json.format(encode_fuzz_line(run), indent=1) + b"\n"


def encode_fuzz_line(run: FuzzRun) -> bytes:
    """The fuzz document on one line, as ``--json`` prints it."""
    return _encoder.encode(fuzz_document(run)) + b"\n"


def encode_example(line: ExampleLine) -> bytes:
    """One line of ``examples.jsonl``, newline included."""
    return _encoder.encode(line) + b"\n"


def read_fuzz(folder: Path) -> tuple[FuzzRun, list[ExampleLine]]:
    """The document and the lines of a fuzz run's folder. Raises UsageError."""
    try:
        run = _run_decoder.decode((folder / FUZZ_FILE).read_bytes())
        lines = (folder / EXAMPLES_FILE).read_bytes().split(b"\n")[:-1]
        return run, [_decoder.decode(line) for line in lines]
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise UsageError(message, "give the folder of a fuzz run") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "restore the file from where it was written, or fuzz again"
        raise UsageError(f"{folder}: {FUZZ_FILE} or {EXAMPLES_FILE}: {error}", hint) from error


def fuzz_document(run: FuzzRun) -> dict[str, Any]:
    """The document as plain values, its keys in the order in which one reads them."""
    document: dict[str, Any] = speakable(msgspec.to_builtins(run))
    document["capture"] = capture_document(document["capture"])
    return {
        **{key: document[key] for key in (*_FACTS, *_COUNTS)},
        "failures": [_failure(failure) for failure in document["failures"]],
        **{key: document[key] for key in _ANSWER},
        **{key: document[key] for key in _OPTIONAL if document[key]},
    }


def failure_toml(failure: FuzzFailure, name: str, replay: Replay) -> str:
    """A failure as a file for ``tlsprobe run --sequence``, which says whether it still shows."""
    head = [
        f"# {failure.property} ({failure.rule}): {failure.text}",
        f"# broken in {failure.confirmed} runs; signature: {failure.signature}",
        f"# tlsprobe run --sequence {name}.toml: exit 1 if it shows again, 0 if it is cured",
    ]
    values: dict[str, object] = {
        "property": replay.property,
        "rule": replay.rule,
        "text": replay.text,
        "cause": replay.cause,
        "expect": replay.expect,
        "together": replay.example.together,
        **_beside(replay.example),
        "target": replay.target,
        "profile": replay.profile,
        "profile_text": replay.profile_text,
        "patience": replay.patience,
        "seed": replay.seed,
        "since": replay.since or None,
    }
    said = {key: value for key, value in values.items() if value not in {"", None}}
    how = [_entry(key, value) for key, value in said.items()]
    steps = _sequence(name, failure.steps, failure.tls)
    return "\n".join([*map(_comment, head), *steps[:-1], *how, ""])


def corpus_toml(example: Example, name: str, signature: str) -> str:
    """An interesting example as a file: for ``tlsprobe run --sequence`` and the next corpus."""
    head = _comment(f"# the first to show the signature: {signature}")
    crowd = [_entry("together", example.together)] if example.together > 1 else []
    beside = [_entry(key, value) for key, value in _beside(example).items()]
    return "\n".join([head, *crowd, *beside, *_sequence(name, example.steps, example.tls)])


def _sequence(name: str, steps: str, tls: str) -> list[str]:
    values = {"name": name, "steps": steps, "tls": tls}
    return [*(_entry(key, value) for key, value in values.items()), ""]


def _entry(key: str, value: object) -> str:
    """A line of TOML: what JSON writes for a text or a number is TOML too."""
    return f"{key} = {msgspec.json.encode(value).decode()}"


def _beside(example: Example) -> dict[str, str]:
    """What another connection does meanwhile; nothing without one."""
    other = example.beside
    return {} if other is None else {"beside": other.steps, "beside_tls": other.tls}


def _comment(line: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in line)


def _failure(failure: dict[str, Any]) -> dict[str, Any]:
    kept = {key: failure[key] for key in _FAILURE}
    kept |= {key: failure[key] for key in _MORE if failure[key] not in (None, [], {}, "")}
    if not failure["like"]:
        del kept["like"]
    kept |= {name: True for name in ("known", "shaped") if failure[name]}
    for name in ("ladder", "other"):
        lines = [{k: v for k, v in line.items() if v is not None} for line in failure[name]]
        kept |= {name: lines} if lines or name == "ladder" else {}
    return kept
