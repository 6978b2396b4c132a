"""Writes docs/transports.md: every data channel with its options, from the declarations.

Run it after a row of gostpy/channel/stacks.py or an option of a part was changed::

    python scripts/transports_page.py          # writes the page
    python scripts/transports_page.py --print  # shows it
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gostpy.channel.stacks import DIALERS, LISTENERS, Stack, part, part_options  # noqa: E402
from gostpy.options import Option, options_of  # noqa: E402

PAGE = ROOT / "docs" / "transports.md"

HEAD = """# Data channels and their options

Every listener (`-L`, `services[].listener`) and dialer (`-F`, `nodes[].dialer`) with every option.
On a command line an option goes behind the address (`kcp://:8000?kcp.mtu=1200`), in a file under
`metadata`. Keys ignore case; where a key has several spellings, the first one that is present
counts. Durations are numbers of seconds or texts such as `500ms`. *3.3* marks what gost 3.2.6 does
not have. An option *without effect* is one that gost accepts and never uses; here it is the same.

This page is made from the declarations in the code by `scripts/transports_page.py`.

"""


def default_of(option: Option, value: Any) -> str:
    """A default as one would write it in a config."""
    if option.kind == "duration":
        return f"{value:g} s" if value else "0"
    if option.kind == "bool":
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ""
    return f"{value} {option.unit}".rstrip() if value != "" else ""


def options_in(row: Stack, listening: bool) -> Iterator[tuple[tuple[str, ...], Option, Any]]:
    """(spellings, declaration, default) of every option of a stack, each key once."""
    seen: set[str] = set()
    for name in row.parts:
        for field, option in options_of(part_options(name, listening)).items():
            spellings = row.keys.get(field, option.keys)
            if not spellings or spellings[0].lower() in seen:
                continue
            seen.add(spellings[0].lower())
            yield spellings, option, row.defaults.get(field, option.default)


def table(row: Stack, listening: bool) -> list[str]:
    lines = []
    for spellings, option, default in options_in(row, listening):
        keys = "<br>".join(f"`{key}`" for key in spellings)
        since = " *3.3*" if option.since != "3.2.6" else ""
        meaning = option.doc + ("" if option.effect else " *Without effect.*")
        lines.append(f"| {keys}{since} | {default_of(option, default)} | {meaning} |")
    if not lines:
        return ["It has no options.", ""]
    return ["| key | default | meaning |", "| --- | --- | --- |", *lines, ""]


def about(name: str) -> str:
    """The first paragraph of a part's description."""
    module = inspect.getmodule(part(name))
    assert module is not None
    first = (inspect.getdoc(module) or "").partition("\n\n")[0]
    return " ".join(first.split()).replace("``", "`")


def made_of(row: Stack) -> str:
    return " over ".join(f"`{name}`" for name in reversed(row.parts))


def groups() -> list[list[str]]:
    """Names by their first letters, those with the same rows on both sides together."""
    found: list[list[str]] = []
    for name in sorted({*LISTENERS, *DIALERS}):
        rows = (LISTENERS.get(name), DIALERS.get(name))
        for names in found:
            if (LISTENERS.get(names[0]), DIALERS.get(names[0])) == rows:
                names.append(name)
                break
        else:
            found.append([name])
    return found


def section(names: list[str]) -> list[str]:
    """What is known of the names that share their rows."""
    name = names[0]
    lines = [f"## {', '.join(f'`{each}`' for each in names)}", ""]
    lines += [about((LISTENERS.get(name) or DIALERS[name]).parts[-1]), ""]
    for title, rows in (("Listener", LISTENERS), ("Dialer", DIALERS)):
        if name in rows:
            lines += [f"**{title}**: {made_of(rows[name])}.", ""]
            lines += table(rows[name], title == "Listener")
    return lines


def render() -> str:
    """The whole page."""
    lines = [line for names in groups() for line in section(names)]
    return HEAD + "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(render())
    else:
        PAGE.write_text(render(), encoding="utf-8")
