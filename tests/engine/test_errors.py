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


def test_a_message_is_one_line_that_any_terminal_takes():
    message = str(UserError("a\udcff/\n x.png: \x1b[2J bad\r\n  header"))
    assert message == r"a\udcff/ x.png: \x1b[2J bad header" and message.encode()
    long = str(UserError(f"the start {'x' * 9999} the mend"))
    assert len(long) < 1600 and long.startswith("the start xxx") and long.endswith("xxx the mend")


def test_a_name_that_no_file_can_have_is_told_and_other_errors_of_the_system_are_raised(tmp_path, capsys):
    with pytest.raises(OSError) as long:
        (tmp_path / ("x" * 300)).exists()
    assert tell(long.value) == 2 and "longer than a file's name can be" in capsys.readouterr().err
    with pytest.raises(OSError) as missing:
        (tmp_path / "x").stat()
    with pytest.raises(FileNotFoundError):
        tell(missing.value)
