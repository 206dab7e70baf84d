"""BEiT, CAE (both releases and mmpretrain's), FD and SimMIM's ViT: files of their published structure give the same
features here.

The reference is a plain float64 forward pass written below, which reads the weights before they get the layout's names.
"""

import functools
import math

import pytest
import torch
from timm.layers import resize_rel_pos_bias_table
from torch.nn import functional

from backbones import ViTPyramid, build_encoder, load_encoder, save_checkpoint
from backbones.convert import beit, cae, convert_source
from engine.errors import UserError

SHARED = "rel_pos_bias.relative_position_bias_table"
FORMATS = ("beit", "beit_ft", "cae", "cae_first", "cae_mmpretrain", "fd", "fd_ft", "simmim")
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@functools.cache
def core(width, heads, patch, grid, positions="shared", pooled=False, depth=2):
    """The encoder in BEiT's and CAE's own names; every tensor is random and large enough to matter."""
    patches = {"patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,)}
    shapes = {"cls_token": (1, 1, width), **patches}
    table = ((2 * grid - 1) ** 2 + 3, heads)
    if positions == "absolute":
        shapes["pos_embed"] = (1, grid * grid + 1, width)
    if positions == "shared":
        shapes |= {SHARED: table, "rel_pos_bias.relative_position_index": (2, 2)}
    for i in range(depth):
        b = f"blocks.{i}."
        shapes |= {b + key: (width,) for key in ("gamma_1", "gamma_2", "attn.q_bias", "attn.v_bias")}
        shapes |= {f"{b}norm{j}.{part}": (width,) for j in (1, 2) for part in ("weight", "bias")}
        for name, (into, out) in {"attn.proj": (1, 1), "mlp.fc1": (1, 4), "mlp.fc2": (4, 1)}.items():
            shapes |= {f"{b}{name}.weight": (out * width, into * width), f"{b}{name}.bias": (out * width,)}
        shapes[b + "attn.qkv.weight"] = (3 * width, width)
        if positions == "blocks":
            shapes |= {f"{b}attn.relative_position_bias_table": table, f"{b}attn.relative_position_index": (2, 2)}
    shapes |= {f"{'fc_norm' if pooled else 'norm'}.{part}": (width,) for part in ("weight", "bias")}
    generator, state = torch.Generator().manual_seed(7), {}
    for key, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        fan_in = math.prod(shape[1:]) if key.endswith("weight") and len(shape) > 1 else 1
        state[key] = value.mul(10).long() if key.endswith("index") else value / fan_in**0.5
    return state


def extra(*keys):
    return {key: torch.randn(3) for key in keys}


def published(name):
    """(the encoder in its own names, the file as it was published, heads)."""
    if name == "simmim":
        inner = core(48, 3, 8, 4)
        wrapped = {f"encoder.{key}": value for key, value in inner.items()}
        return inner, {"model": wrapped | extra("encoder.mask_token", "decoder.0.weight", "decoder.0.bias")}, 3
    if name.startswith(("beit", "fd")):
        tuned = name.endswith("_ft")
        inner, heads = core(48, 3, 8, 4, "blocks" if tuned else "shared", tuned), 3
        if tuned:
            classes = 21841 if name == "beit_ft" else 1000
            head = {"head.weight": torch.randn(classes, 48), "head.bias": torch.randn(classes)}
            return inner, {"model": {**inner, **head}}, heads
        if name == "beit":
            return inner, {"model": inner | extra("mask_token", "lm_head.weight", "lm_head.bias")}, heads
        others = extra("decoder.0.weight", "decoder.0.bias", "feature_model.visual.conv1.weight", "feature_model.proj")
        return inner, {"model": {f"encoder.{key}": value for key, value in inner.items()} | others}, heads
    if name == "cae_mmpretrain":
        inner = core(768, 12, 4, 3, "absolute")
        swaps = {"patch_embed.proj.": "patch_embed.projection.", "blocks.": "layers.", ".norm": ".ln"}
        swaps |= {"mlp.fc1": "ffn.layers.0.0", "mlp.fc2": "ffn.layers.1"}
        state = {}
        for key, value in inner.items():
            key = key.replace("norm.", "ln1.") if key.startswith("norm.") else key
            for old, new in swaps.items():
                key = key.replace(old, new)
            state[f"backbone.{key}"] = value
        state |= extra("teacher.cls_token", "teacher.layers.1.ln1.weight", "target_generator.blocks.input.w")
        state |= extra("neck.regressors.0.norm1_q_cross.ln2.weight", "neck.mask_token", "neck.head.weight")
        return inner, {"meta": {}, "state_dict": state}, 12
    inner = core(192, 12, 8, 3, "absolute")
    copy = "alignment_encoder" if name == "cae" else "teacher"
    # The copy comes first and last, differs in every tensor, and may not be taken for the encoder.
    state = {f"{copy}.{key}": -value for key, value in inner.items()}
    state |= {f"encoder.{key}": value for key, value in inner.items()}
    if name == "cae":
        state |= extra("regresser.norm.weight", "decoder.norm.weight", "decoder.head.bias", "rd_pos_embed")
        state |= extra("encoder_to_regresser.weight", "encoder_to_regresser_norm.bias")
    else:
        state |= extra("pretext_neck.regressor_blocks.0.norm1_q.weight", "pretext_neck.head.weight")
        state |= extra("encoder_to_decoder.weight", "encoder_to_decoder_norm.weight")
    return inner, {"model": state | extra("mask_token", f"{copy}.norm.bias")}, 12


def bias_of(table, rows, columns):
    """[heads, 1 + N, 1 + N] entry by entry."""
    count = 1 + rows * columns
    bias = torch.zeros(table.shape[1], count, count, dtype=torch.float64)
    for q in range(count):
        for k in range(count):
            (r, c), (r2, c2) = divmod(q - 1, columns), divmod(k - 1, columns)
            place = (r - r2 + rows - 1) * (2 * columns - 1) + c - c2 + columns - 1
            if 0 in (q, k):
                place = len(table) - (1 if q == k else 3 if q == 0 else 2)
            bias[:, q, k] = table[place]
    return bias


def reference(state, image, heads):
    """Features [B, 1 + N, d] of the published encoder, positions resized by the suite's documented policy."""
    w = {key: value.double() for key, value in state.items()}
    patch = state["patch_embed.proj.weight"].shape[-1]
    x = functional.conv2d(image.double(), w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=patch)
    rows, columns = x.shape[2:]
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
    width = x.shape[2]
    if "pos_embed" in w:
        side = math.isqrt(w["pos_embed"].shape[1] - 1)
        plane = w["pos_embed"][:, 1:].transpose(1, 2).reshape(1, width, side, side)
        if (rows, columns) != (side, side):
            plane = functional.interpolate(plane, (rows, columns), mode="bicubic", antialias=True)
        x = x + torch.cat([w["pos_embed"][:, :1], plane.flatten(2).transpose(1, 2)], dim=1)

    def norm(y, name):
        centred = y - y.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[name + ".weight"] + w[name + ".bias"]
        )

    for i in range(sum(key.endswith(".gamma_1") for key in w)):
        b = f"blocks.{i}."
        y = norm(x, b + "norm1")
        q, k, v = (y @ part.T for part in w[b + "attn.qkv.weight"].split(width))
        q, v = q + w[b + "attn.q_bias"], v + w[b + "attn.v_bias"]
        q, k, v = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        scores = q @ k.transpose(2, 3) / (width // heads) ** 0.5
        table = w.get(SHARED, w.get(b + "attn.relative_position_bias_table"))
        if table is not None:
            side = (math.isqrt(len(table) - 3) + 1) // 2
            if (rows, columns) != (side, side):
                length = (2 * rows - 1) * (2 * columns - 1) + 3
                table = resize_rel_pos_bias_table(
                    table.float(), (rows, columns), (length, heads), (side, side)
                ).double()
            scores = scores + bias_of(table, rows, columns)
        y = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2) @ w[b + "attn.proj.weight"].T + w[b + "attn.proj.bias"]
        x = x + w[b + "gamma_1"] * y
        y = norm(x, b + "norm2") @ w[b + "mlp.fc1.weight"].T + w[b + "mlp.fc1.bias"]
        y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
        x = x + w[b + "gamma_2"] * (y @ w[b + "mlp.fc2.weight"].T + w[b + "mlp.fc2.bias"])
    return norm(x, "norm") if "norm.weight" in w else x


