"""Messages for people."""

import pytest

from engine.errors import UserError, some, tell


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [([], 5, ""), (["a"], 5, "a"), ("abcde", 5, "a, b, c, d, e"), ("abcdef", 5, "a, b, c, d, e and 1 more"),
     (map(repr, "abc"), 2, "'a', 'b' and 1 more")],
)  # fmt: skip
def test_some_names_stand_for_all(names, most, expected):
    assert some(names, most) == expected


def test_a_workers_traceback_is_told_by_its_last_line(capsys):
    assert tell(UserError("Caught in a worker:\nTraceback ...\nengine.errors.UserError: image x cannot be read\n")) == 2
    assert capsys.readouterr().err == "error: image x cannot be read\n"
