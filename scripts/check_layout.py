"""The layout as rules: who may import whom, and how long a module may be.

Direction: interfaces errors options registry runtime <- wire <- net <- stream <- {channel
processing guard route auth observe sources} <- service <- compat <- the front doors. The folders in
braces do not import each other. Imports under ``if TYPE_CHECKING`` do not count; imports inside
functions do.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRONT_DOORS = {"gostpy/__main__.py", "gostpy/run.py", "gostpy/testing/__init__.py"}
MOST_LINES = 600
WARN_LINES = 400

# nouns that everything may use: they import nothing of the layers above them
GROUND = {
    "gostpy",
    "gostpy.addresses",
    "gostpy.errors",
    "gostpy.interfaces",
    "gostpy.lines",
    "gostpy.options",
    "gostpy.regexp",
    "gostpy.registry",
    "gostpy.runtime",
}
RANK = {"ground": 0, "wire": 1, "net": 2, "stream": 3, "middle": 4, "service": 5, "compat": 6}
MIDDLE = {"channel", "processing", "guard", "route", "auth", "observe", "sources", "plugin"}


def layer(module: str) -> tuple[str, str]:
    """(layer, folder) of a module name."""
    parts = module.split(".")
    if parts[0] == "compat":
        return "compat", "compat"
    if len(parts) == 1 or ".".join(parts[:2]) in GROUND:
        return "ground", "ground"
    if parts[1] in MIDDLE:
        return "middle", parts[1]
    if parts[1] in RANK:
        return parts[1], parts[1]
    return "ground", "ground"


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of this project, those for type checking left out."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name


def problems(path: Path) -> Iterator[str]:
    """What is wrong with one file."""
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > MOST_LINES:
        yield f"{name}: {lines} lines, at most {MOST_LINES}"
    if name in FRONT_DOORS:
        return
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    own, folder = layer(module)
    for line, imported in imports(ast.parse(text)):
        if imported.split(".")[0] not in ("gostpy", "compat"):
            continue
        other, other_folder = layer(imported)
        allowed = RANK[other] < RANK[own] or other_folder == folder
        if own == "ground" and imported.startswith("gostpy.net."):
            # the nouns name socket options and addresses of the layer that makes them
            allowed = imported == "gostpy.net.sockopt"
        if not allowed:
            yield f"{name}:{line}: {folder} may not import {imported}"


def main() -> int:
    files = [*(ROOT / "gostpy").rglob("*.py"), *(ROOT / "compat").rglob("*.py")]
    found = [problem for path in sorted(files) for problem in problems(path)]
    for problem in found:
        print(problem)
    long = [p for p in files if p.read_text(encoding="utf-8").count("\n") > WARN_LINES]
    for path in long:
        print(f"note: {path.relative_to(ROOT)} is over {WARN_LINES} lines")
    print(f"layout: {len(files)} modules, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
