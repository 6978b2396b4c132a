"""Where in a file a part of the configuration stands.

A path such as ``("services", 0, "handler", "metadata", "sniffing")`` becomes a Position. Texts
are searched only when asked, so a clean start pays nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from compat.decode import Path
from compat.sources import Document
from gostpy.errors import Position

__all__ = ["Places", "locate", "path_text"]


def path_text(path: Path) -> str:
    """``services[0].listener.tls.certFile``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def locate(document: Document, path: Path, *, key: bool = False) -> Position:
    """The position of a value, or of its key; of the nearest parent when it is not there.

    Keys ignore case, dotted keys match several parts, an index into something that is no list
    is skipped (a single object may stand for a list).
    """
    from compat.locate import find

    line, column = find(document.text, document.form, path, key=key)
    return Position(document.name, line, column)


@dataclass(slots=True)
class Places:
    """Maps paths of a merged configuration back to the texts it came from."""

    _documents: list[tuple[Path, Document, Path]] = field(default_factory=list)
    _arguments: dict[Path, str] = field(default_factory=dict)

    def add_document(self, document: Document, start: dict[str, int], config: Any) -> None:
        """Note that ``document`` holds ``config``, whose lists begin at ``start`` (by key)."""
        from compat.schema.fields import fields_of

        for declared in fields_of(type(config)):
            value = getattr(config, declared.name)
            if declared.kind == "many":
                first = start.get(declared.key, 0)
                for index in range(len(value or ())):
                    here: Path = (declared.key, first + index)
                    self._documents.append((here, document, (declared.key, index)))
            elif value is not None:
                self._documents.append(((declared.key,), document, (declared.key,)))

    def add_argument(self, path: Path, label: str) -> None:
        """Note that the object at ``path`` came from the command line argument ``label``."""
        self._arguments[path] = label

    def position(self, path: Path, *, key: bool = False) -> Position | None:
        """The position of a value (or of its key) of the merged configuration."""
        for length in range(len(path), 0, -1):
            label = self._arguments.get(path[:length])
            if label:
                return Position(label)
        for here, document, there in reversed(self._documents):
            if path[: len(here)] == here:
                return locate(document, there + path[len(here) :], key=key)
        return None
