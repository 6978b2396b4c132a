"""The pages hang together: links lead somewhere, every page can be found, names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compat.names import CONNECTORS, DIALERS, HANDLERS, LISTENERS
from gostpy import __version__
from gostpy.channel import stacks
from gostpy.registry import names
from tests.docs.console import ROOT, pages

LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_mentions_nothing_of_one_machine(page: Path) -> None:
    assert not re.search(r"/work/|/root/|/home/\w|\.\./shared", page.read_text(encoding="utf-8"))


def test_every_page_is_in_the_index() -> None:
    linked = set(LINK.findall((ROOT / "docs/index.md").read_text(encoding="utf-8")))
    here = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert here <= linked, f"docs/index.md does not link {sorted(here - linked)}"


def test_pages_with_differences_are_on_their_page() -> None:
    linked = set(LINK.findall((ROOT / "docs/differences.md").read_text(encoding="utf-8")))
    having = {
        page.name
        for page in (ROOT / "docs").glob("*.md")
        if "\n## Differences from gost" in page.read_text(encoding="utf-8")
    }
    assert having <= linked, f"docs/differences.md does not link {sorted(having - linked)}"


def _table(heading: str) -> set[str]:
    """The names in backquotes in the first column of the table under a heading."""
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_listed_protocols_exist() -> None:
    listed = _table("Protocols")
    assert listed
    assert listed <= set(names("handler")) | set(names("connector"))
    assert listed <= HANDLERS | CONNECTORS


def test_listed_channels_exist() -> None:
    listed = _table("Channels")
    assert listed
    assert listed <= set(stacks.LISTENERS) | set(stacks.DIALERS)
    assert listed <= LISTENERS | DIALERS


def test_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in text
    for release in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        assert "### Differences from gost" in release, release.splitlines()[0]
