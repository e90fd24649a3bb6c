"""What the documents name is there: files, links, commands, options, sequences, profiles."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest

from tlsprobe.catalogue import find_sequences
from tlsprobe.cli.verbs import VERBS, load
from tlsprobe.profiles import load_profile

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
WITH_COMMANDS = [page for page in PAGES if page.name not in {"CHANGELOG.md", "commands.md"}]

INSIDE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:[\w.-]+/)+(?:[\w.*-]+\.(?:py|toml|md|json|csv))?|[\w-]+\.(?:py|toml)")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")
FENCE = re.compile(r"^```.*?$(.*?)^```$", re.MULTILINE | re.DOTALL)

MADE_BY_A_RUN = ("results/", "today", "baseline", "fuzz-")
PLACEHOLDERS = ("NAME", "VERB", "DIR", "<", "*")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def paths(page: Path) -> Iterator[str]:
    """Everything in code style that looks like a file or a folder of the project."""
    for span in INSIDE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if PATH.fullmatch(span) and not any(word in span for word in PLACEHOLDERS):
            yield span


@cache
def files() -> frozenset[str]:
    """Every file and folder of the project, as a path from its top."""
    top = ("tlsprobe", "tests", "profiles", "docs", "results", ".ci")
    found = [path for folder in top for path in (ROOT / folder).rglob("*")]
    found += [ROOT / folder for folder in top] + list(ROOT.glob("*.*"))
    return frozenset(f"/{path.relative_to(ROOT)}{'/' * path.is_dir()}" for path in found)


def is_there(path: str) -> bool:
    """Whether some file ends like this: documents leave out ``tlsprobe/``, or the folder."""
    return any(known.endswith(f"/{path}") for known in files())


@pytest.mark.slow
@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=name)
def test_every_path_is_there(page: Path) -> None:
    """ARCHITECTURE.md, "Where a wrong verdict is mended", names rooms that exist."""
    named = set(paths(page))
    assert len(named) > 20
    assert [path for path in sorted(named) if not is_there(path)] == []


def test_every_room_has_its_line() -> None:
    """ARCHITECTURE.md, "Rooms": in full, folders and files of the package."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = text.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    package = ROOT / "tlsprobe"
    there = {f"{place.parent.name}/" for place in package.glob("*/__init__.py")}
    there |= {file.name for file in package.glob("*.py") if not file.name.startswith("__")}
    assert set(re.findall(r"^\| `([^`]+)` \|", rooms, re.MULTILINE)) == there


CITED = re.compile(r"(ARCHITECTURE|CONTRIBUTING)\.md, ((?:\"[^\"]+\"(?:,| and)?\s*)+)")
"""How a test, or the code, says which section it holds: the page, and headings in quotes."""


def cited() -> Iterator[tuple[Path, str, str]]:
    """Each file that cites a section, with the page and the heading."""
    for folder in ("tests", "tlsprobe"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for page, headings in CITED.findall(file.read_text(encoding="utf-8")):
                for heading in re.findall(r"\"([^\"]+)\"", headings):
                    yield file, f"{page}.md", " ".join(heading.split())


def headings_of(page: str) -> set[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return set(re.findall(r"^##+ (.+)$", text, re.MULTILINE))


def test_every_section_that_is_cited_is_there() -> None:
    missing = [one for one in cited() if one[2] not in headings_of(one[1])]
    assert missing == []


def test_what_architecture_says_is_held_by_tests() -> None:
    """Each section with claims about the code or the wire is cited by a test that holds them."""
    tests = ROOT / "tests"
    held = {heading for file, _, heading in cited() if tests in file.parents}
    introductions = {"The theory of a close", "Glossary"}
    assert headings_of("ARCHITECTURE.md") - held == introductions


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for place, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        aim = (page.parent / place).resolve() if place else page
        assert aim.exists(), place
        if anchor:
            assert anchor[1:] in anchors(aim), (place, anchor)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The headings as forges make anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w -]", "", heading) for heading in headings)
    return frozenset(heading.lower().replace(" ", "-") for heading in plain)


# --- commands -------------------------------------------------------------------------------------


def typed(page: Path) -> Iterator[str]:
    """The commands in the blocks of a page, continued lines as one.

    What a command printed is no command, though it may name one.
    """
    for block in FENCE.findall(page.read_text(encoding="utf-8")):
        shown = [line for line in block.replace("\\\n", " ").splitlines() if "tlsprobe " in line]
        for line in [one for one in shown if one.startswith("$")] or shown:
            if (found := re.search(r"(?:^|\s)(?:\S+/)?(tlsprobe \S.*)$", line)) is not None:
                yield found[1]


def lines(page: Path) -> Iterator[str]:
    """The commands of a page: in its blocks, and in the text where they begin with the program."""
    yield from typed(page)
    for span in INSIDE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if span.startswith("tlsprobe "):
            yield span


OF_THE_PROGRAM = {"--help", "--version", "--install-completion", "--show-completion"}


loaded = cache(load)
"""The command of a verb; it takes longer to make one than to look at a page."""


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words call, and what is left of them."""
    verb, *rest = words
    assert verb in VERBS, verb
    found = loaded(verb)
    inner = getattr(found, "commands", None)
    if verb == "fleet" and inner and rest and rest[0] not in inner:
        return inner["run"], rest
    if inner and rest and not rest[0].startswith("-"):
        assert rest[0] in inner, rest[0]
        return inner[rest[0]], rest[1:]
    return found, rest


def options_of(command: Any) -> set[str]:
    return {word for one in command.params for word in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_every_command_can_be_typed(page: Path) -> None:
    """Its verb and its options exist, and so do the sequences and profiles that it names."""
    own = {f"./{file}": file for file in re.findall(r"<!-- file: (\S+) -->", page.read_text())}
    shown = {*own, *own.values(), *PLACEHOLDERS}
    for line in lines(page):
        words = shlex.split(line, comments=True)[1:]
        if words[0] in OF_THE_PROGRAM or "..." in words:
            continue
        command, rest = command_of(words)
        known = options_of(command)
        for word, following in pairwise([*rest, ""]):
            if word.startswith("--") and word != "--help":
                assert word in known, (line, word)
            if following in shown:
                continue
            if word == "--sequence" and not following.startswith("results/"):
                assert find_sequences(following), line
            if word == "--profile":
                load_profile(following)


SHELL = {"|", ">", "&&", "2>/dev/null"}
"""Where a command ends and the shell's own words begin."""


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_the_command_line_takes_every_command(page: Path) -> None:
    """Each with its values, as far as that can be known without running it."""
    for line in typed(page):
        words = list(
            takewhile(lambda word: word not in SHELL, shlex.split(line, comments=True)[1:])
        )
        if "..." in words or words[0] == "--help":
            continue
        command, rest = command_of(words)
        context = command.make_context(words[0], rest)
        assert context.params.keys() == {one.name for one in command.params if one.name != "help"}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_every_option_in_the_text_exists(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    named = {word for span in INSIDE.findall(text) for word in re.findall(r"--[a-z][a-z-]+", span)}
    others = {"--numprocesses", "--preserve-env", "--require-hashes"}
    assert named <= every_option() | OF_THE_PROGRAM | others


@cache
def every_option() -> frozenset[str]:
    return frozenset(word for command in every_command() for word in options_of(command))


def every_command() -> Iterator[Any]:
    for verb in VERBS:
        command = loaded(verb)
        yield command
        yield from getattr(command, "commands", {}).values()


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_is_in_readme(verb: str) -> None:
    assert re.search(rf"tlsprobe {verb}\b", (ROOT / "README.md").read_text(encoding="utf-8"))
