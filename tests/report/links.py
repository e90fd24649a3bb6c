"""Where the links of a page lead, and what it has places for; what drawers are packed in it."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PACK = re.compile(r'(<script type="text/plain"[^>]*>)([^<]*)(</script>)')


def unpacked(html: str) -> str:
    """The page with its packed drawers in place; packing may differ between builds of zlib."""
    return _PACK.sub(lambda pack: zlib.decompress(b64decode(pack[2])).decode(), html)


class Places(HTMLParser):
    """The links of a page, and the ids in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(unpacked(html))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"}:
                self.links.add(value or "")
            elif name == "id":
                self.ids.add(value or "")


def broken_links(folder: Path, others: Path | None = None) -> list[str]:
    """The links in the HTML pages below a folder that lead nowhere.

    ``others`` is a folder that holds what the pages lead to and did not make.
    """
    pages = {file.resolve(): Places(file.read_text()) for file in sorted(folder.rglob("*.html"))}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "https":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            beside = others / target.relative_to(folder.resolve()) if others else target
            known = pages[target].ids if target in pages else set()
            if (parts.fragment and parts.fragment not in known | {"matrix"}) or (
                not target.exists() and not beside.exists()
            ):
                broken.append(f"{file}: {link}")
    return broken
