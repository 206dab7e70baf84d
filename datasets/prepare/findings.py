"""What a check found: counts, problems that forbid training, notes that do not; one screen of text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UserError

FIRST = 4  # of each kind of problem, so many are named
SUBSET = "count other than the published one"


class CannotTrain(UserError):
    """The data were read and training would refuse them; status 2 is for what was asked."""

    status = 1


@dataclass
class Findings:
    """Filled by the checks of one data set.

    Attributes:
        problems, notes: what is wrong, in the singular ("label map of another size than its image") -> where, one
            sentence for each case. A problem forbids training; a note does not.
        lines: (heading, text) of the summary.
        counts: split -> what -> number.
        published: what `counts` should be by the data set's publisher, where there is one.
        subset: whether other counts than those were accepted.
        sample: files of which checksums are kept.
        image: {"mean", "std"} of the training images' R, G, B in 0 .. 1, where they were decoded.
    """

    allow_subset: bool = False
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    published: dict[str, dict[str, int]] = field(default_factory=dict)
    subset: bool = False
    sample: list[str] = field(default_factory=list)
    image: dict[str, list[float]] | None = None

    def problem(self, what: str, where: str) -> None:
        """Something that forbids training."""
        self.problems.setdefault(what, []).append(where)

    def note(self, what: str, where: str) -> None:
        """Something to know that does not forbid training."""
        self.notes.setdefault(what, []).append(where)

    def count(self, split: str, what: str, number: int, published: int | None = None, hint: str = "") -> None:
        """State how many there are; another number than the published one is a problem unless subsets are allowed.

        Args:
            split, what: of what ("train", "images").
            number: found. published: by the publisher.
            hint: what may explain a difference.
        """
        self.counts.setdefault(split, {})[what] = number
        if published is None:
            return
        self.published.setdefault(split, {})[what] = published
        if number == published:
            return
        sentence = f"{split} has {number:,} {what}, published are {published:,}{'; ' + hint if hint else ''}"
        if self.allow_subset:
            self.subset = True
            self.note(SUBSET, sentence)
        else:
            self.problem(SUBSET, f"{sentence}; complete the data, or accept them as they are with --allow-subset")

    def take_sample(self, paths: Sequence[str], most: int = 4) -> None:
        """Keep checksums of a few files, spread evenly from the first to the last."""
        last, most = len(paths) - 1, min(most, len(paths))
        self.sample += [paths[last * k // max(1, most - 1)] for k in range(most)]

    def text(self) -> str:
        """The summary: headings, counts, notes, problems."""
        counts = [(split, ", ".join(f"{number:,} {what}" for what, number in found.items()))
                  for split, found in self.counts.items()]  # fmt: skip
        lines = [f"  {heading:<11} {text}" for heading, text in [*counts, *self.lines]]
        for label, found in (("note", self.notes), ("PROBLEM", self.problems)):
            for what, where in found.items():
                lines.append(f"  {label:<11} {what}: {len(where):,}")
                lines += [f"  {'':<11}   {sentence}" for sentence in where[:FIRST]]
                lines += [f"  {'':<11}   ..."] * (len(where) > FIRST)
        return "\n".join(lines)

    def brief(self, found: dict[str, list[str]]) -> list[dict[str, Any]]:
        """Problems or notes for the manifest: what, how many, the first of them."""
        return [{"what": what, "count": len(where), "first": where[:FIRST]} for what, where in found.items()]
