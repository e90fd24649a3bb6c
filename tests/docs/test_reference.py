"""The reference pages are what the code gives; ``python -m tests.docs.reference`` writes them."""

from __future__ import annotations

import pytest

from tests.docs.reference import FOLDER, PAGES, page
from tests.docs.sessions import Block, comparable, missing_part, session


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_gives(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text(encoding="utf-8") == page(name)


SHOWN = """\
$ tlsprobe run \\
      --trials 2
sequence  TLS 1.2 TLS 1.3
...
   409 µs  client ──▶ server  G  #279
$ echo $?
1
"""


def test_a_session_is_taken_apart() -> None:
    first, second = session(Block("console", SHOWN, ""))
    assert first.command == "tlsprobe run \\\n      --trials 2"
    assert first.printed == ("sequence TLS 1.2 TLS 1.3", "TIME client ──▶ server G #NUMBER")
    assert second.command == "echo $?"


def test_what_is_printed_otherwise_is_found() -> None:
    (first, _) = session(Block("console", SHOWN, ""))
    printed = "sequence TLS 1.2  TLS 1.3\nmore\n 3.2 ms client ──▶ server  G  #1\n"
    assert missing_part(first, printed) is None
    assert missing_part(first, printed.replace("G", "N")) == first.printed[1]
    assert missing_part(first, printed.replace("1.3", "1.2")) == first.printed[0]


def test_numbers_and_times_do_not_count() -> None:
    assert comparable("at 127.0.0.1:38023, 10/10,  1.00 s") == "at NUMBER, NUMBER, TIME"
