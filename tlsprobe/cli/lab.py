"""``tlsprobe lab``: real servers on this machine, started from their profiles and probed."""

from __future__ import annotations

import json as json_text
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import trio
import typer

from tlsprobe.cli.console import complain, err, out, say
from tlsprobe.cli.lab_clients import clients
from tlsprobe.cli.lab_paths import paths
from tlsprobe.cli.lab_remedies import remedies
from tlsprobe.cli.lab_run import run
from tlsprobe.cli.options import NoColorOption, QuietOption, VendorsArgument
from tlsprobe.cli.progress import ProgressView
from tlsprobe.errors import plain_errors
from tlsprobe.lab.availability import Presence, lab_of
from tlsprobe.lab.choice import Listed, chosen, listed, with_versions
from tlsprobe.lab.install import install as install_all
from tlsprobe.lab.versions import remove as remove_kept
from tlsprobe.lab.workspace import tools_folder
from tlsprobe.report.blocks import CodeBlock, Column, Note, Page, Table, Text
from tlsprobe.report.escape import printable
from tlsprobe.report.render_terminal import print_page

app = typer.Typer(
    add_completion=False,
    help="Start real servers from their profiles, probe them, and compare them in one matrix.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    vendors: VendorsArgument = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    no_color: NoColorOption = False,
) -> None:
    """List which vendors are installed, which can be installed and how, and which cannot.

    Versions beside the machine's own are named VENDOR@VERSION: tlsprobe lab list 'nginx@*'
    """
    picked = chosen(vendors) if vendors else with_versions(chosen(None))
    for error in picked.broken.values():
        complain(error)
    found = trio.run(listed, picked.profiles)
    if json:
        sys.stdout.write(json_text.dumps([_as_document(one) for one in found], indent=1) + "\n")
        return
    print_page(out(no_color=no_color), _list_page(found))


def _list_page(listed: Sequence[Listed]) -> Page:
    heads = ("vendor", "", "title", "version, or how to get it")
    hints = ["to probe what is installed: sudo tlsprobe lab run [VENDOR...]"]
    if any(one.found.presence is Presence.INSTALLABLE for one in listed):
        hints.insert(0, "to install what is missing: sudo tlsprobe lab install [VENDOR...]")
    return (
        Table(tuple(map(Column, heads)), tuple(map(_row, listed))),
        Note(f"{_counted(listed)}."),
        CodeBlock(tuple(hints)),
    )


def _row(one: Listed) -> tuple[Text, ...]:
    title = lab_of(one.profile).title or one.profile.title
    is_here = one.found.presence is Presence.HERE
    how = f"{_versions(one)}{_size(one)}" if is_here else one.found.words
    return (one.profile.name, str(one.found.presence), title, how)


@app.command("install")
def install(
    vendors: VendorsArgument = None, quiet: QuietOption = False, no_color: NoColorOption = False
) -> None:
    """Install what vendors need: Debian packages as root, everything else in a cache folder.

    A version (nginx@1.26, 'nginx@*') goes into the cache folder as a whole.

    Starts and enables no service. Exits with 3 if a vendor still cannot be started.
    """
    progress = ProgressView(err(no_color=no_color), quiet)
    picked = chosen(vendors)
    with plain_errors():
        failures = trio.run(install_all, picked.profiles, tools_folder(), progress.note)
    failures |= {name: error.message for name, error in picked.broken.items()}
    for name, reason in failures.items():
        say(progress.console, f"{name}: {printable(reason, progress.console.encoding)}", "yellow")
    if failures:
        raise typer.Exit(3)


@app.command("remove")
def remove(vendors: VendorsArgument = None, no_color: NoColorOption = False) -> None:
    """Remove what 'lab install' keeps in the cache folder for vendors or versions.

    Example: sudo tlsprobe lab remove 'nginx@*'

    Without names: for all. Packages of the machine's own stay.
    """
    picked = chosen(vendors) if vendors else with_versions(chosen(None))
    with plain_errors():
        freed = remove_kept(picked.profiles, tools_folder())
    say(err(no_color=no_color), f"{freed / 1e6:.0f} MB removed from {tools_folder()}")


app.command("run")(run)
app.command("paths")(paths)
app.command("clients")(clients)
app.command("remedies")(remedies)


def _counted(listed: Sequence[Listed]) -> str:
    count = Counter(one.found.presence for one in listed)
    return ", ".join(f"{count[presence]} {presence}" for presence in Presence if count[presence])


def _versions(one: Listed) -> str:
    return ", ".join(filter(None, (one.version, one.tls_library))) or "version unknown"


def _size(one: Listed) -> str:
    return f" ({one.size / 1e6:.0f} MB)" if one.size else ""


def _as_document(one: Listed) -> dict[str, str | int | None]:
    return {
        "vendor": one.profile.name,
        "title": lab_of(one.profile).title or one.profile.title,
        "protocol": one.profile.protocol,
        "presence": str(one.found.presence),
        "program": one.found.program,
        "version": one.version,
        "tls_library": one.tls_library,
        "words": one.found.words,
        "size": one.size,
    }
