"""mmengine's data samples do not tell a data loader how to pin them, so labels would go to a GPU from pageable memory.

A loader with `pin_memory` pins tensors and whatever has a method of that name; mmengine 0.10.7 gives its
`BaseDataElement` (a label map, the classes of boxes) all kin of it, `to`, `cpu` and `cuda`, but not this one.
"""

from mmengine.structures import BaseDataElement


def pin_memory(sample: BaseDataElement) -> BaseDataElement:
    """The sample with its tensors in pinned memory, those of its parts included; everything else is as it was."""
    pinned = sample.new()
    for name, value in sample.items():
        if hasattr(value, "pin_memory"):
            pinned.set_data({name: value.pin_memory()})
    return pinned


def install() -> None:
    """Give data samples the method, where they have none."""
    if not hasattr(BaseDataElement, "pin_memory"):
        BaseDataElement.pin_memory = pin_memory
