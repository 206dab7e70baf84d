"""Which tensors of a file become which tensors of a model, when a function of timm's does the renaming.

`checkpoint_filter_fn` of a timm module turns an official file into timm's keys: it renames, splits, joins and leaves
out, and says nothing of what it did. It is run here on tensors that remember where they come from, so that the key
ledger can account for its work. It may also resample what does not fit; that would be a silent change, and is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from engine.errors import UserError

RESAMPLING = (functional.interpolate, functional.grid_sample)


class Traced(Tensor):
    """A tensor with `sources`, the keys of the file that it was made from."""

    sources: frozenset[str] = frozenset()

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`; what it gives comes from all that it was given."""
        sources = frozenset[str]().union(*(item.sources for item in _tensors((args, kwargs))))
        if func in RESAMPLING:
            raise UserError(
                f"{', '.join(sorted(sources))} has another grid than the model and would be resampled; name the model "
                "that has this grid, or state its arguments"
            )
        result = super().__torch_function__(func, types, args, kwargs or {})
        for tensor in _tensors(result):
            tensor.sources = sources
        return result


def _tensors(value: Any) -> Iterator[Traced]:
    """The traced tensors in arguments or results of a function, however they are packed."""
    if isinstance(value, Traced):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def traced(
    change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Run `change` on a state dict.

    Returns:
        (its result, target key -> the keys of `state` that the tensor was made from: none for a new one).

    Raises:
        UserError: `change` resamples a tensor.
    """
    marked = {}
    for key, value in state.items():
        marked[key] = value.as_subclass(Traced)
        marked[key].sources = frozenset({key})
    result = dict(change(marked))
    sources = {key: tuple(sorted(getattr(value, "sources", ()))) for key, value in result.items()}
    return {key: value.as_subclass(Tensor) for key, value in result.items()}, sources
