"""Configuration text -> Config, with every error and every oddity at its place in the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from compat.decode import STRICT, WEAK, DecodeError, Decoder
from compat.positions import locate, path_text
from compat.schema import Config, NodeConfig
from compat.schema.fields import key_of
from compat.sources import Document, parse
from compat.warning import ConfigWarning
from gostpy.errors import ConfigError, Position

__all__ = [
    "ConfigErrors",
    "decode_body",
    "decode_document",
    "decode_nodes",
    "load_text",
    "nearest",
]

T = TypeVar("T")


class ConfigErrors(ConfigError):
    """Several values of one text are wrong; the first speaks for all.

    Attributes:
        all: every error, in the order of the text.
    """

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__(errors[0].message, errors[0].where, errors[0].position)
        self.all = errors


def load_text(
    text: str, form: str = "yaml", name: str = "<text>"
) -> tuple[Config, list[ConfigWarning]]:
    """Read a configuration from a string. Raises ConfigError.

    Args:
        form: ``yaml``, ``json`` or ``toml``.
        name: what messages call it.
    """
    return decode_document(Document(name, text, form, parse(text, form, name)))


def decode_document(document: Document) -> tuple[Config, list[ConfigWarning]]:
    """Decode what was read.

    Raises:
        ConfigErrors: every value that does not fit, with position, path and what was expected.
        ConfigError: there is no map at all.
    """
    value = document.value
    if value is None:
        return Config(), []
    if not isinstance(value, Mapping):
        message = "expected a map with keys such as services and chains"
        raise ConfigError(message, "", Position(document.name, 1, 1))
    decoder = Decoder(STRICT if document.inline else WEAK)
    config = decoder.object(Config, value if document.inline else _expand(value))
    if decoder.errors:
        raise ConfigErrors([_placed(error, document) for error in decoder.errors])
    return config, _warnings(decoder, document)


def decode_body(cls: type[T], text: str, name: str = "body") -> tuple[T, list[ConfigError]]:
    """An object from JSON that a program sent: types must fit, durations are nanoseconds.

    Returns:
        The object with everything that fits, and what does not fit. As gost, callers may go on.

    Raises:
        ConfigError: the text is not JSON or no map.
    """
    document = Document(name, text, "json", parse(text, "json", name, whole_numbers=True), True)
    decoder = Decoder(STRICT)
    try:
        made = decoder.object(cls, document.value)
    except DecodeError as error:
        raise _placed(error, document) from None
    return made, [_placed(error, document) for error in decoder.errors]


def decode_nodes(text: str, name: str = "nodes") -> list[NodeConfig]:
    """The nodes that a file, Redis or HTTP source of a hop holds: a JSON array.

    Raises:
        ConfigError: it is not JSON, or a value does not fit.
    """
    value = parse(text, "json", name, whole_numbers=True)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigError("expected a JSON array of nodes", "", Position(name, 1, 1))
    document = Document(name, text, "json", value, True)
    decoder = Decoder(STRICT)
    try:
        found = [decoder.object(NodeConfig, item, (at,)) for at, item in enumerate(value) if item]
    except DecodeError as error:
        raise _placed(error, document) from None
    if decoder.errors:
        raise ConfigErrors([_placed(error, document) for error in decoder.errors])
    return found


def _placed(error: DecodeError, document: Document) -> ConfigError:
    return ConfigError(error.message, path_text(error.path), locate(document, error.path))


def _warnings(decoder: Decoder, document: Document) -> list[ConfigWarning]:
    found = []
    for path, cls in decoder.unknown:
        key = str(path[-1])
        likely = nearest(key, (declared.key for declared in key_of(cls).values()))
        message = f"unknown key {key!r}" + (f", did you mean {likely!r}?" if likely else "")
        place = locate(document, path, key=True)
        found.append(ConfigWarning(message, path_text(path), place))
    for path in decoder.twice:
        message = f"{str(path[-1])!r} is there twice, spelled differently; the last one counts"
        place = locate(document, path, key=True)
        found.append(ConfigWarning(message, path_text(path), place))
    return found


def nearest(word: str, known: Any) -> str:
    """The known word that is most like ``word``, ignoring case; empty when none is."""
    from difflib import get_close_matches

    spelled = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), spelled, n=1, cutoff=0.6)
    return spelled[close[0]] if close else ""


def _expand(value: Mapping[str, Any]) -> dict[str, Any]:
    """The root map as gost's reader sees it.

    A dot in a key separates keys, also below the root but not inside lists; empty maps and nulls
    are as if absent; a dotted key wins over the nested spelling.
    """
    plain: dict[str, Any] = {}
    dotted: list[tuple[list[str], Any]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            item = _expand(item) or None
        if item is None:
            continue
        if "." in key:
            dotted.append((key.split("."), item))
        else:
            plain[key] = item
    for parts, item in dotted:
        _put(plain, parts, item)
    return plain


def _put(target: dict[str, Any], parts: list[str], item: Any) -> None:
    """Set a nested value; keys that exist in other letters are reused."""
    for depth, part in enumerate(parts):
        name = next((key for key in target if key.lower() == part.lower()), part)
        if depth < len(parts) - 1:
            if not isinstance(target.get(name), dict):
                target[name] = {}
            target = target[name]
        elif isinstance(item, dict) and isinstance(target.get(name), dict):
            for key, inner in item.items():
                _put(target[name], [key], inner)
        else:
            target[name] = item
