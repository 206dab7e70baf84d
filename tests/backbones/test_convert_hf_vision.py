"""Folders of Hugging Face's image encoders: features equal those of a plain forward pass over the names in the file."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from backbones import build_encoder, load_exactly
from backbones.convert import convert_source, formats
from engine.errors import UserError

WIDTH, DEPTH, HEADS, PATCH, GRID = 48, 2, 3, 8, 4
CONFIG = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "patch_size": PATCH,
          "image_size": PATCH * GRID, "hidden_act": "gelu", "layer_norm_eps": 1e-6}  # fmt: skip
# Names in a block: norms, query, key, value, output, the two layers of the MLP, scales of the two branches.
VIT = {"n1": "layernorm_before", "n2": "layernorm_after", "q": "attention.attention.query",
       "k": "attention.attention.key", "v": "attention.attention.value", "o": "attention.output.dense",
       "up": "intermediate.dense", "down": "output.dense"}  # fmt: skip
DINOV2 = {**VIT, "n1": "norm1", "n2": "norm2", "up": "mlp.fc1", "down": "mlp.fc2",
          "s1": "layer_scale1.lambda1", "s2": "layer_scale2.lambda1"}  # fmt: skip
DINOV3 = {**DINOV2, "q": "attention.q_proj", "k": "attention.k_proj", "v": "attention.v_proj", "o": "attention.o_proj",
          "up": "mlp.up_proj", "down": "mlp.down_proj", "gate": "mlp.gate_proj"}  # fmt: skip
SIGLIP = {"n1": "layer_norm1", "n2": "layer_norm2", "q": "self_attn.q_proj", "k": "self_attn.k_proj",
          "v": "self_attn.v_proj", "o": "self_attn.out_proj", "up": "mlp.fc1", "down": "mlp.fc2"}  # fmt: skip
# model_type -> (prefix, start of a block's name, names in a block, name of the final norm, config, method)
KINDS = {
    "vit": ("vit.", "encoder.layer", VIT, "layernorm", {}, "supervised"),
    "vit_mae": ("vit.", "encoder.layer", VIT, "layernorm", {}, "mae"),
    "dinov2": ("", "encoder.layer", DINOV2, "layernorm", {}, "dino"),
    "dinov2_with_registers": ("", "encoder.layer", DINOV2, "layernorm", {}, "dino"),
    "dinov3_vit": ("", "layer", DINOV3, "norm", {"layer_norm_eps": 1e-5}, "dino"),
    "dinov3_gated": ("", "layer", DINOV3, "norm", {"layer_norm_eps": 1e-5, "use_gated_mlp": True}, "dino"),
    "siglip": (
        "vision_model.",
        "encoder.layers",
        SIGLIP,
        "post_layernorm",
        {"hidden_act": "gelu_pytorch_tanh"},
        "siglip",
    ),
}
KINDS["siglip2"] = KINDS["siglip"]


def random_state(kind):
    """A file of that kind, every tensor random."""
    prefix, layer, names, norm, config, _ = KINDS[kind]
    generator = torch.Generator().manual_seed(0)
    state = {}

    def put(name, *shape):
        state[prefix + name] = 0.3 * torch.randn(shape, generator=generator)

    def linear(name, rows, columns, bias=True):
        put(f"{name}.weight", rows, columns)
        if bias:
            put(f"{name}.bias", rows)

    patches = "embeddings.patch_embedding" + ("" if kind.startswith("siglip") else "s")
    patches += "" if kind.startswith(("dinov3", "siglip")) else ".projection"
    put(f"{patches}.weight", *((WIDTH, 3 * PATCH * PATCH) if kind == "siglip2" else (WIDTH, 3, PATCH, PATCH)))
    put(f"{patches}.bias", WIDTH)
    if kind.startswith("siglip"):
        put("embeddings.position_embedding.weight", GRID * GRID, WIDTH)
        put("head.probe", 1, 1, WIDTH)
        put("head.attention.in_proj_weight", 3 * WIDTH, WIDTH)
        put("head.attention.in_proj_bias", 3 * WIDTH)
        linear("head.attention.out_proj", WIDTH, WIDTH)
        linear("head.mlp.fc1", 4 * WIDTH, WIDTH)
        linear("head.mlp.fc2", WIDTH, 4 * WIDTH)
        put("head.layernorm.weight", WIDTH)
        put("head.layernorm.bias", WIDTH)
    else:
        put("embeddings.cls_token", 1, 1, WIDTH)
    if kind.startswith(("vit", "dinov2")):
        put("embeddings.position_embeddings", 1, 1 + GRID * GRID, WIDTH)
    if "registers" in kind or kind.startswith("dinov3"):
        put("embeddings.register_tokens", 1, 4, WIDTH)
    for i in range(DEPTH):
        for part in ("n1", "n2"):
            put(f"{layer}.{i}.{names[part]}.weight", WIDTH)
            put(f"{layer}.{i}.{names[part]}.bias", WIDTH)
        for part in ("q", "k", "v", "o"):
            linear(f"{layer}.{i}.{names[part]}", WIDTH, WIDTH, not (part == "k" and kind.startswith("dinov3")))
        for part in ("up", "gate") if config.get("use_gated_mlp") else ("up",):
            linear(f"{layer}.{i}.{names[part]}", 4 * WIDTH, WIDTH)
        linear(f"{layer}.{i}.{names['down']}", WIDTH, 4 * WIDTH)
        for part in ("s1", "s2"):
            if part in names:
                put(f"{layer}.{i}.{names[part]}", WIDTH)
    put(f"{norm}.weight", WIDTH)
    put(f"{norm}.bias", WIDTH)
    return state


def turn(x, rows, columns):
    """DINOv3's rotary positions of the patches of [heads, N, d], by its formula."""
    size = x.shape[-1]
    frequencies = 1 / 100 ** torch.arange(0, 1, 4 / size)
    centres = torch.stack(torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in (rows, columns)), indexing="ij"), -1)
    angles = 2 * math.pi * (2 * centres.flatten(0, 1) - 1)[..., None] * frequencies
    angles = angles.flatten(1).tile(2)
    first, second = x.chunk(2, -1)
    return x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()


