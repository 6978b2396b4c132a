"""Keys of limiter lists."""

from gostpy.guard.rules import KeyTable, fields_of
from gostpy.lines import Line, Remark


def test_fields() -> None:
    remarks: list[Remark] = []
    assert fields_of(Line("$ \t 1  2"), 3, remarks) == ["$", "1", "2"]
    assert not remarks
    assert fields_of(Line("$"), 3, remarks) == []
    assert fields_of(Line("$ 1 2"), 2, remarks) == ["$", "1"]
    assert fields_of(Line("name 1"), 2, remarks) == []
    assert [remark.message for remark in remarks] == [
        "left out: a key and a value are expected",
        "what follows '1' is not read",
        "left out: 'name' is not $, $$, an IP or a network",
    ]


def test_table() -> None:
    table: KeyTable[str] = KeyTable()
    for key in ("$", "$$", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "fe80:0::1", "name"):
        table.add(key, key)
    assert (table.service, table.each) == ("$", "$$")
    assert table.addressed(b"\x0a\1\1\1") == ("10.1.1.1", "10.0.0.0/8")
    assert table.addressed(b"\x0a\1\1\2") == (None, "10.0.0.0/8")
    assert table.addressed(b"\xfe\x80" + b"\0" * 13 + b"\1") == ("fe80:0::1", None)
    assert table.addressed(None) == (None, None)
