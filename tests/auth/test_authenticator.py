"""Users and passwords."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.auth import Authenticator, Group, read_users
from gostpy.lines import read_lines

USERS = {"u": "p", "open": "", "": "x"}
CASES = [
    ("u", "p", "u"),
    ("u", "P", None),
    ("u", "", None),
    ("u", "pp", None),
    ("open", "", "open"),
    ("open", "anything", "open"),
    ("", "x", ""),
    ("", "", None),
    ("nobody", "", None),
    ("nobody", "p", None),
    ("u", "\udcff", None),
]


@pytest.mark.parametrize(("user", "password", "client_id"), CASES)
def test_authenticate(user: str, password: str, client_id: str | None) -> None:
    assert Authenticator(USERS).authenticate(user, password, "1.2.3.4:5") == client_id
    assert (
        Group([Authenticator({}), Authenticator(USERS)]).authenticate(user, password) == client_id
    )


def test_without_users_nobody() -> None:
    assert Authenticator({}).authenticate("", "") is None
    assert Group([]).authenticate("u", "p") is None


def test_group_takes_the_first_that_accepts() -> None:
    class Fixed:
        def authenticate(self, user: str, password: str, client: str = "") -> str | None:
            return f"{user}@{client}"

    group = Group([Authenticator({"u": "other"}), Fixed(), Authenticator({"u": "p"})])
    assert group.authenticate("u", "p", "c") == "u@c"


def test_passwords_are_not_shown() -> None:
    assert "p" not in repr(Authenticator({"u": "ppp"})).replace("repr", "")[14:]


TEXT = """# comment
user pass
tab\tpass word
hash #1
open
  indented   p#q
u2 p # not a comment
#user2 x
"""


def test_read_users() -> None:
    users, remarks = read_users(read_lines(TEXT, "users.txt", comments_at_start_only=True))
    assert users == {
        "user": "pass",
        "tab": "pass word",
        "hash": "#1",
        "open": "",
        "indented": "p#q",
        "u2": "p # not a comment",
    }
    assert [str(remark) for remark in remarks] == [
        "'open' (users.txt:5:1): has no password: any password is accepted"
    ]


@given(st.text(max_size=100), st.text(max_size=10), st.text(max_size=10))
def test_anything_may_be_written(text: str, user: str, password: str) -> None:
    users, remarks = read_users(read_lines(text, comments_at_start_only=True))
    Authenticator(users).authenticate(user, password)
    for stored in users.values():
        assert len(stored) < 4 or all(stored not in str(remark) for remark in remarks)
