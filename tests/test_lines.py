"""Lists of rules as text."""

from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import Position
from gostpy.lines import Line, Remark, as_lines, read_lines

TEXT = "# head\n\n  a.com # why\r\n\tb c#d\n#e"


def test_comments_anywhere() -> None:
    assert read_lines(TEXT, "list") == [
        Line("a.com", Position("list", 3, 3)),
        Line("b c", Position("list", 4, 2)),
    ]


def test_comments_at_start_only() -> None:
    lines = read_lines(TEXT, comments_at_start_only=True)
    assert [line.text for line in lines] == ["a.com # why", "b c#d"]


def test_items() -> None:
    kept = Line("x", Position("f", 1, 2))
    assert as_lines([" a ", "", "  ", kept]) == [Line("a"), kept]
    assert as_lines([kept])[0] is kept


def test_text_forms() -> None:
    assert str(Line("x", Position("f", 1, 2))) == "'x' (f:1:2)"
    assert str(Remark(Line("x"), "odd")) == "'x': odd"


@given(st.text(max_size=100), st.booleans())
def test_anything_may_be_written(text: str, at_start: bool) -> None:
    for line in read_lines(text, comments_at_start_only=at_start):
        assert line.text == line.text.strip() != ""
