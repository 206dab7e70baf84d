"""BEiT: the loss and its gradients against a plain float64 encoder, what the encoder sees, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from engine.errors import UserError
from pretrain.data.augment import RandomCrop
from pretrain.methods import beit as module
from pretrain.methods.beit import BEiT
from pretrain.parts.block_masking import block_mask
from pretrain.tokenizer.dvae import Encoder
from study.configure import load_config
from tests.pretrain.samples import ENCODER

RELATIVE = dict(
    use_abs_pos_emb=False, use_rel_pos_bias=False, use_shared_rel_pos_bias=True, use_fc_norm=False, init_values=0.1
)
BEIT = {"name": "beit_base_patch16_224", "kwargs": {**ENCODER["kwargs"], **RELATIVE}}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tokenizer") / "tokens.pth"
    torch.save(Encoder(20, 4, 1).state_dict(), path)
    return dict(type="dvae", file=str(path))


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    model = BEiT(encoder=BEIT, tokenizer=tokenizer, mask_count=6)
    table = model.encoder.rel_pos_bias.relative_position_bias_table
    torch.nn.init.normal_(table)  # zero at the start, where its place would not show
    return model


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return {"image": torch.randn(3, 3, 32, 32), "pixels": torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)}


@pytest.fixture
def mask(monkeypatch):
    torch.manual_seed(2)
    drawn = block_mask(3, (4, 4), 6, torch.device("cpu"))
    monkeypatch.setattr(module, "block_mask", lambda *_: drawn)
    return drawn


def plain_loss(p, image, ids, hidden):
    """Mean cross-entropy over hidden places of a BEiT written out: parameters `p` by name, one image at a time."""
    terms = []
    for b in range(len(image)):
        kernel = p["encoder.patch_embed.proj.weight"].flatten(1)
        rows = [p["encoder.cls_token"][0, 0]]
        for place in range(16):
            top, left = 8 * (place // 4), 8 * (place % 4)
            patch = image[b, :, top : top + 8, left : left + 8].flatten()
            visible = kernel @ patch + p["encoder.patch_embed.proj.bias"]
            rows.append(p["mask_token"][0, 0] if place in hidden[b] else visible)
        x = torch.stack(rows)  # [17, 24]
        table, bias = p["encoder.rel_pos_bias.relative_position_bias_table"], torch.zeros(3, 17, 17).double()
        for i in range(17):
            for j in range(17):
                if i and j:  # offsets of rows and columns, 7 of each on a 4 x 4 grid
                    down, right = (i - 1) // 4 - (j - 1) // 4, (i - 1) % 4 - (j - 1) % 4
                    entry = (down + 3) * 7 + right + 3
                else:  # the last three: from CLS, to CLS, CLS to itself
                    entry = 49 + (2 if i == j else 0 if i == 0 else 1)
                bias[:, i, j] = table[entry]
        for k in range(2):
            q = {n.split(f"blocks.{k}.")[1]: v for n, v in p.items() if f"blocks.{k}." in n}
            y = F.layer_norm(x, (24,), q["norm1.weight"], q["norm1.bias"], eps=1e-6)
            zero = torch.zeros_like(q["attn.q_bias"])
            qkv = y @ q["attn.qkv.weight"].T + torch.cat([q["attn.q_bias"], zero, q["attn.v_bias"]])  # no bias of keys
            heads = []
            for h in range(3):
                query, key, value = (qkv[:, 24 * n + 8 * h : 24 * n + 8 * h + 8] for n in range(3))
                heads.append((query @ key.T / 8**0.5 + bias[h]).softmax(dim=1) @ value)
            x = x + q["gamma_1"] * (torch.cat(heads, dim=1) @ q["attn.proj.weight"].T + q["attn.proj.bias"])
            y = F.layer_norm(x, (24,), q["norm2.weight"], q["norm2.bias"], eps=1e-6)
            y = F.gelu(y @ q["mlp.fc1.weight"].T + q["mlp.fc1.bias"])
            x = x + q["gamma_2"] * (y @ q["mlp.fc2.weight"].T + q["mlp.fc2.bias"])
        x = F.layer_norm(x, (24,), p["encoder.norm.weight"], p["encoder.norm.bias"], eps=1e-6)
        for place in hidden[b]:
            scores = p["lm_head.weight"] @ x[1 + place] + p["lm_head.bias"]
            terms.append(scores.logsumexp(dim=0) - scores[ids[b][place]])
    assert len(terms) == 3 * 6
    return torch.stack(terms).mean()


def test_loss_and_gradients_by_loops(model, inputs, mask):
    model.train()
    losses = model(inputs=inputs)
    losses["loss_token"].backward()
    plain = {name: p.detach().double().requires_grad_() for name, p in model.named_parameters()}
    ids = model.tokenizer.ids(inputs["pixels"]).tolist()
    expected = plain_loss(plain, inputs["image"].double(), ids, mask.hidden.tolist())
    expected.backward()
    assert float(losses["loss_token"]) == pytest.approx(float(expected), rel=1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
        torch.testing.assert_close(parameter.grad.double(), plain[name].grad, rtol=1e-3, atol=1e-6, msg=name)


def test_hidden_pixels_are_not_seen_and_visible_ones_not_named(model, inputs, mask):
    images = inputs["image"].requires_grad_()
    model(inputs=inputs)["loss_token"].backward()
    hidden = torch.zeros(3, 16, dtype=torch.bool).scatter_(1, mask.hidden, True).view(3, 1, 4, 4)
    hidden = hidden.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1)
    assert (images.grad[hidden] == 0).all() and (images.grad[~hidden] != 0).float().mean() > 0.9
    ids = model.tokenizer.ids(inputs["pixels"])
    loss = model(inputs={"image": images, "ids": ids})["loss_token"]
    other = ids.scatter(1, mask.keep, 0)
    assert torch.equal(model(inputs={"image": images, "ids": other})["loss_token"], loss)
    named = ids.scatter(1, mask.hidden, 19)
    assert not torch.equal(model(inputs={"image": images, "ids": named})["loss_token"], loss)


def test_ids_of_a_cache_serve_as_well(model, inputs, mask):
    ids = model.tokenizer.ids(inputs["pixels"])
    cached = model(inputs={"image": inputs["image"], "ids": ids})
    assert float(cached["loss_token"]) == float(model(inputs=inputs)["loss_token"])
    scores = model.lm_head(model.encode(inputs["image"], mask))
    right = [
        int(scores[b, m].argmax()) == int(ids[b, place]) for b in range(3) for m, place in enumerate(mask.hidden[b])
    ]
    assert float(cached["accuracy"]) == pytest.approx(100 * np.mean(right))


def test_mask_counts(model, inputs, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "block_mask", lambda *args: seen.append(block_mask(*args)) or seen[-1])
    model(inputs=inputs)
    assert seen[0].hidden.shape == (3, 6) and seen[0].keep.shape == (3, 10)


def test_start_and_state(model, tokenizer, inputs):
    state = model.state_dict()
    assert not [name for name in state if "tokenizer" in name]
    assert {name for name in state if not name.startswith("encoder.")} == {
        "mask_token", "lm_head.weight", "lm_head.bias",
    }  # fmt: skip
    torch.manual_seed(9)
    other = BEiT(encoder=BEIT, tokenizer=tokenizer, mask_count=6)
    assert float(other.encoder.rel_pos_bias.relative_position_bias_table.detach().abs().max()) == 0
    for weight in (other.mask_token, other.lm_head.weight, other.encoder.patch_embed.proj.weight):
        assert 0.005 < float(weight.std()) < 0.02 and float(weight.abs().max()) <= 0.02
    other.load_state_dict(state)
    for net in (model, other):
        torch.manual_seed(3)
        net.found = net.eval()(inputs=inputs)["loss_token"]
    assert torch.equal(model.found, other.found)


def test_absolute_and_per_block_positions_run_too(tokenizer, inputs):
    for change in ({"use_abs_pos_emb": True}, {"use_rel_pos_bias": True, "use_shared_rel_pos_bias": False}):
        encoder = {**BEIT, "kwargs": {**BEIT["kwargs"], **change}}
        model = BEiT(encoder=encoder, tokenizer=tokenizer, mask_count=6)
        model(inputs=inputs)["loss_token"].backward()
        assert all(p.grad is not None for p in model.parameters())
        whole = block_mask(3, (4, 4), 6, torch.device("cpu"))
        nothing_hidden = whole._replace(hidden=whole.hidden[:, :0])
        assert model.encode(inputs["image"], nothing_hidden).shape == (3, 0, 24)


def test_all_hidden_is_the_encoders_own_pass_over_empty_patches(model, inputs):
    everything = block_mask(3, (4, 4), 6, torch.device("cpu"))._replace(hidden=torch.arange(16).expand(3, -1))
    with torch.no_grad():
        model.mask_token.zero_()
        hidden_all = model.encode(inputs["image"], everything)
        images = torch.zeros_like(inputs["image"])
        model.encoder.patch_embed.proj.bias.zero_()
        torch.testing.assert_close(hidden_all, model.encoder.forward_features(images)[:, 1:])


def test_wrong_input_is_refused(tokenizer, model, inputs):
    with pytest.raises(UserError, match="'vit_tiny_patch16_224' is no BEiT.*choose beit_base_patch16_224"):
        BEiT(encoder=ENCODER, tokenizer=tokenizer)
    pooled = {**BEIT, "kwargs": {**BEIT["kwargs"], "use_fc_norm": True}}
    with pytest.raises(UserError, match="last norm behind the pooling.*add use_fc_norm=False to model.encoder.kwargs"):
        BEiT(encoder=pooled, tokenizer=tokenizer)
    with pytest.raises(UserError, match=r"no pixels for the tokenizer: add pixels=dict\(of=\"image\""):
        model(inputs={"image": inputs["image"]})
    with pytest.raises(UserError, match="4 tokens of an image, the encoder 16 patches.*32 pixels a side"):
        model(inputs={**inputs, "pixels": inputs["pixels"][:, :, :16, :16]})
    with pytest.raises(UserError, match="cannot hide 16 of 4 x 4 patches"):
        BEiT(encoder=BEIT, tokenizer=tokenizer, mask_count=16)(inputs=inputs)


@pytest.mark.parametrize("scale", ["tiny", "study", "paper"])
def test_configs_build(scale, tokenizer):
    cfg = load_config("pretrain/configs/beit.py", scale=scale)
    views = cfg.train_dataloader.dataset.views
    if scale == "paper":
        assert cfg.model.tokenizer == {"type": "dalle", "file": "data/dalle/encoder.pkl"}
        assert (cfg.model.mask_count, cfg.train_cfg.max_iters, cfg.train_dataloader.batch_size) == (75, 500_000, 2048)
        assert cfg.optim_wrapper.optimizer.lr == 1.5e-3 and cfg.optim_wrapper.clip_grad.max_norm == 3.0
        assert [s.end for s in cfg.param_scheduler] == [6250, 500_000] and cfg.param_scheduler[1].eta_min == 1e-5
        assert views.image == {"scale": (0.08, 1.0), "flip": 0.5, "interpolation": "bicubic"}
        # --imagenet_default_mean_and_std of the command for ImageNet-1K, and ColorJitter(0.4, 0.4, 0.4) of all commands
        assert "mean" not in cfg.model.data_preprocessor and "std" not in cfg.model.data_preprocessor
        colour = cfg.train_dataloader.dataset.colour
        assert colour == {"jitter": (0.4, 0.4, 0.4, 0.0), "jitter_p": 1.0, "grey_p": 0.0, "blur_p": 0.0}
        cfg.model.encoder.kwargs.update(depth=1, embed_dim=24, num_heads=3)
        assert cfg.model.encoder.kwargs.drop_path_rate == 0.1
    else:
        assert 24 <= cfg.model.mask_count <= 26
    cfg.model.tokenizer = tokenizer
    model = MODELS.build(cfg.model)
    assert model.data_preprocessor.mean == pytest.approx((0.485, 0.456, 0.406))
    assert model.data_preprocessor.std == pytest.approx((0.229, 0.224, 0.225))
    side = views.pixels["size"]
    assert side == model.grid[0] * 8 == (112 if scale == "paper" else 64) and views.pixels.of == "image"
    size = cfg.train_dataloader.dataset.size
    inputs = {"image": torch.randn(2, 3, size, size), "pixels": torch.zeros(2, 3, side, side, dtype=torch.uint8)}
    assert torch.isfinite(model(inputs=inputs)["loss_token"])
    assert model.encoder.rel_pos_bias is not None and model.encoder.pos_embed is None


def test_pillows_filters_smooth_where_they_shrink():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for interpolation in ("bicubic", "lanczos"):
        crop = RandomCrop(16, scale=(1, 1), ratio=(1, 1), flip=0.0, interpolation=interpolation)
        assert np.ptp(crop(stripes)[2:-2, 2:-2].astype(int)) < 40, "aliased"
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    found = RandomCrop(16, scale=(1, 1), ratio=(1, 1), flip=0.0, interpolation="lanczos")(ramp)
    expected = ramp.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1.5)
