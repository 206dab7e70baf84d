"""tools/prepare.py run in this process, in a folder of its own."""

import sys
from collections.abc import Callable

import pytest

from engine.errors import UserError
from tools.prepare import main


@pytest.fixture
def prepare(monkeypatch, capsys, tmp_path) -> Callable[..., str]:
    """`prepare("coco", source, "--allow-subset")`: the screen. The data go to tmp_path/data/NAME.

    `prepare.refused(...)` returns the screen and the sentence of a refusal.
    """

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["tools/prepare.py", *map(str, words)])
        capsys.readouterr()
        with monkeypatch.context() as there:
            there.chdir(tmp_path)
            main()
        return capsys.readouterr().out

    def refused(*words: object) -> tuple[str, str]:
        with pytest.raises(UserError) as error:
            call(*words)
        sentence = str(error.value)
        assert "\n" not in sentence and len(sentence) < 700
        return capsys.readouterr().out, sentence

    call.refused = refused
    return call
