"""How one key of a configuration object is declared.

A configuration object is a dataclass whose fields are made by the functions below, one line per
key. Decoding, printing, error messages and the reference page all follow from that line::

        class FileLoader(ConfigObject):
        path: str = text("path", always=True)

Keys are the spellings of YAML output. Missing is None, ``""``, 0 or False.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from compat.values import Duration

__all__ = [
    "ConfigObject",
    "Field",
    "chain_names",
    "fields_of",
    "flag",
    "headers",
    "integer",
    "key_of",
    "many",
    "one",
    "present",
    "span",
    "table",
    "text",
    "texts",
    "values",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """The declaration behind one field.

    Attributes:
        name: attribute of the dataclass.
        key: spelling in YAML.
        json: spelling in JSON.
        kind: ``text integer flag span texts table headers one many values chain_names``.
        cls: class of the object or of the list's items.
        always: printed even when empty.
        since: gost release that introduced it.
        deprecated: still read, has a successor.
        doc: remark for the reference page.
    """

    name: str
    key: str
    json: str
    kind: str
    cls: type[Any] | None = None
    always: bool = False
    since: str = "3.2.6"
    deprecated: bool = False
    doc: str = ""


@dataclass_transform(kw_only_default=True)
class ConfigObject:
    """Base of all configuration objects: keyword arguments, equality, a ``repr`` without secrets.

    What a dataclass does, but without compiling methods for each of 69 classes at start-up. A
    missing value is the class's own attribute.
    """

    def __init_subclass__(cls) -> None:
        declared = {}
        for name, value in list(vars(cls).items()):
            if isinstance(value, _Declared):
                declared[name] = value
                setattr(cls, name, value.default)
        _DECLARED[cls] = declared

    def __init__(self, **values: Any) -> None:
        declared = _DECLARED[type(self)]
        for name, value in values.items():
            if name not in declared:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = (declared.name for declared in fields_of(type(self)))
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = []
        for declared in fields_of(type(self)):
            value = getattr(self, declared.name)
            if value:
                hidden = declared.name in _SECRETS or declared.kind in ("table", "headers")
                shown.append(f"{declared.name}={'...' if hidden else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


_SECRETS = frozenset({"password", "token"})
_DECLARED: dict[type[Any], dict[str, _Declared]] = {}
_FIELDS: dict[type[Any], tuple[Field, ...]] = {}
_KEYS: dict[type[Any], dict[str, Field]] = {}


class _Declared:
    """What a class body holds for a field until the class is made."""

    __slots__ = ("default", "facts")

    def __init__(self, default: Any, facts: dict[str, Any]) -> None:
        self.default = default
        self.facts = facts


def _declare(kind: str, default: Any, key: str, cls: type[Any] | None, **more: Any) -> Any:
    facts = {"key": key, "json": more.pop("json", "") or key, "kind": kind, "cls": cls, **more}
    return _Declared(default, facts)


def text(key: str, **more: Any) -> Any:
    """A string. ``more``: json, always, since, deprecated, doc."""
    return _declare("text", "", key, None, **more)


def integer(key: str, **more: Any) -> Any:
    """A whole number of 64 bits."""
    return _declare("integer", 0, key, None, **more)


def flag(key: str, **more: Any) -> Any:
    """True or false."""
    return _declare("flag", False, key, None, **more)


def span(key: str, **more: Any) -> Any:
    """A duration; see :class:`compat.values.Duration`."""
    return _declare("span", Duration(0), key, None, **more)


def texts(key: str, **more: Any) -> Any:
    """A list of strings, or None."""
    return _declare("texts", None, key, None, **more)


def table(key: str, **more: Any) -> Any:
    """A free map, or None."""
    return _declare("table", None, key, None, **more)


def headers(key: str, **more: Any) -> Any:
    """A map of strings, or None."""
    return _declare("headers", None, key, None, **more)


def one(key: str, cls: type[Any], **more: Any) -> Any:
    """An object, or None."""
    return _declare("one", None, key, cls, **more)


def many(key: str, cls: type[Any], **more: Any) -> Any:
    """A list of objects, or None; ``null`` items stay None (see :func:`present`)."""
    return _declare("many", None, key, cls, **more)


def values(key: str, cls: type[Any], **more: Any) -> Any:
    """A list of objects, or None; a ``null`` item becomes an empty object."""
    return _declare("values", None, key, cls, **more)


def chain_names(key: str, cls: type[Any], **more: Any) -> Any:
    """A list of names (3.2.6) or of objects (3.3), or None; items are objects here."""
    return _declare("chain_names", None, key, cls, **more)


def fields_of(cls: type[Any]) -> tuple[Field, ...]:
    """The declarations of a configuration class, in the order of output."""
    found = _FIELDS.get(cls)
    if found is None:
        found = _FIELDS[cls] = tuple(
            Field(name=name, **declared.facts) for name, declared in _DECLARED[cls].items()
        )
    return found


def key_of(cls: type[Any]) -> dict[str, Field]:
    """Lower-case key -> declaration."""
    found = _KEYS.get(cls)
    if found is None:
        found = _KEYS[cls] = {declared.key.lower(): declared for declared in fields_of(cls)}
    return found


def present(items: Iterable[T | None] | None) -> Iterator[T]:
    """The items of a list that may be missing and may hold ``null``."""
    return (item for item in items or () if item is not None)
