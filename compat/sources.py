"""Where configuration text comes from: files, stdin, the command line, HTTP; and its format."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from compat.values import Timestamp
from gostpy.errors import ConfigError, Position

__all__ = ["Document", "find_default", "parse", "read"]

_FORMATS = {"json": "json", "toml": "toml", "yaml": "yaml", "yml": "yaml"}
_REFUSED = ("properties", "props", "prop", "hcl", "tfvars", "dotenv", "env", "ini")
_SEARCH_ORDER = ("json", "toml", "yaml", "yml", *_REFUSED)
_MEDIA = {"json": "json", "yaml": "yaml", "x-yaml": "yaml", "yml": "yaml", "toml": "toml"}
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_DOWNLOAD_MAX = 10 * 1024 * 1024
_DOWNLOAD_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Document:
    """One configuration text.

    Attributes:
        name: file name, URL, ``<stdin>`` or ``<inline>``; used in messages.
        text: the whole text.
        form: ``yaml``, ``json`` or ``toml``.
        value: the plain values in it; None when the text is empty.
        inline: given as an argument, decoded strictly.
        path: the file, for programs that write it back.
    """

    name: str
    text: str
    form: str
    value: Any
    inline: bool = False
    path: str = ""


def read(argument: str, stdin: Callable[[], bytes], *, strict: bool = False) -> Document:
    """Read what one -C names. Raises ConfigError.

    Args:
        argument: a file, ``-``, inline JSON or (not when strict) a URL.
        stdin: returns all of the standard input.
    """
    if argument == "-":
        raw = stdin()
        if not raw:
            raise ConfigError("there is nothing to read", "", Position("<stdin>"))
        return _document("<stdin>", raw, "json" if raw[:1] == b"{" else "yaml")
    if argument.startswith("{") and argument.endswith("}"):
        value = parse(argument, "json", "<inline>", whole_numbers=True)
        return Document("<inline>", argument, "json", value, inline=True)
    if not strict and argument.lower().startswith(("http://", "https://")):
        return _download(argument)
    form = _form_of(argument, strict=strict)
    try:
        raw = FilePath(argument).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(reason.lower(), "", Position(argument)) from error
    except ValueError as error:
        raise ConfigError(str(error), "", Position(repr(argument))) from error
    return _document(argument, raw, form, path=argument)


def find_default(environment: Mapping[str, str]) -> str:
    """The file that is read when nothing else is given. Raises ConfigError: there is none."""
    home = environment.get("HOME", "")
    folders = ["/etc/gost", os.path.join(home, ".gost"), "."]
    for folder in folders:
        for extension in _SEARCH_ORDER:
            candidate = os.path.join(folder, f"gost.{extension}")
            if os.path.isfile(candidate):
                return candidate
    raise ConfigError(
        "no service is given: try -L http://:8080, or -C FILE; "
        f"there is no gost.yml in {', '.join(folders)} either (gostpy -h tells more)"
    )


def parse(text: str, form: str, name: str, *, whole_numbers: bool = False) -> Any:
    """Plain values of a text. Raises ConfigError with line and column.

    Args:
        whole_numbers: keep whole JSON numbers as int; files make every JSON number a float.
    """
    if form == "json":
        return _parse_json(text, name, whole_numbers)
    if form == "toml":
        return _parse_toml(text, name)
    from compat.yaml_read import parse_yaml  # a command line alone does without

    return parse_yaml(text, name)


def _document(name: str, raw: bytes, form: str, path: str = "") -> Document:
    text = _decode(raw, name, form)
    return Document(name, text, form, parse(text, form, name), path=path)


def _decode(raw: bytes, name: str, form: str) -> str:
    if form == "json":
        return raw.decode("utf-8", "replace")
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise ConfigError("not UTF-8 text", "", Position(name, line, column)) from None


def _form_of(name: str, *, strict: bool) -> str:
    extension = os.path.splitext(name)[1][1:]
    known = _FORMATS.get(extension if strict else extension.lower())
    if known:
        return known
    expected = "expected .yml, .yaml, .json or .toml"
    if extension in _REFUSED:
        message = f"configuration in {extension} format is not supported; {expected}"
    elif extension:
        message = f"unknown configuration format {extension!r}; {expected}"
    else:
        message = f"a file name without extension does not tell the format; {expected}"
    raise ConfigError(message, "", Position(name))


def _download(url: str) -> Document:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT) as answer:
            raw = answer.read(_DOWNLOAD_MAX + 1)
            media = answer.headers.get_content_subtype()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ConfigError(f"cannot be fetched: {error}", "", Position(url)) from error
    if len(raw) > _DOWNLOAD_MAX:
        raise ConfigError("is larger than 10 MiB", "", Position(url))
    extension = os.path.splitext(url.partition("?")[0].partition("#")[0])[1][1:].lower()
    guess = "json" if raw.lstrip()[:1] == b"{" else "yaml"
    form = _MEDIA.get(media.lower()) or _FORMATS.get(extension) or guess
    return _document(url, raw, form)


def _parse_json(text: str, name: str, whole_numbers: bool) -> Any:
    try:
        value = json.loads(
            text,
            parse_int=_whole if whole_numbers else float,
            parse_constant=_no_constant,
        )
        return _whole_characters(value) if _HALF.search(text) else value
    except json.JSONDecodeError as error:
        position = Position(name, error.lineno, error.colno)
        raise ConfigError(f"not valid JSON: {error.msg}", "", position) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid JSON: {error}", "", Position(name)) from None


def _whole_characters(value: Any) -> Any:
    """Replace escapes that name half a character."""
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    return value


def _whole(text: str) -> int | float:
    return int(text) if len(text) < 30 else float(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _parse_toml(text: str, name: str) -> Any:
    import tomllib

    try:
        return _plain_dates(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = re.search(r" \(at line (\d+), column (\d+)\)$", message)
        position = Position(name)
        if match:
            position = Position(name, int(match[1]), int(match[2]))
            message = message[: match.start()]
        raise ConfigError(f"not valid TOML: {message}", "", position) from None
    except RecursionError:
        raise ConfigError("nested too deeply", "", Position(name)) from None


def _plain_dates(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_dates(item) for item in value]
    if hasattr(value, "isoformat"):
        return Timestamp(value.isoformat().replace("+00:00", "Z"))
    return value
