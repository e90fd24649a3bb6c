"""How ``make docs`` makes HTML of these pages.

The source folder is the top of the project, so that a link from a page here to ARCHITECTURE.md is
the same on disk, on a forge and in the HTML. Nothing is loaded from elsewhere: the theme has no
fonts of its own and no trackers, and the search runs in the browser.
"""

import re
from pathlib import PurePosixPath

project = "tlsprobe"
project_copyright = "the tlsprobe authors. Licence: Apache-2.0"
author = "the tlsprobe authors"

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    *(f"{page}.md" for page in ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")),
    *(
        f"results/{page}.md"
        for page in ("paths/paths", "versions/versions", "remedies", "clients", "kernel", "fuzz")
    ),
]
exclude_patterns = [".*", "profiles", "site", "tests", "tlsprobe"]
nitpicky = True
myst_heading_anchors = 4
myst_links_external_new_tab = False
# Output of commands is no language, and pages of other tools may say ``toml`` or ``yaml``.
highlight_language = "text"

html_theme = "furo"
html_title = "tlsprobe"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"^- \[([^\]]+)\]\(([^)#:]+)\.md\)", re.MULTILINE)


def _navigation(_app: object, name: str, source: list[str]) -> None:
    """Make the navigation of the list of pages in ``index.md``, section by section.

    So that page stays plain Markdown, and a page is put into the navigation by a line there.
    """
    if name != root_doc:
        return
    parts = _SECTION.split(source[0])
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        pages = "\n".join(f"{title} <{_from_top(page)}>" for title, page in _LINK.findall(text))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{pages}\n```\n"


def _from_top(page: str) -> str:
    up = page.startswith("../")
    return "/" + str(PurePosixPath(page.removeprefix("../")) if up else PurePosixPath("docs", page))


def setup(app):  # noqa: D103
    app.connect("source-read", _navigation)