def encoder_of(converted):
    encoder = build_encoder(**converted.encoder).eval()
    encoder.load_state_dict(converted.state)
    return encoder


def images(state, rows, columns):
    patch = state["patch_embed.proj.weight"].shape[-1]
    return torch.randn(2, 3, rows * patch, columns * patch, generator=torch.Generator().manual_seed(3))


def close(features, expected):
    torch.testing.assert_close(features.double(), expected, rtol=1e-5, atol=1e-5)


def convert(folder, content, name="auto"):
    """Through a file. --format says nothing, but for the layout that BEiT and FD share."""
    torch.save(content, folder / "file.pth")
    return convert_source(folder / "file.pth", "fd" if name == "fd_ft" else "auto")


@torch.no_grad()
@pytest.mark.parametrize("name", FORMATS)
def test_features_are_those_of_the_published_encoder(tmp_path, name):
    state, content, heads = published(name)
    converted = convert(tmp_path, content, name)
    encoder = encoder_of(converted)
    side = encoder.patch_embed.grid_size[0]
    for grid in ((side, side), (5, 2)):
        x = images(state, *grid)
        close(encoder.forward_features(x), reference(state, x, heads))
    mean, std = ([0.5] * 3, [0.5] * 3) if name.startswith("beit") else IMAGENET
    patch = encoder.patch_embed.patch_size[0]
    assert (
        converted.image == {"mean": mean, "std": std, "size": side * patch} and converted.method == name.split("_")[0]
    )
    assert encoder.blocks[0].norm1.eps == 1e-6 and converted.text is None and not converted.new
    if "fc_norm.weight" in state:
        pooled = reference(state, x, heads)[:, 1:].mean(1)
        weight, bias = state["fc_norm.weight"].double(), state["fc_norm.bias"].double()
        close(encoder(x), functional.layer_norm(pooled, pooled.shape[1:], weight, bias, 1e-6))