def plain_forward(kind, state, images):
    """Tokens behind the final norm, by a loop over heads and blocks."""
    prefix, layer, names, norm, config, _ = KINDS[kind]
    config = {**CONFIG, **config}
    act = (lambda x: F.gelu(x, approximate="tanh")) if "tanh" in config["hidden_act"] else F.gelu
    get = {key.removeprefix(prefix): value for key, value in state.items()}

    def linear(name, x):
        return F.linear(x, get[f"{name}.weight"], get.get(f"{name}.bias"))

    def normed(name, x):
        return F.layer_norm(x, (WIDTH,), get[f"{name}.weight"], get[f"{name}.bias"], config["layer_norm_eps"])

    patches = next(k.removesuffix(".weight") for k in get if "patch_embedding" in k and k.endswith(".weight"))
    rows, columns = (side // PATCH for side in images.shape[-2:])
    if kind == "siglip2":  # patches of rows, columns and colours, through a linear layer
        x = images.unflatten(2, (rows, PATCH)).unflatten(4, (columns, PATCH)).permute(0, 2, 4, 3, 5, 1)
        x = linear(patches, x.flatten(3).flatten(1, 2))
    else:
        x = F.conv2d(images, get[f"{patches}.weight"], get[f"{patches}.bias"], stride=PATCH).flatten(2).mT
    if kind.startswith("siglip"):
        x = x + get["embeddings.position_embedding.weight"]
    else:
        x = torch.cat([get["embeddings.cls_token"].expand(len(x), -1, -1), x], 1)
    if "embeddings.position_embeddings" in get:
        x = x + get["embeddings.position_embeddings"]
    if "embeddings.register_tokens" in get:
        x = torch.cat([x[:, :1], get["embeddings.register_tokens"].expand(len(x), -1, -1), x[:, 1:]], 1)
    extra = x.shape[1] - rows * columns
    for i in range(DEPTH):
        at = {part: f"{layer}.{i}.{name}" for part, name in names.items()}
        h = normed(at["n1"], x)
        q, k, v = (linear(at[part], h).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in "qkv")
        if kind.startswith("dinov3"):
            q, k = (torch.cat([t[:, :, :extra], turn(t[:, :, extra:], rows, columns)], 2) for t in (q, k))
        weights = (q @ k.mT / math.sqrt(WIDTH // HEADS)).softmax(-1)
        h = linear(at["o"], (weights @ v).transpose(1, 2).flatten(2))
        x = x + h * get.get(at.get("s1"), torch.tensor(1.0))
        h = normed(at["n2"], x)
        h = (
            F.silu(linear(at["gate"], h)) * linear(at["up"], h)
            if config.get("use_gated_mlp")
            else act(linear(at["up"], h))
        )
        x = x + linear(at["down"], h) * get.get(at.get("s2"), torch.tensor(1.0))
    return normed(norm, x)


def write(folder, kind, state, beside=None):
    folder.mkdir(exist_ok=True)
    config = {**CONFIG, **KINDS[kind][4]}
    config = {"vision_config": config} if kind.startswith("siglip") else config
    config["model_type"] = "dinov3_vit" if kind == "dinov3_gated" else kind
    (folder / "config.json").write_text(json.dumps(config | (beside or {})))
    save_file(state, folder / "model.safetensors")
    return folder


@torch.no_grad()
def tokens(converted, images):
    encoder = build_encoder(**converted.encoder).eval()
    load_exactly(encoder, converted.state)
    return encoder.forward_features(images)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_features(tmp_path, kind):
    state = random_state(kind)
    converted = convert_source(write(tmp_path / "hf", kind, state))
    images = torch.randn(2, 3, PATCH * GRID, PATCH * GRID)
    wanted = plain_forward(kind, state, images)
    torch.testing.assert_close(tokens(converted, images), wanted, atol=1e-5, rtol=1e-4)
    assert converted.method == KINDS[kind][5] and converted.image["size"] == PATCH * GRID
    used = {source for text in converted.renamed.values() for source in text.split(" + ")}
    assert used == set(state) and not converted.dropped
    # every tensor of the file reaches the encoder
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    for key in state:
        other = formats()["hf_vision"].convert({**state, key: state[key] + 1}, config)
        assert any(not torch.equal(other.state[name], value) for name, value in converted.state.items()), key


def test_beit_in_the_names_of_transformers(tmp_path, randomised):
    """Undone: timm's own model with its tensors under those names."""
    kwargs = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "init_values": 0.1}
    model = randomised("beit_base_patch16_224", kwargs).eval()
    state = {}
    for key, value in model.state_dict().items():
        block, _, name = key.removeprefix("blocks.").partition(".") if key.startswith("blocks.") else ("", "", key)
        stem = f"beit.encoder.layer.{block}."
        if name == "attn.qkv.weight":
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"{stem}attention.attention.{part}.weight"] = third.clone()
            continue
        new = {"attn.q_bias": "attention.attention.query.bias", "attn.v_bias": "attention.attention.value.bias",
               "attn.relative_position_bias_table":
                   "attention.attention.relative_position_bias.relative_position_bias_table",
               "gamma_1": "lambda_1", "gamma_2": "lambda_2",
               "cls_token": "embeddings.cls_token"}.get(name)  # fmt: skip
        for old, other in {"attn.proj": "attention.output.dense", "norm1": "layernorm_before",
                           "norm2": "layernorm_after",
                           "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense", "fc_norm": "pooler.layernorm",
                           "patch_embed.proj": "embeddings.patch_embeddings.projection"}.items():  # fmt: skip
            if name.startswith(f"{old}."):
                new = name.replace(old, other)
        if new is not None:
            state[(stem if block else "beit.") + new] = value
    state["beit.embeddings.mask_token"] = torch.randn(1, 1, 48)
    folder = tmp_path / "beit"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, "model_type": "beit"}))
    save_file(state, folder / "model.safetensors")
    converted = convert_source(folder)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = model.forward_features(images)
    torch.testing.assert_close(tokens(converted, images), wanted, atol=1e-5, rtol=1e-4)
    assert set(converted.dropped) == {"beit.embeddings.mask_token"}
    assert converted.image["mean"] == [0.5] * 3


