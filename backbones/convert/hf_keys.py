"""Names of the image encoders of Hugging Face's transformers, and timm's for each of them.

Read for facts from huggingface/transformers src/transformers/models/{vit,vit_mae,dinov2,dinov2_with_registers,
dinov3_vit,siglip,beit}/modeling_*.py and configuration_*.py, whose defaults a config.json may leave out.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

Make = Callable[[list[Tensor]], Tensor]
PARTS = ("weight", "bias")


def _same(parts: list[Tensor]) -> Tensor:
    return parts[0]


def _part(start: int, stop: int) -> Make:
    """Thirds `start` to `stop` of a projection of queries, keys and values."""
    return lambda parts: torch.cat(parts[0].chunk(3)[start:stop])


def _with_batch(parts: list[Tensor]) -> Tensor:
    return parts[0].unsqueeze(0)


def _patches(parts: list[Tensor]) -> Tensor:
    """A linear layer over patches of [rows, columns, RGB], as the convolution that it is."""
    side = math.isqrt(parts[0].shape[1] // 3)
    return parts[0].unflatten(1, (side, side, 3)).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Kind:
    """A model_type of transformers.

    Attributes:
        model, gated_model: timm's models of the kind, with a plain and a gated MLP (whose names are in gated_block).
        prefixes: What may stand before a name, outermost first.
        layer: Pattern of what stands before a block's name, with its number as group 1.
        block: Name in a block -> timm's names there, each with the names it is made of (weight and bias alike).
        outside: Whole name -> timm's whole names, each with how it is made.
        dropped: Pattern of the start of keys that are not used; reason: why.
        eps: Of timm's norms. defaults: What a config.json may leave out. fixed: Fields of it that have one value here.
        imagenet: Whether images are normalised by ImageNet's constants where no file says so, else by 0.5.
        method: Method id.
        pool: "map" where an attention pool reads the patches and there is no class token.
        registers: timm's argument for their number.
        merges_class_position: timm adds the class token's position to the token, where there are registers.
    """

    model: str
    prefixes: tuple[str, ...]
    layer: str
    block: Mapping[str, tuple[str, tuple[str, ...]]]
    outside: Mapping[str, tuple[tuple[str, Make], ...]]
    dropped: str
    method: str
    gated_model: str = ""
    gated_block: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    reason: str = "serves pretraining or classification, not the encoder"
    eps: float = 1e-6
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    imagenet: bool = True
    pool: str = "token"
    merges_class_position: bool = False
    registers: str = "reg_tokens"

    def with_gates(self) -> "Kind":
        """The kind with a gated MLP."""
        return replace(self, model=self.gated_model, block={**self.block, **self.gated_block})

    def targets(self, name: str) -> Iterator[tuple[str, tuple[str, ...], Make]]:
        """(timm's name, the names it is made of, how) for each tensor that begins with `name`."""
        found = re.fullmatch(rf"{self.layer}\.(\d+)\.(.+)", name)
        if found is None:
            for target, make in self.outside.get(name, ((name, _same),)):
                yield target, (name,), make
            return
        stem = name.removesuffix(found[2])
        inner, _, part = found[2].rpartition(".")
        if found[2] in self.block or inner not in self.block:  # a parameter by its whole name
            whole = self.block.get(found[2])
            yield (f"blocks.{found[1]}.{whole[0]}" if whole else name), (name,), _same
            return
        target, others = self.block[inner]
        if target:  # else it is joined to another
            yield f"blocks.{found[1]}.{target}.{part}", tuple(f"{stem}{o}.{part}" for o in (inner, *others)), torch.cat

    def arguments(self, taken: Mapping[str, Tensor]) -> dict[str, Any]:
        """timm's arguments beside the sizes."""
        arguments: dict[str, Any] = {}
        if "reg_token" in taken:
            arguments[self.registers] = taken["reg_token"].shape[1]
        if self.pool == "map" and "attn_pool.latent" not in taken:
            arguments |= {"global_pool": "avg", "fc_norm": False}
        return arguments


def _outside(prefix: str, **targets: str) -> dict[str, tuple[tuple[str, Make], ...]]:
    return {f"{prefix}{source}": ((target, _same),) for source, target in targets.items()}


def _weights(names: Mapping[str, str]) -> dict[str, tuple[tuple[str, Make], ...]]:
    return {f"{old}.{part}": ((f"{new}.{part}", _same),) for old, new in names.items() for part in PARTS}


ATTENTION = {
    "attention.attention.query": ("attn.qkv", ("attention.attention.key", "attention.attention.value")),
    "attention.attention.key": ("", ()),
    "attention.attention.value": ("", ()),
    "attention.output.dense": ("attn.proj", ()),
}
VIT_BLOCK = {
    **ATTENTION, "layernorm_before": ("norm1", ()), "layernorm_after": ("norm2", ()),
    "intermediate.dense": ("mlp.fc1", ()), "output.dense": ("mlp.fc2", ()),
}  # fmt: skip
EMBEDDINGS = _outside("embeddings.", cls_token="cls_token", position_embeddings="pos_embed")
PATCHES = _weights({"embeddings.patch_embeddings.projection": "patch_embed.proj", "layernorm": "norm"})
NUMBERS = {"hidden_size": 768, "num_attention_heads": 12, "hidden_act": "gelu", "patch_size": 16, "image_size": 224}
VIT = Kind(
    "vit_base_patch16_224", ("vit.",), r"encoder\.layer", VIT_BLOCK, {**EMBEDDINGS, **PATCHES},
    r"(vit\.)?(pooler\.|embeddings\.mask_token)|classifier\.|decoder\.", "supervised",
    defaults={**NUMBERS, "layer_norm_eps": 1e-12}, fixed={"qkv_bias": True}, imagenet=False,
)  # fmt: skip
DINOV2_BLOCK = {
    **ATTENTION, "norm1": ("norm1", ()), "norm2": ("norm2", ()), "mlp.fc1": ("mlp.fc1", ()), "mlp.fc2": ("mlp.fc2", ()),
    "mlp.weights_in": ("mlp.fc1", ()), "mlp.weights_out": ("mlp.fc2", ()),
    "layer_scale1.lambda1": ("ls1.gamma", ()), "layer_scale2.lambda1": ("ls2.gamma", ()),
}  # fmt: skip
DINOV2 = Kind(
    "vit_small_patch14_dinov2", ("dinov2.", "dinov2_with_registers."), r"encoder\.layer", DINOV2_BLOCK,
    {**EMBEDDINGS, **PATCHES, **_outside("embeddings.", register_tokens="reg_token")},
    r"(dinov2\w*\.)?embeddings\.mask_token|classifier\.", "dino", gated_model="vit_giant_patch14_dinov2",
    defaults={**NUMBERS, "layer_norm_eps": 1e-6}, fixed={"qkv_bias": True},
)  # fmt: skip
DINOV3_BLOCK = {
    "attention.q_proj": ("attn.qkv", ("attention.k_proj", "attention.v_proj")), "attention.k_proj": ("", ()),
    "attention.v_proj": ("", ()), "attention.o_proj": ("attn.proj", ()), "norm1": ("norm1", ()), "norm2": ("norm2", ()),
    "mlp.up_proj": ("mlp.fc1", ()), "mlp.down_proj": ("mlp.fc2", ()),
    "layer_scale1.lambda1": ("gamma_1", ()), "layer_scale2.lambda1": ("gamma_2", ()),
}  # fmt: skip
SIGLIP_BLOCK = {
    "layer_norm1": ("norm1", ()), "layer_norm2": ("norm2", ()), "mlp.fc1": ("mlp.fc1", ()), "mlp.fc2": ("mlp.fc2", ()),
    "self_attn.q_proj": ("attn.qkv", ("self_attn.k_proj", "self_attn.v_proj")), "self_attn.k_proj": ("", ()),
    "self_attn.v_proj": ("", ()), "self_attn.out_proj": ("attn.proj", ()),
}  # fmt: skip
SIGLIP_HEAD = {
    "head.attention.out_proj": "attn_pool.proj", "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1", "head.mlp.fc2": "attn_pool.mlp.fc2",
    "embeddings.patch_embedding": "patch_embed.proj", "post_layernorm": "norm",
}  # fmt: skip
SIGLIP_OUTSIDE = {
    **_weights(SIGLIP_HEAD), "head.probe": (("attn_pool.latent", _same),),
    "embeddings.position_embedding.weight": (("pos_embed", _with_batch),),
    **{f"head.attention.in_proj_{part}": ((f"attn_pool.q.{part}", _part(0, 1)), (f"attn_pool.kv.{part}", _part(1, 3)))
       for part in PARTS},
}  # fmt: skip
SIGLIP = Kind(
    "vit_base_patch16_siglip_224", ("vision_model.",), r"encoder\.layers", SIGLIP_BLOCK, SIGLIP_OUTSIDE,
    r"text_model\.|logit_|classifier\.|(vision_model\.)?embeddings\.position_ids", "siglip", pool="map",
    reason="belongs to the text tower, which has no counterpart here, or to classification", imagenet=False,
    defaults={**NUMBERS, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
)  # fmt: skip
SIGLIP2 = replace(
    SIGLIP, outside={**SIGLIP_OUTSIDE, "embeddings.patch_embedding.weight": (("patch_embed.proj.weight", _patches),)}
)
DINOV3_OUTSIDE = {
    **_outside("embeddings.", cls_token="cls_token", register_tokens="reg_token"),
    **_weights({"embeddings.patch_embeddings": "patch_embed.proj", "norm": "norm"}),
}
DINOV3 = Kind(
    "vit_small_patch16_dinov3_qkvb", ("dinov3_vit.", "model."), r"(?:encoder\.)?layer",
    {**DINOV3_BLOCK, "attention.q_proj.bias": ("attn.q_bias", ()), "attention.v_proj.bias": ("attn.v_bias", ())},
    DINOV3_OUTSIDE, r"(\w+\.)?embeddings\.mask_token|(\w+\.)?rope_embeddings\.|classifier\.", "dino", eps=1e-5,
    gated_model="vit_small_plus_patch16_dinov3_qkvb",
    gated_block={"mlp.gate_proj": ("mlp.fc1_g", ()), "mlp.up_proj": ("mlp.fc1_x", ())},
    defaults={**NUMBERS, "layer_norm_eps": 1e-5}, registers="num_reg_tokens",
    fixed={"rope_theta": 100.0, "query_bias": True, "key_bias": False, "value_bias": True, "proj_bias": True,
           "mlp_bias": True},
)  # fmt: skip
TABLE = "relative_position_bias.relative_position_bias_table"
BEIT_BLOCK = {
    **VIT_BLOCK, "attention.attention.query.bias": ("attn.q_bias", ()),
    "attention.attention.value.bias": ("attn.v_bias", ()), "lambda_1": ("gamma_1", ()), "lambda_2": ("gamma_2", ()),
    f"attention.attention.{TABLE}": ("attn.relative_position_bias_table", ()),
}  # fmt: skip
BEIT = Kind(
    "beit_base_patch16_224", ("beit.",), r"encoder\.layer", BEIT_BLOCK,
    {**EMBEDDINGS, **PATCHES, **_weights({"pooler.layernorm": "fc_norm"}),
     f"encoder.{TABLE}": (("rel_pos_bias.relative_position_bias_table", _same),)},
    r"(beit\.)?embeddings\.mask_token|.*relative_position_index$|classifier\.|lm_head\.|decode_head\.|auxiliary_head\.|fpn",
    "beit", defaults={**NUMBERS, "layer_norm_eps": 1e-12}, imagenet=False,
)  # fmt: skip
KINDS = {
    "vit": VIT, "vit_mae": replace(VIT, method="mae", imagenet=True), "dinov2": DINOV2,
    "dinov2_with_registers": replace(DINOV2, model="vit_small_patch14_reg4_dinov2",
                                     gated_model="vit_giant_patch14_reg4_dinov2", merges_class_position=True),
    "dinov3_vit": DINOV3, "siglip": SIGLIP, "siglip_vision_model": SIGLIP,
    "siglip2": SIGLIP2, "siglip2_vision_model": SIGLIP2, "beit": BEIT,
}  # fmt: skip
