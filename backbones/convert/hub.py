"""Sources that are no path: `timm:NAME.TAG` and `hf:ORG/REPO`, out of the local caches first, else downloaded, and
`timm:NAME.TAG@FILE`, a file of yours in timm's keys.

Downloads go through huggingface_hub and torch.hub, into the caches that timm and transformers share with them.
"""

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from backbones.convert.folder import CONFIG, OPEN_CLIP, WEIGHTS
from engine.errors import UserError

TIMM, HUB = "timm:", "hf:"
FAILURES = (HfHubHTTPError, HFValidationError, EntryNotFoundError, OfflineModeIsEnabled, OSError)


class Found(NamedTuple):
    """A source on this machine: file or folder, its format ("auto": recognised), arguments that the source says."""

    path: Path
    format: str
    options: dict[str, Any]


def locate(source: str) -> Found:
    """Find what SOURCE names; a path is itself.

    Raises:
        UserError: weights that timm does not have, or that are neither in a cache nor to be downloaded.
    """
    if source.startswith(TIMM):
        model, _, file = source.removeprefix(TIMM).partition("@")
        if file:
            return Found(Path(file), "timm", {"model": model})
        return Found(_timm_file(model), "timm", {"model": model})
    if source.startswith(HUB):
        return Found(_hub_folder(source.removeprefix(HUB)), "auto", {})
    return Found(Path(source), "auto", {})


def _timm_file(model: str) -> Path:
    """The file of timm's weights NAME.TAG."""
    name, _, tag = model.partition(".")
    known = timm.list_pretrained(f"{name}.*") if timm.is_model(name) else []
    if not tag or model not in known:
        raise UserError(f"timm has no weights {model!r}; known are {', '.join(known) or 'none of that name'}")
    facts = timm.get_pretrained_cfg(model)
    if facts.custom_load:
        raise UserError(f"the weights of {model} are in a format of their own ({facts.custom_load}), which is not read")
    if facts.hf_hub_id:
        names = [facts.hf_hub_filename] if facts.hf_hub_filename else list(WEIGHTS[CONFIG])
        return _hub_file(facts.hf_hub_id, names)
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(facts.url).path).name
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(facts.url, str(place))
        except OSError as error:
            raise _unreachable(model, error) from None
    return place


def _hub_file(repository: str, names: list[str]) -> Path:
    """The first of the files that the cache or the repository has."""
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    reason: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except FAILURES as error:
            reason = error
    raise _unreachable(repository, reason)


def _hub_folder(repository: str) -> Path:
    """The folder of a repository with its configuration and weights."""
    for config, weights in WEIGHTS.items():
        cached = try_to_load_from_cache(repository, config) if "/" in repository else None
        if isinstance(cached, str):
            folder = Path(cached).parent
            if any((folder / f"{name}{part}").is_file() for name in weights for part in ("", ".index.json")):
                return folder
    try:
        for suffix in ("safetensors", "bin"):
            folder = Path(snapshot_download(repository, allow_patterns=["*.json", f"*.{suffix}"]))
            if any(folder.glob(f"*.{suffix}")):
                break
    except FAILURES as error:
        raise _unreachable(repository, error) from None
    if not any((folder / name).is_file() for name in (CONFIG, OPEN_CLIP)):
        raise UserError(f"{repository} has neither {CONFIG} nor {OPEN_CLIP}, so it is no model that is read here")
    return folder


def _unreachable(what: str, error: Exception | None) -> UserError:
    return UserError(
        f"{what} is in no local cache and cannot be downloaded ({type(error).__name__}); download it where there "
        "is a network and name the file or folder"
    )
