"""Names that nothing reads are refused, with the nearest that something does: a mistyped key must not train silently.

Three kinds of places. Parts with a `type` are held to the arguments of that class. Parts without one whose reader is
known (data loaders, the top level) are held to the reader's names. In all others a new name is refused where it looks
like one that stands there.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from engine.errors import UserError
from engine.switches import SWITCHES, key_of

# What the suite itself reads at the top level of a configuration, beside mmengine's Runner.
TOP = {
    "task", "method", "head", "data", "metrics", "scale", "seed", "role", "protocol", "checkpoint", "parent",
    "captions", "run_name", "config_hash", "checkpoint_of_method", "selection", "recipe", "sync_bn",
    "model_wrapper_cfg", "global_batch_size", "accumulation", "drop_path_rate", "image_constants",
    "refused_encoders", "pretrain_scale", "encoder_name",
    "progress_interval", "state_interval", "state_minutes", "questions", "primary", "neighbours", "prefix", "probe",
    "custom_imports", "at_scale", "by_method", *map(key_of, SWITCHES),
}  # fmt: skip
# What builders take from a typed part before its class sees it.
BUILDERS = {"type", "_scope_", "_delete_", "priority", "constructor", "paramwise_cfg", "optimizer", "override",
            "requires_grad", "convert_to_iter_based"}  # fmt: skip
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
PARTS = {  # untyped parts whose readers are known
    "model.test_cfg": {"mode", "crop_size", "stride"},
    "optim_wrapper.paramwise_cfg": {"layer_decay"},
    "randomness": {"seed", "deterministic", "diff_rank_seed"},
    "env_cfg": {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"},
}
# Parts whose type follows from the encoder, and the classes that it may be.
LATE = {"model.backbone": ("ViTPyramid", "HierarchicalPyramid", "PooledEncoder")}
FREE = ("model.encoder.kwargs", "questions", "metrics", "selection")  # their readers refuse what they do not know
ALIKE = 0.75  # of two names, by difflib's ratio


@functools.cache
def top_level() -> frozenset[str]:
    """The names that are read at the top level of a configuration."""
    return frozenset({*TOP, *inspect.signature(Runner.__init__).parameters} - {"self"})


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """ "; did you mean X?", or nothing where no known name is near."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def check_overlay(cfg: Mapping[str, Any], overlay: Mapping[str, Any], where: str, prefix: str = "") -> None:
    """UserError where `overlay` states a name that neither stands in `cfg` nor is read by anything.

    Args:
        cfg: what the overlay will be merged over. where: it comes from, for people.
    """
    for key, value in overlay.items():
        place = f"{prefix}{key}"
        if key in cfg:
            below = cfg[key]
        elif key == "_delete_" or overlay.get("_delete_"):
            continue
        else:
            _check_new(cfg, key, where, prefix.rstrip("."))
            below = {}
        if type(below) in (int, float) and isinstance(value, str) and not value.startswith("<"):
            raise UserError(f"{where}: {place} is {value[:80]!r}, but a number stands there, such as {below}")
        if isinstance(below, Mapping) and below and not isinstance(value, Mapping) and value is not None:
            raise UserError(f"{where}: {place} is {str(value)[:80]!r}, but names stand below it: state {place}.NAME, "
                            f"such as {place}.{next(iter(below))}")  # fmt: skip
        if isinstance(value, Mapping) and isinstance(below, Mapping) and "type" not in value and place not in FREE:
            check_overlay(below, value, where, f"{place}.")


def check_indexed(cfg: Mapping[str, Any], key: str, where: str) -> None:
    """As `check_overlay` for a dotted key that goes through an entry of a list; what is not there is left to others."""
    *parents, last = key.split(".")
    node: Any = cfg
    for name in parents:
        if isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, Mapping) and name in node:
            node = node[name]
        else:
            return
    if isinstance(node, Mapping) and last not in node:
        _check_new(node, last, where, ".".join(parents))


def _check_new(part: Mapping[str, Any], key: str, where: str, place: str) -> None:
    """A name that does not stand in the part of the configuration at `place` ("" is the top level)."""
    if place == "":
        known = {*part, *top_level()}
    elif place in LOADERS:
        known = {*part, *inspect.signature(DataLoader.__init__).parameters} - {"self"}
    elif place in LATE and "type" not in part:
        known = {*part, "type"}.union(*(typed_arguments(name) or () for name in LATE[place]))
    elif "type" in part:
        known = typed_arguments(part["type"], load=True)
        known = _resembled(part, key) if known is None else known | BUILDERS
    elif place in PARTS:
        known = {*part, *PARTS[place]}
    else:
        known = _resembled(part, key)
    if known is not None and key not in known:
        name = f"{place}.{key}" if place else key
        raise UserError(f"{where}: nothing reads {name!r}{did_you_mean(key, known)}")


def _resembled(part: Mapping[str, Any], key: str) -> set[str] | None:
    """The names of a part whose reader takes anything, if `key` looks like one of them; else None."""
    return set(part) if did_you_mean(key, part, ALIKE) else None


def check_typed(cfg: Config, where: str, late: tuple[str, ...] = ()) -> None:
    """UserError where a part with a `type` states what the class of that name does not take.

    Args:
        late: places of parts whose type the data will decide.
    """
    for place, part in parts_of(cfg):
        if place in late:
            continue
        known = typed_arguments(part["type"]) if isinstance(part.get("type"), str) else None
        if known is None:
            continue
        if unknown := [key for key in part if key not in known and key not in BUILDERS]:
            raise UserError(
                f"{where}: {part['type']} at {place or 'the top level'} takes no {unknown[0]!r}"
                f"{did_you_mean(unknown[0], known)}"
            )


def parts_of(cfg: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted place, dict) of every dict in a configuration. mmengine's Config is no Mapping itself."""
    return _parts(cfg.to_dict(), "")


def _parts(node: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted place, dict) of every dict below `node`."""
    if isinstance(node, Mapping):
        yield place, node
        for key, child in node.items():
            yield from _parts(child, f"{place}.{key}" if place else str(key))
    elif isinstance(node, list | tuple):
        for number, child in enumerate(node):
            yield from _parts(child, f"{place}.{number}")


def typed_arguments(name: str, load: bool = False) -> set[str] | None:
    """What the classes registered as `name` take; None where there is none, or one that takes anything.

    Args:
        load: import the libraries that may register it, which takes seconds; else only what is loaded is known.
    """
    found: set[str] = set()
    classes = list(_registered(name.split(".")[-1], load))
    for takes in classes:
        known = arguments_of(takes)
        if known is None:
            return None
        found |= known
    return found if classes else None


def _registered(name: str, load: bool) -> Iterator[Callable]:
    """Everything that any registry of mmengine, mmseg or mmdet knows as `name`."""
    waiting = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    while waiting:
        registry = waiting.pop()
        waiting += registry.children.values()
        if load:
            registry.import_from_location()
        if name in registry.module_dict:
            yield registry.module_dict[name]


@functools.cache
def arguments_of(takes: Callable) -> set[str] | None:
    """The names of what a class or function takes, those of base classes behind **kwargs included; None: anything."""
    stages = [takes] if not inspect.isclass(takes) else [c.__dict__["__init__"] for c in takes.__mro__ if
                                                         "__init__" in c.__dict__]  # fmt: skip
    found: set[str] = set()
    for stage in stages:
        try:
            parameters = inspect.signature(stage).parameters.values()
        except (TypeError, ValueError):  # built in C
            return None
        kinds = {parameter.kind for parameter in parameters}
        found |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return found - {"self"}
    return None
