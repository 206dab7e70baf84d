"""Published weights into a checkpoint folder: what tools/convert.py does without --to."""

from typing import Any

from backbones.checkpoint import save_checkpoint
from backbones.convert import convert_source
from backbones.convert.families import data_of, family_of
from backbones.convert.hub import HUB, TIMM, locate
from backbones.encoder import build_encoder
from backbones.ledger import load_exactly
from engine import files
from engine.errors import UserError
from engine.provenance import code_version

LARGEST = 4096  # pixels a side of an encoder's images; a batch of larger ones fits no machine


def bring_in(
    source: str,
    out: str,
    format: str,
    options: dict[str, Any],
    name: str | None = None,
    pretrained_on: str | None = None,
) -> str:
    """Convert a published file into a checkpoint folder and return the key ledger's summary.

    The file's own history is unknown: samples and updates are 0, and `config_hash` is the SHA-256 of its weights. Its
    data are what `pretrained_on` or a tag of timm's says.
    """
    found = locate(source)
    path = found.path
    format = found.format if format == "auto" else format
    converted = convert_source(path, format, **{**found.options, **options})
    side = converted.image["size"]
    if not isinstance(side, int) or not 1 <= side <= LARGEST:
        raise UserError(f"{source}: its images would have {side} pixels a side: say the right size, 1 to {LARGEST}")
    source = source.partition("@")[0] if source.startswith(TIMM) else source
    hub = source.startswith((TIMM, HUB))
    tag = source if hub else str(options.get("model", ""))
    encoder = build_encoder(**converted.encoder)
    load_exactly(encoder, converted.state, what=source)
    ledger = converted.ledger()
    parts = path.iterdir() if path.is_dir() else [path]
    weights = max(parts, key=lambda part: part.stat().st_size)  # of a folder, the largest file
    meta = {
        "name": name or (source if hub else path.resolve().name if path.is_dir() else path.stem),
        "source": source if hub else path.name, "family": family_of(converted, tag),
        "method": converted.method, "captions": None, "seed": 0, "scale": "published", "encoder": converted.encoder,
        "image": converted.image,
        "data": {"name": pretrained_on or data_of(tag) or "published", "samples": None, "file": path.name},
        "samples_seen": 0, "updates": 0, "config_hash": files.sha256(weights), "code_version": code_version(),
        "parent": None, "ledger": ledger.document(), "text": converted.text,
        "cost": {"wall_s": None, "samples_per_s": None, "peak_memory_mib": None, "hardware": None},
    }  # fmt: skip
    save_checkpoint(out, encoder, meta, converted.text_state)
    arguments = ", ".join(f"{key}={value}" for key, value in converted.encoder["kwargs"].items())
    return f"{ledger.summary()}\n{out}: {converted.method}, {converted.encoder['name']}({arguments})"
