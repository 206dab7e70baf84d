"""Whether a text tower can read what tells texts apart: a compact vocabulary knows the words of its captions only."""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence

from backbones.towers import Towers
from engine.errors import UserError, some


def check_read(towers: Towers, texts: Mapping[str, Sequence[str]], place: str) -> None:
    """Refuse texts that are all one to the text tower, and say on standard error which of them are.

    Args:
        texts: what is to be told apart -> the texts that stand for it.
        place: where they are asked, for messages.

    Raises:
        UserError: several, of all of which the tower reads the same; it names the words that the tower does not know.
    """
    groups = defaultdict(list)
    for name, of_name in texts.items():
        groups[tuple(towers.read(of_name))].append(name)
    alike = [name for names in groups.values() if len(names) > 1 for name in names]
    if not alike:
        return
    why = "they differ in nothing that it reads"
    if unknown := towers.unknown_words(alike):
        why = f"it does not know {some(map(repr, unknown))}"
    if len(groups) == 1:
        raise UserError(
            f"{place}: to the text tower {some(map(repr, alike))} are one text, since {why}: ask in words of its "
            "captions, or test a checkpoint that knows these"
        )
    told = f"{len(alike)} of {len(texts)} texts are not told apart from another ({some(map(repr, alike))})"
    print(f"warning: {place}: by the text tower {told}, since {why}", file=sys.stderr)
