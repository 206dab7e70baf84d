"""Zero-shot classification: a class is the mean of its prompts' embeddings (Radford et al. 2021, as in open_clip).

w_c = normalise(mean over templates t of normalise(E_T(t(c)))); an image belongs to the class whose w_c is nearest.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UserError
from recognition.naming import ClassName


def class_embeddings(
    embed_texts: Callable[[list[str]], Tensor],
    names: Sequence[ClassName],
    templates: Sequence[str | Callable[[str], str]],
) -> Tensor:
    """Class names and templates -> class embeddings [C, E] of unit length.

    Args:
        embed_texts: texts -> embeddings [N, E] of unit length.
        names: the classes; one of several names is the mean over the prompts of all of them (facebookresearch/SLIP).
        templates: strings with one {} for the name, or functions of the name (open_clip's published lists).

    Raises:
        UserError: no class, no template, or a template without a place for the name.
    """
    if not names or not templates:
        raise UserError("zero-shot classification needs at least one class name and one template: give both")
    asked = prompts(names, templates)
    embeddings = embed_texts([prompt for of_class in asked for prompt in of_class])
    means = [part.mean(dim=0) for part in embeddings.split([len(of_class) for of_class in asked])]
    return F.normalize(torch.stack(means), dim=-1)


def prompts(names: Sequence[ClassName], templates: Sequence[str | Callable[[str], str]]) -> list[list[str]]:
    """The prompts of each class; see `class_embeddings`. UserError names a template without a place for the name."""
    if plain := [template for template in templates if isinstance(template, str) and "{}" not in template]:
        raise UserError(f"the template {plain[0]!r} has no {{}} where the class name goes: add it")
    return [[fill(template, name) for name in ([one] if isinstance(one, str) else one) for template in templates]
            for one in names]  # fmt: skip


def fill(template: str | Callable[[str], str], name: str) -> str:
    """A template's prompt for a name. UserError for a template with other places than {}."""
    if not isinstance(template, str):
        return template(name)
    try:
        return template.format(name)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"the template {template!r} has more than a {{}} for the class name ({error!r})") from None


def top_classes(images: Tensor, classes: Tensor, count: int) -> Tensor:
    """The `count` nearest classes of each image, best first; of equally near ones the earlier class.

    Args:
        images: [N, E] and classes: [C, E], of unit length.

    Returns: class indices [N, min(count, C)].
    """
    return (images @ classes.T).argsort(dim=1, descending=True, stable=True)[:, :count]


def hits(nearest: Tensor, labels: Tensor) -> Tensor:
    """Nearest classes [N, k] and true ones [N] -> bool [N]: is the true class among the k?"""
    return (nearest == labels[:, None]).any(dim=1)


def mean_per_class(hit: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over classes of the share of hits, over the classes that occur.

    Args:
        hit: bool [N]. labels: int64 [N]. weights: [R, N], how often each image counts in R resamples; once by default.

    Returns: [R], or [1] without weights, each in 0..1.
    """
    if weights is None:
        weights = torch.ones(1, len(labels))
    member = torch.zeros(len(labels), int(labels.max()) + 1, dtype=weights.dtype).scatter_(1, labels[:, None], 1)
    total = weights @ member  # [R, C]
    right = weights @ (member * hit[:, None])  # [R, C]
    present = total > 0
    return (right / total.clamp(min=1)).sum(dim=1) / present.sum(dim=1)
