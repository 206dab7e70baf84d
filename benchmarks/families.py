"""Every family of architectures in the installed timm: right as a backbone, or refused with a reason.

COMMAND   python -m benchmarks.families
COST      about two minutes on one core
EXPECTED  the counts and the table in docs/encoders.md

A family is a module of timm, shown by its smallest member with its default arguments. It is right if it gives four maps
for images of any size; tests/backbones/test_every_family.py holds each of them to the whole contract of an adapter.
"""

import argparse
import functools
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import compat  # noqa: E402, F401, I001
import timm  # noqa: E402
from tqdm import tqdm  # noqa: E402

from backbones import EncoderFacts, encoder_facts  # noqa: E402
from backbones.facts import check_pyramid  # noqa: E402
from benchmarks import carry_out  # noqa: E402
from engine.errors import UserError  # noqa: E402

# timm's module and its member with the fewest parameters.
FAMILIES = dict(
    beit="beit_base_patch16_224", byoanet="halonet_h1", byobnet="test_byobnet", cait="cait_xxs24_224",
    coat="coat_tiny", convit="convit_tiny", convmixer="convmixer_768_32", convnext="test_convnext",
    cpubone="cpubone_nano", crossvit="crossvit_tiny_240", csatv2="csatv2", cspnet="cs3darknet_focus_s",
    cspnext="cspnext_tiny", davit="davit_tiny", deepseek_vit="deepseek_vit_412m", deit="deit_tiny_patch16_224",
    densenet="densenet121", dla="dla46x_c", dpn="dpn48b", edgenext="edgenext_xx_small",
    efficientformer="efficientformer_l1", efficientformer_v2="efficientformerv2_s0",
    efficientnet="test_efficientnet", efficientvim="efficientvim_m1", efficientvit_mit="efficientvit_b0",
    efficientvit_msra="efficientvit_m0", eva="vit_tiny_patch16_dinov3_qkvb", fasternet="fasternet_t0",
    fastvit="fastvit_t8", focalnet="focalnet_tiny_srf", gcvit="gcvit_xxtiny", gemma4_vit="gemma4_vit_167m",
    ghostnet="ghostnet_050", hardcorenas="hardcorenas_b", hgnet="hgnetv2_b0", hiera="hiera_tiny_224",
    hieradet_sam2="sam2_hiera_tiny", hrnet="hrnet_w18_small", iformer="iformer_t",
    inception_next="inception_next_atto", inception_resnet_v2="inception_resnet_v2",
    inception_v3="inception_v3", inception_v4="inception_v4", lcnetv2="lcnetv2_small", levit="levit_128s",
    lowformer="lowformer_b0", mambaout="test_mambaout", maxxvit="test_coatnet", metaformer="poolformerv2_s12",
    mlp_mixer="gmlp_ti16_224", mobilenetv3="lcnet_035", mobilenetv5="mobilenetv5_base",
    mobilevit="mobilevit_xxs", mvitv2="mvitv2_tiny", naflexvit="naflexvit_base_patch16_parfac_gap",
    nasnet="nasnetalarge", nest="nest_tiny", nextvit="nextvit_small", nfnet="test_nfnet", pit="pit_ti_224",
    pnasnet="pnasnet5large", pvt_v2="pvt_v2_b0", qwen3_vit="qwen3_vit_88m", rdnet="rdnet_tiny",
    regnet="regnetx_002", repghost="repghostnet_050", repvit="repvit_m1", res2net="res2next50",
    resnest="resnest14d", resnet="test_resnet", resnetv2="resnetv2_18", rexnet="rexnet_100",
    selecsls="selecsls42", senet="legacy_seresnet18", sequencer="sequencer2d_s", shvit="shvit_s1",
    sknet="skresnet18", starnet="starnet_s050", swiftformer="swiftformer_xs",
    swin_transformer="swin_tiny_patch4_window7_224", swin_transformer_v2="swinv2_tiny_window8_256",
    swin_transformer_v2_cr="swinv2_cr_tiny_224", tiny_vit="tiny_vit_5m_224", tnt="tnt_s_legacy_patch16_224",
    tresnet="tresnet_m", twins="twins_svt_small", vgg="vgg11", visformer="visformer_tiny",
    vision_transformer="test_vit", vision_transformer_hybrid="vit_tiny_r_s16_p8_224",
    vision_transformer_relpos="test_vit_relpos", vision_transformer_sam="samvit_base_patch16_224",
    vitamin="vitamin_small_224", volo="volo_d1_224", vovnet="ese_vovnet19b_slim_dw", xception="legacy_xception",
    xception_aligned="xception41p", xcit="xcit_nano_12_p8_224",
)  # fmt: skip


@functools.cache  # asking an architecture that is refused takes seconds
def facts(name: str) -> EncoderFacts | UserError:
    """Facts of an architecture that can feed dense tasks, or the UserError that conversion raises."""
    try:
        found = encoder_facts(name)
        check_pyramid(name, found)
    except UserError as refusal:
        return refusal
    return found


def row(family: str) -> list[str]:
    """The cells of a family's row."""
    name = FAMILIES[family]
    found = facts(name)
    if isinstance(found, UserError):
        return [family, f"`{name}`", "refused", str(found).removeprefix(f"{name} ")]
    strides = [found.strides[stage] for stage in found.stages]
    kind = f"plain, stride {strides[-1]}" if found.plain else f"strides {', '.join(map(str, strides))}"
    sizes = "" if found.multiple == strides[-1] else f"; sizes padded to multiples of {found.multiple}"
    return [family, f"`{name}`", "right", kind + sizes]


def main() -> None:
    """Print the counts and the table as Markdown."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = [row(family) for family in tqdm(FAMILIES, disable=None)]
    right = sum(cells[2] == "right" for cells in rows)
    print(f"timm {timm.__version__}: {len(rows)} families, {right} right, {len(rows) - right} refused\n")
    print("| family | smallest member | | maps, or why not |\n|---|---|---|---|")
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))


if __name__ == "__main__":
    carry_out(main)