@pytest.mark.parametrize(("kind", "beside", "words"), [
    ("vit", {"qkv_bias": False}, "qkv_bias"), ("vit", {"hidden_act": "relu"}, "relu"),
    ("dinov3_vit", {"rope_theta": 10.0}, "rope_theta"), ("vit", {"layer_norm_eps": 1e-3}, "layer_norm_eps"),
    ("vit", {"model_type": "swin"}, "swin model"),
])  # fmt: skip
def test_what_is_not_computed_here_is_refused(tmp_path, kind, beside, words):
    folder = write(tmp_path / "hf", kind, random_state(kind), beside)
    with pytest.raises(UserError, match=words):
        convert_source(folder)


def test_heads_and_text_towers_are_named_in_the_ledger(tmp_path):
    state = random_state("vit") | {
        "classifier.weight": torch.randn(3, WIDTH),
        "vit.pooler.dense.weight": torch.randn(4, 4),
    }
    assert set(convert_source(write(tmp_path / "hf", "vit", state)).dropped) == {
        "classifier.weight", "vit.pooler.dense.weight",
    }  # fmt: skip
    state = random_state("siglip") | {"logit_bias": torch.randn(1), "text_model.final_layer_norm.bias": torch.randn(4)}
    converted = convert_source(write(tmp_path / "hf", "siglip", state))
    assert set(converted.dropped) == {"logit_bias", "text_model.final_layer_norm.bias"}
    state["vision_model.something.weight"] = torch.randn(2)
    with pytest.raises(UserError, match="something"):
        convert_source(write(tmp_path / "hf", "siglip", state))
