"""Holds the house rules of ARCHITECTURE.md: imports point down only, and each fence keeps its own.

A module is named by its path below the package, `sniff.process`; its room is the first part
of that name, `sniff`. Imports inside functions and under TYPE_CHECKING count like any other.

ARCHITECTURE.md, "Rooms" and "Decisions".
"""

import ast
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = "tlsprobe"
ROOT: Final = Path(__file__).resolve().parent.parent

# Lowest first. A room may import from lower layers and from itself.
LAYERS: Final = (
    {"model", "errors", "decoding", "spelling", "version"},
    {"keys", "netns"},
    {
        *("language", "catalogue", "certificates", "profiles", "protocols", "tls", "packets"),
        *("records", "facts"),
    },
    {"flows", "captures", "sniff", "shaper", "judge"},
    {"behaviours"},
    {"expected", "waiving", "configuration"},
    {"drive", "lab", "reference", "report"},
    {"campaign", "explain", "fuzz", "fleet"},
    {"library"},
    {"cli"},
)
LAYER_OF: Final = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}

# The only imports allowed between rooms of one layer: importer -> imported.
NEIGHBOURS: Final = {
    ("catalogue", "language"),
    ("profiles", "catalogue"),
    ("profiles", "protocols"),
    ("fuzz", "campaign"),
    ("fleet", "campaign"),
    ("tls", "certificates"),
    ("tls", "records"),
    ("sniff", "flows"),
    ("sniff", "captures"),
    ("shaper", "sniff"),
}

# Rooms that may import less than their layer allows: patterns of modules of the package.
DIETS: Final = {
    "model": (),
    "judge": ("model", "model.*", "errors"),
    "report": (
        *("model", "model.*", "errors", "decoding", "spelling", "version"),
        *("judge.rules", "judge.families", "judge.remedies", "judge.rule_remedies"),
        *("behaviours", "waiving", "catalogue", "catalogue.*"),
    ),
}
STDLIB_ONLY: Final = {"model", "judge"}

# The package's face re-exports from everywhere, and the plugin uses it; its door opens the command
# line.
UNLAYERED: Final = {"", "__main__", "pytest_plugin"}

# Who may import a library: patterns of modules. A room alone means the whole room.
FENCES: Final = {
    "OpenSSL": ("tls",),
    "scapy": ("sniff.packet_socket",),
    "trio": (
        *("drive", "campaign", "fuzz", "fleet", "lab", "reference", "library", "cli"),
        *("sniff.capture", "sniff.shared", "sniff.backends", "explain.watching", "shaper.link"),
    ),
    "rich": ("cli", "report.render_terminal"),
    "typer": ("cli",),
    "jinja2": ("report.render_html",),
    "markupsafe": ("report.render_html",),
    "hypothesis": ("fuzz",),
    "scramp": ("protocols.postgres",),
    "cryptography": ("certificates", "reference", "records.secrets", "records.suites"),
    "backports": ("captures.packing",),
    "h11": ("protocols.http1",),
    "h2": ("protocols.http2",),
    "wsproto": ("protocols.websocket",),
    "numpy": (
        "captures.blocks",
        "captures.columns",
        "captures.plain_packets",
        "captures.quick_walk",
        "explain.quick_screening",
        "flows.going_on",
        "packets.stretch",
    ),
    "duckdb": ("report.fleet_parquet",),
    "distributed": ("fleet.dask_engine", "fleet.dask_task"),
}

# Modules that are started as processes of their own, and so may print, exit and read their
# arguments like the cli.
PROCESSES: Final = (
    *("sniff.process", "shaper.process", "reference.__main__", "lab.distance", "fleet.worker"),
)
ONLY_THE_CLI: Final = {"print", "exit", "quit", "sys.exit", "os._exit"}


@dataclass(frozen=True)
class Import:
    """One imported name: `tlsprobe.model.trace` or `trio`."""

    line: int
    name: str

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    @property
    def inner(self) -> str | None:
        """The imported module as named inside the package, or None for somebody else's."""
        return self.name.partition(".")[2] if self.top == PACKAGE else None


_HOLDS: Final = (ast.stmt, ast.ExceptHandler, ast.match_case)
"""What may hold statements."""


