"""What is worth saying about a configuration that nevertheless works."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.errors import Position

__all__ = ["ConfigWarning"]


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """One remark.

    Attributes:
        message: what is odd, what happens instead, what may have been meant.
        where: path inside the configuration, ``services[0].handler``; may be empty.
        position: file, line and column, when known.
    """

    message: str
    where: str = ""
    position: Position | None = None

    def __str__(self) -> str:
        place = [str(part) for part in (self.position, self.where) if part and str(part)]
        return ": ".join([*place, self.message])
