"""CAE's decoder on its encoder's output: pixels there and back, the path by hand, and what is refused."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from analysis import cae_reconstruction
from analysis.cae_reconstruction import load_cae, predict, psnr, to_colours, unpatchify
from analysis.pictures import load_pictures
from backbones import save_checkpoint
from engine.errors import UserError
from engine.files import sha256, write_json
from engine.resume import FIELDS, SCHEMA, VERSION
from pretrain.parts.patches import normalise_patches, patchify
from tests.checkpoints import META
from tests.pretrain.cae_samples import SCALED, SMALL, make_cae, shaken

EMPTY = dict.fromkeys(FIELDS) | {"optimizer": {"state": {}}, "schedulers": []}


def test_patches_there_and_back():
    image = torch.arange(2 * 3 * 8 * 12).double().view(2, 3, 8, 12)
    assert torch.equal(unpatchify(patchify(image, 4), 4, (2, 3)), image)


def test_true_normalised_patches_give_the_picture_back():
    model = make_cae(None, target="pixel")
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    truth = pixels.double() / 255
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1)
                 for x in (model.data_preprocessor.mean, model.data_preprocessor.std))  # fmt: skip
    target = normalise_patches(patchify((truth - mean) / std, 8))
    torch.testing.assert_close(to_colours(model, target, pixels), truth, rtol=0, atol=1e-9)
    flat = to_colours(model, torch.zeros_like(target), pixels)
    patch = ((truth - mean) / std)[1, :, 8:16, 24:32]  # MAE's statistics are of all colours of a patch together
    torch.testing.assert_close(flat[1, :, 8:16, 24:32], (patch.mean() * std + mean).expand(3, 8, 8))


def test_decibels_by_hand():
    black, grey = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)
    assert psnr(grey, black).item() == pytest.approx(20) and psnr(black, black).item() == pytest.approx(120)


def test_all_patches_go_through_the_encoder_and_none_through_the_regressor():
    model = shaken(make_cae(None, target="pixel")).eval()
    model.regressor = None  # whoever asks it fails
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    prediction, target = predict(model, pixels)
    with torch.no_grad():
        images = model.data_preprocessor.normalise(pixels)
        tokens = model.encoder.forward_features(images)[:, 1:]
        expected = model.head(model.decoder(model.adaptor(tokens) + model.positions))
    torch.testing.assert_close(prediction.float(), expected, rtol=1e-4, atol=1e-5)
    assert prediction.shape == target.shape == (2, 16, 192)


def a_run(folder, align_weight=2.0, target="pixel", seed=0):
    """The folder of a run as pretraining leaves it; returns its checkpoint."""
    arguments = dict(encoder=SCALED, target=target, align_weight=align_weight, tokenizer=None, **SMALL)
    folder.mkdir()
    Config(dict(model=dict(type="CAE", **arguments))).dump(folder / "config.py")
    model = shaken(make_cae(None, seed=seed, target="pixel", align_weight=align_weight))
    (folder / "state").mkdir()
    torch.save({**EMPTY, "iteration": 1, "model": model.state_dict()}, folder / "state/00000001.pt")
    digest = sha256(folder / "state/00000001.pt")
    write_json(folder / "state/00000001.json", {"schema": SCHEMA, "version": VERSION, "sha256": digest})
    meta = {**META, **model.checkpoint_meta(), "method": "cae", "captions": None}
    meta["image"]["size"] = 32
    save_checkpoint(folder / "checkpoint", model.encoder, meta)
    return str(folder / "checkpoint")


def test_two_runs_side_by_side(tmp_path, pictures):
    aligned, free = a_run(tmp_path / "a"), a_run(tmp_path / "b", align_weight=0.0, seed=1)
    found = cae_reconstruction.run([aligned, free], pictures[0], count=3)
    assert set(found.scalars) == {"psnr_lambda_2", "psnr_lambda_0", "patch_mse_lambda_2", "patch_mse_lambda_0",
                                  "psnr_flat"}  # fmt: skip
    assert [len(found.values["psnr"][name]) for name in ("2", "0")] == [3, 3] and len(found.checkpoints) == 2
    pixels = torch.stack([picture.pixels for picture in load_pictures(pictures[0], 3, 32)])

    def decibels(model, patches):
        made = to_colours(model, patches, pixels).clamp(0, 1)
        return [-10 * math.log10(((image - own / 255) ** 2).mean()) for image, own in zip(made, pixels, strict=True)]

    for name, folder in (("2", aligned), ("0", free)):
        model, _ = load_cae(Path(folder))
        prediction, target = predict(model, pixels)
        assert found.values["psnr"][name] == pytest.approx(decibels(model, prediction), abs=1e-4)
        assert found.scalars[f"psnr_lambda_{name}"].value == pytest.approx(sum(found.values["psnr"][name]) / 3)
        error = sum(((a - b) ** 2).mean() for a, b in zip(prediction, target, strict=True)) / 3
        assert found.scalars[f"patch_mse_lambda_{name}"].value == pytest.approx(float(error))
    flat = decibels(model, torch.zeros_like(prediction))
    assert found.scalars["psnr_flat"].value == pytest.approx(sum(flat) / 3, abs=1e-4)
    with pytest.raises(UserError, match=r"lambda .model.align_weight. is .2.0, 2.0.: name runs of different lambda"):
        cae_reconstruction.run([aligned, a_run(tmp_path / "c", seed=2)], pictures[0])


def test_what_is_lacking_is_said(tmp_path, mae, pictures):
    with pytest.raises(UserError, match=r"\(mae\) does not lie in a run of CAE: name one that does"):
        cae_reconstruction.run([str(mae)], pictures[0])
    with pytest.raises(UserError, match="predicts visual tokens, which cannot be looked at: pretrain by"):
        load_cae(Path(a_run(tmp_path / "a", target="token")))
    deeper = Path(a_run(tmp_path / "d"))
    config = deeper.parent / "config.py"
    config.write_text(config.read_text().replace("decoder_depth=2", "decoder_depth=3"))
    with pytest.raises(UserError, match=r"the state in .* is not of its config.py .*decoder.*: repeat the run"):
        load_cae(deeper)
    bare = a_run(tmp_path / "b")
    for path in (tmp_path / "b/state").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="has no state, which holds the decoder: repeat the run"):
        cae_reconstruction.run([bare], pictures[0])
    other = a_run(tmp_path / "c", seed=3)
    model = shaken(make_cae(None, seed=4, target="pixel"))
    torch.save({**EMPTY, "iteration": 1, "model": model.state_dict()}, tmp_path / "c/state/00000001.pt")
    digest = sha256(tmp_path / "c/state/00000001.pt")
    write_json(tmp_path / "c/state/00000001.json", {"schema": SCHEMA, "version": VERSION, "sha256": digest})
    with pytest.raises(UserError, match="the newest state in .* is not of checkpoint"):
        cae_reconstruction.run([other], pictures[0])