@torch.no_grad()
@pytest.mark.parametrize("name", ["beit", "beit_ft", "cae"])
def test_every_tensor_of_the_encoder_matters(name):
    """So that the test above would fail if LayerScale, a bias, positions or one block's table were lost."""
    state, _, heads = published(name)
    x = images(state, 2, 3)
    whole = reference(state, x, heads)
    for key, value in ((k, v) for k, v in state.items() if not k.endswith("index") and not k.startswith("fc_norm")):
        lost = {**state, key: torch.ones_like(value) if "gamma" in key else torch.zeros_like(value)}
        assert (reference(lost, x, heads) - whole).abs().max() > 1e-2, key


@pytest.mark.parametrize("name", FORMATS)
def test_the_ledger_has_every_key(tmp_path, name):
    _, content, _ = published(name)
    source = content.get("model") or content["state_dict"]
    converted = convert(tmp_path, content, name)
    used = {key for text in converted.renamed.values() for key in text.split(" + ")}
    assert used | set(converted.dropped) == set(source) and not used & set(converted.dropped)
    assert set(converted.renamed) == set(converted.state)
    own = {"cae": "encoder.", "fd": "encoder.", "simmim": "encoder."}.get(
        name.removesuffix("_first"), "backbone." if "mm" in name else ""
    )
    assert all(key.startswith(own) and not key.endswith("index") for key in used)
    if converted.method == "cae":
        biases = [value.chunk(3) for key, value in converted.state.items() if key.endswith("qkv.bias")]
        assert len(biases) == 2 and all(q.any() and not k.any() and v.any() for q, k, v in biases)


