"""``--sequence``: a name, the steps, or a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.catalogue import catalogue, find_sequence
from tlsprobe.errors import SequenceError, UsageError
from tlsprobe.language import parse


def test_by_name() -> None:
    for name, entry in catalogue().items():
        assert find_sequence(name) is entry.sequence


def test_by_steps() -> None:
    assert find_sequence("request; fin;drain") == parse("request; fin; drain")


@pytest.mark.parametrize("steps", ["; ".join(["send"] * 100), f'send "{"x" * 5000}"; fin'])
def test_steps_may_be_longer_than_the_name_of_a_file(steps: str) -> None:
    assert find_sequence(steps) == parse(steps)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "terminate-close-notfy",
            "no sequence 'terminate-close-notfy'",
            "'terminate-close-notify'?",
        ),
        ("idle-expirey", "no sequence 'idle-expirey'", "did you mean 'idle-expiry'?"),
        ("clientfirst", "no sequence 'clientfirst'", "did you mean 'client-first'?"),
        ("nosuch", "no sequence 'nosuch'", "'tlsprobe sequences' lists the names"),
        ("./file.seq", "no file './file.seq'", "steps are separated by ';'"),
        ("no-such-thing", "no sequence 'no-such-thing'", "'tlsprobe sequences' lists the names"),
        ("request; closenotify", "found 'closenotify'", "did you mean 'close_notify'?"),
        ("close_notfy", "found 'close_notfy'", "did you mean 'close_notify'?"),
        ("", "expected a verb", "the verbs are"),
    ],
)
def test_what_is_not_found(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_sequence(text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.slow
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300))
def test_any_text_is_found_or_refused(text: str) -> None:
    try:
        assert find_sequence(text).groups
    except UsageError as error:
        assert error.message


# --- files --------------------------------------------------------------------------------------


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_a_toml_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", 'steps = "request; fin; drain"\nname = "my close"\n')
    assert find_sequence(path) == parse("request; fin; drain", "my close")


def test_a_toml_file_without_a_name_gives_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", 'steps = "fin; drain"\nseed = 1\n')
    assert find_sequence(path) == parse("fin; drain", "mine")


@pytest.mark.parametrize("name", ["mine.txt", "mine"])
def test_a_text_file_holds_the_steps(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\n  request;\n  fin;\n  drain\n")
    assert find_sequence(path) == parse("request; fin; drain", "mine")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b'name = "x"', "the key 'steps' is missing or not a string"),
        ("a.toml", b'steps = ["fin"]', "the key 'steps' is missing or not a string"),
        ("a.toml", b"steps = fin", "a.toml: "),
        ("a.toml", b'steps = "fin"\nsteps = "fin"', "a.toml: "),
        ("a.toml", b'steps = "\xff"', "cannot read the sequence file"),
        ("a.txt", b"fin; \xff\xfe", "cannot read the sequence file"),
        ("a.toml", b'steps = "fin; bogus"', "expected a verb, found 'bogus' (column 6)"),
        ("a.txt", b"", "expected a verb here (column 1)"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_sequence(write(tmp_path / name, content))
    assert message in caught.value.message
    if not isinstance(caught.value, SequenceError):
        assert name in caught.value.message


@pytest.mark.parametrize("name", ["none.toml", "none.txt", "folder.toml"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match="cannot read the sequence file") as caught:
        find_sequence(str(tmp_path / name))
    assert name in caught.value.message