@dataclass(frozen=True)
class Module:
    """One source file, by its name inside the package; the package itself is ``""``."""

    name: str
    path: Path
    tree: ast.Module
    known: frozenset[str]
    source: str

    def holds(self, *words: str) -> bool:
        """Whether the text has one of these names: to look through a tree takes longer."""
        return any(word.rpartition(".")[2] in self.source for word in words)

    @property
    def room(self) -> str:
        return room_of(self.name)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """The whole tree: several rules look through it."""
        return tuple(ast.walk(self.tree))

    def statements(self) -> Iterator[ast.AST]:
        """Statements inside others as well, and no expressions: most of a tree are those."""
        rest: deque[ast.AST] = deque(self.tree.body)
        while rest:
            node = rest.popleft()
            yield node
            rest.extend(inner for inner in ast.iter_child_nodes(node) if isinstance(inner, _HOLDS))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._imports())

    def _imports(self) -> Iterator[Import]:
        for node in self.statements():
            if isinstance(node, ast.Import):
                yield from (Import(node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from self._from(node)

    def _from(self, node: ast.ImportFrom) -> Iterator[Import]:
        """Resolves relative imports, and `from package import module` to that module."""
        base = self._base(node)
        for alias in node.names:
            longer = f"{base}.{alias.name}"
            inner = longer.removeprefix(f"{PACKAGE}.")
            is_module = longer.startswith(f"{PACKAGE}.") and self._is_module(inner)
            yield Import(node.lineno, longer if is_module else base)

    def _is_module(self, inner: str) -> bool:
        # A room that is not written yet is still a room.
        return inner in self.known or inner in LAYER_OF

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = [PACKAGE, *self.name.split(".")] if self.name else [PACKAGE]
        climb = node.level - (self.path.name == "__init__.py")
        above = here[: len(here) - climb]
        return ".".join([*above, *([node.module] if node.module else [])])


@dataclass(frozen=True)
class Violation:
    """Where a rule was broken, and which."""

    path: Path
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


def room_of(name: str) -> str:
    return name.partition(".")[0]


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a module is named by a pattern, or lies in a room that is."""
    return any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*") for p in patterns)


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> list[Module]:
    package = root / PACKAGE
    paths = sorted(package.rglob("*.py"))
    known = frozenset(module_name(path, package) for path in paths)
    return [
        Module(
            *(module_name(path, package), path.relative_to(root), ast.parse(source), known, source)
        )
        for path, source in ((path, path.read_text("utf-8")) for path in paths)
    ]


def unknown_room(module: Module) -> Iterator[Violation]:
    if module.room not in UNLAYERED and module.room not in LAYER_OF:
        rule = f"the room {module.room!r} has no layer: give it one in {Path(__file__).name}"
        yield Violation(module.path, 1, rule)


def imports_point_down(module: Module) -> Iterator[Violation]:
    height = LAYER_OF.get(module.room)
    if height is None:
        return
    for imported in module.imports:
        if imported.inner is None:
            continue
        there = room_of(imported.inner)
        if there == module.room or (module.room, there) in NEIGHBOURS:
            continue
        if (module.room, there) == ("cli", ""):  # the face re-exports what is below the cli
            continue
        if there == "" or LAYER_OF.get(there, len(LAYERS)) >= height:
            what = f"{PACKAGE}.{there}" if there else f"the package itself, {PACKAGE}"
            rule = f"imports point down only: {module.room} may not import {what}"
            yield Violation(module.path, imported.line, rule)


def diets(module: Module) -> Iterator[Violation]:
    diet = DIETS.get(module.room)
    if diet is None:
        return
    for imported in module.imports:
        if imported.inner is None or room_of(imported.inner) == module.room:
            continue
        if not any(fnmatchcase(imported.inner, pattern) for pattern in diet):
            allowed = ", ".join(diet) or "nothing of the package"
            rule = f"{module.room} may not import {imported.name}; it may import: {allowed}"
            yield Violation(module.path, imported.line, rule)


def stdlib_only(module: Module) -> Iterator[Violation]:
    if module.room not in STDLIB_ONLY:
        return
    for imported in module.imports:
        if imported.inner is None and imported.top not in sys.stdlib_module_names:
            rule = f"{module.room} imports only the standard library, not {imported.top}"
            yield Violation(module.path, imported.line, rule)


def judge_sees_no_socket(module: Module) -> Iterator[Violation]:
    for imported in module.imports:
        if module.room == "judge" and imported.top in {"socket", "ssl", "asyncio", "subprocess"}:
            rule = f"judge is pure and never sees a socket: no {imported.top}"
            yield Violation(module.path, imported.line, rule)


def fences(module: Module) -> Iterator[Violation]:
    for imported in module.imports:
        allowed = FENCES.get(imported.top)
        if allowed is not None and not matches(module.name, allowed):
            rule = f"{imported.top} is fenced in: only {', '.join(allowed)} may import it"
            yield Violation(module.path, imported.line, rule)


def nobody_imports_cli(module: Module) -> Iterator[Violation]:
    if module.room == "cli" or module.name == "__main__":
        return
    for imported in module.imports:
        if imported.inner is not None and room_of(imported.inner) == "cli":
            yield Violation(module.path, imported.line, "nobody imports cli, except __main__")


def imports_exit(node: ast.ImportFrom) -> bool:
    return node.module == "sys" and any(alias.name == "exit" for alias in node.names)


def dotted(node: ast.expr) -> str:
    """``sys.exit`` of the expression that says so; nothing of a longer one."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def only_the_cli_speaks(module: Module) -> Iterator[Violation]:
    if module.room in {"cli", "__main__"} or module.name in PROCESSES:
        return
    for node in module.nodes if module.holds(*ONLY_THE_CLI) else ():
        if isinstance(node, ast.Call) and (called := dotted(node.func)) in ONLY_THE_CLI:
            rule = f"only cli prints or exits: {called}() belongs there"
            yield Violation(module.path, node.lineno, rule)
        elif isinstance(node, ast.ImportFrom) and imports_exit(node):
            rule = "only cli prints or exits: no `from sys import exit`"
            yield Violation(module.path, node.lineno, rule)


def only_the_cli_reads_the_command_line(module: Module) -> Iterator[Violation]:
    if module.room in {"cli", "__main__"} or module.name in PROCESSES:
        return
    for node in module.nodes if module.holds("argv") else ():
        if isinstance(node, ast.Attribute) and dotted(node) == "sys.argv":
            rule = "only cli reads the command line: sys.argv belongs there"
            yield Violation(module.path, node.lineno, rule)


RULES: Final[tuple[Callable[[Module], Iterator[Violation]], ...]] = (
    unknown_room,
    imports_point_down,
    diets,
    stdlib_only,
    judge_sees_no_socket,
    fences,
    nobody_imports_cli,
    only_the_cli_speaks,
    only_the_cli_reads_the_command_line,
)


def check(root: Path) -> list[Violation]:
    return [violation for module in modules(root) for rule in RULES for violation in rule(module)]


def test_the_house_keeps_its_rules() -> None:
    assert any((ROOT / PACKAGE).rglob("*.py")), f"no modules below {ROOT / PACKAGE}"
    violations = check(ROOT)
    assert not violations, "\n" + "\n".join(map(str, violations))


# The tester is tested: each planted file breaks (or keeps) one rule.


def plant(root: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        (
            "flows/tracker.py",
            "from tlsprobe.drive import tcp",
            "flows may not import tlsprobe.drive",
        ),
        ("flows/tracker.py", "from tlsprobe import drive", "flows may not import tlsprobe.drive"),
        ("flows/tracker.py", "from ..drive import tcp", "flows may not import tlsprobe.drive"),
        ("flows/__init__.py", "from .. import drive", "flows may not import tlsprobe.drive"),
        ("flows/tracker.py", "import tlsprobe.campaign", "flows may not import tlsprobe.campaign"),
        (
            "flows/tracker.py",
            "def f():\n    import tlsprobe.lab",
            "flows may not import tlsprobe.lab",
        ),
        ("flows/tracker.py", "from tlsprobe import __version__", "the package itself"),
        ("tls/session.py", "import tlsprobe.sniff", "tls may not import tlsprobe.sniff"),
        ("language.py", "import tlsprobe.catalogue", "language may not import tlsprobe.catalogue"),
        ("model/trace.py", "import tlsprobe.errors", "model may not import tlsprobe.errors"),
        ("model/trace.py", "import msgspec", "only the standard library, not msgspec"),
        ("judge/cause.py", "import msgspec", "only the standard library, not msgspec"),
        ("judge/cause.py", "import socket", "never sees a socket"),
        ("judge/cause.py", "import tlsprobe.sniff", "judge may not import tlsprobe.sniff"),
        (
            "report/render_html.py",
            "from tlsprobe.judge import cause",
            "may not import tlsprobe.judge",
        ),
        ("report/render_html.py", "from tlsprobe.campaign import run", "report may not import"),
        ("drive/tcp.py", "import OpenSSL.SSL", "OpenSSL is fenced in"),
        ("sniff/capture.py", "from scapy.arch import linux", "scapy is fenced in"),
        ("captures/pcap.py", "import trio", "trio is fenced in"),
        ("report/matrix.py", "from rich.table import Table", "rich is fenced in"),
        ("report/render_terminal.py", "import typer", "typer is fenced in"),
        ("report/render_terminal.py", "import jinja2", "jinja2 is fenced in"),
        ("language.py", "import hypothesis", "hypothesis is fenced in"),
        ("protocols/mysql.py", "import scramp", "scramp is fenced in"),
        ("protocols/http2.py", "import h11", "h11 is fenced in"),
        ("protocols/http1.py", "from h2.config import H2Configuration", "h2 is fenced in"),
        ("__init__.py", "from tlsprobe.cli import main", "nobody imports cli"),
        ("campaign/trials.py", "import tlsprobe.cli", "nobody imports cli"),
        ("campaign/trials.py", "print('done')", "only cli prints or exits: print()"),
        ("campaign/trials.py", "import sys\n\nsys.exit(1)", "only cli prints or exits: sys.exit()"),
        ("campaign/trials.py", "from sys import exit", "no `from sys import exit`"),
        ("lab/vendor.py", "import sys\n\nwords = sys.argv[1:]", "only cli reads the command line"),
        ("utils.py", "", "the room 'utils' has no layer"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, name: str, source: str, complaint: str) -> None:
    plant(tmp_path, {"judge/cause.py": "", "judge/rules.py": "", name: source})
    found = [str(violation) for violation in check(tmp_path)]
    line = source.count("\n") + 1
    where = f"{PACKAGE}/{name}:"
    assert any(complaint in text for text in found), found
    assert all(text.startswith(where) and int(text.split(":")[1]) <= line for text in found)


def test_a_kept_rule_is_left_alone(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "__init__.py": "from tlsprobe.campaign import run",
            "__main__.py": "from tlsprobe.cli import main\n\nmain()",
            "catalogue/__init__.py": "from tlsprobe.language import parse",
            "cli/run.py": "import rich, sys, trio, typer\nimport tlsprobe\n\nprint(1)\nsys.exit(0)",
            "drive/tcp.py": "import trio\nfrom tlsprobe.sniff.capture import Sniffer",
            "errors.py": "",
            "fuzz/strategies.py": "import hypothesis\nfrom tlsprobe.drive import tcp",
            "judge/cause.py": "import enum\nfrom tlsprobe.model.trace import Trace",
            "judge/rules.py": "from .cause import Cause",
            "model/__init__.py": "from .trace import Trace",
            "model/trace.py": "from dataclasses import dataclass",
            "profiles.py": "from tlsprobe import catalogue, protocols",
            "protocols/http2.py": "import h2.connection",
            "protocols/postgres.py": "import scramp",
            "report/render_html.py": "import jinja2\nfrom tlsprobe.judge.rules import RULES",
            "report/render_terminal.py": "import rich\nfrom tlsprobe.judge import rules",
            "campaign/trials.py": "import trio",
            "tls/session.py": "from OpenSSL import SSL",
            "sniff/capture.py": "import trio",
            "sniff/packet_socket.py": "import scapy.all",
            "sniff/process.py": "import sys\n\nsys.exit(0)",
        },
    )
    assert check(tmp_path) == []


def test_a_violation_names_file_line_and_rule(tmp_path: Path) -> None:
    plant(tmp_path, {"tls/session.py": '"""Sans-IO TLS."""\n\nimport trio\n'})
    (violation,) = check(tmp_path)
    assert str(violation).startswith("tlsprobe/tls/session.py:3: trio is fenced in: only drive, ")