def test_a_shared_table_stays_shared_until_fine_tuning(tmp_path, make_meta):
    state, content, heads = published("fd")
    converted = convert(tmp_path, content)
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, encoder_of(converted), make_meta(converted.encoder))
    encoder = load_encoder(folder)[0]
    assert torch.equal(encoder.rel_pos_bias.relative_position_bias_table, state[SHARED])
    assert encoder.blocks[0].attn.relative_position_bias_table is None
    own = ViTPyramid(str(folder)).encoder.eval()
    assert own.rel_pos_bias is None and torch.equal(own.blocks[1].attn.relative_position_bias_table, state[SHARED])
    x = images(state, 5, 3)
    unnormed = reference({key: value for key, value in state.items() if key != "norm.weight"}, x, heads)
    with torch.no_grad():  # a pyramid takes blocks, so it has no last norm
        close(own.forward_features(x), unnormed)


def test_large_models_are_named_so():
    state = core(1024, 16, 14, 2, depth=1)
    large = beit.convert(state).encoder
    assert large["name"] == "beit_large_patch16_224" and large["kwargs"]["patch_size"] == 14
    state = {f"encoder.{key}": value for key, value in core(1024, 16, 16, 2, "absolute", depth=1).items()}
    large = cae.convert(state).encoder
    assert large["name"] == "vit_large_patch16_224" and large["kwargs"]["num_heads"] == 16


def test_the_layout_that_beit_and_fd_share_has_to_be_named(tmp_path):
    _, content, _ = published("fd_ft")
    with pytest.raises(UserError, match="beit, fd share this layout"):
        convert(tmp_path, content)
    assert convert_source(tmp_path / "file.pth", "beit").method == "beit"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("beit", "norm.bias"),
        ("beit_ft", "blocks.1.attn.relative_position_bias_table"),
        ("beit_ft", "patch_embed.proj.weight"),
        ("fd", "encoder.blocks.1.attn.v_bias"),
        ("simmim", "encoder.blocks.1.norm2.weight"),
        ("cae", "encoder.pos_embed"),
        ("cae", "encoder.blocks.1.attn.q_bias"),
        ("cae_mmpretrain", "backbone.layers.1.gamma_1"),
    ],
)
def test_a_missing_key_is_named(tmp_path, name, key):
    _, content, _ = published(name)
    (content.get("model") or content["state_dict"]).pop(key)
    inner = "blocks.1.ls1.gamma" if key.endswith("gamma_1") else key.removeprefix("encoder.")
    with pytest.raises(UserError, match=rf"missing.*{inner}|{inner}.* is missing") as error:
        convert(tmp_path, content, name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "key"),
    [("beit", "cls_pt_layers.0.x"), ("fd", "decoder.1.x"), ("cae", "teacher2.x"), ("simmim", "encoder.cls_pt.x")],
)
def test_an_extra_key_is_named(tmp_path, name, key):
    _, content, _ = published(name)
    content["model"][key] = torch.zeros(2)
    with pytest.raises(UserError, match=key.removeprefix("encoder.")):
        convert(tmp_path, content)


def test_what_shapes_cannot_tell_is_refused(tmp_path):
    narrow = core(48, 3, 8, 3, "absolute")
    state = {f"{part}.{key}": value for part in ("encoder", "alignment_encoder") for key, value in narrow.items()}
    state |= extra("regresser.norm.weight", "mask_token")
    with pytest.raises(UserError, match="no shape tells how many heads one of width 48 has"):
        convert(tmp_path, {"model": state})
    stated = encoder_of(convert_source(tmp_path / "file.pth", heads=3))
    close(stated.forward_features(images(narrow, 3, 3)).detach(), reference(narrow, images(narrow, 3, 3), 3))
    _, content, _ = published("cae")
    content["model"]["encoder.pos_embed"] = torch.zeros(1, 9, 192)
    with pytest.raises(UserError, match="is no square grid behind a class entry"):
        convert(tmp_path, content)
    _, content, _ = published("beit")
    content["model"][SHARED] = torch.zeros(50, 3)
    with pytest.raises(UserError, match="50 rows belongs to no square grid"):
        convert(tmp_path, content)
