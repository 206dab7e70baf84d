"""UperNet at scale paper: what differs by method from 1e-4, layer decay 0.65, drop-path 0.1 and the positions as they
are. The numbers of `relative_bias` are the crop's pixels (backbones/added_bias.py).

source                                                   method      rate   decay  drop-path  relative bias
microsoft/unilm beit, self-supervised BEiT-B             beit        7e-4   0.65   0.1        pretrained, by block
Atten4Vis/CAE, CAE-B of 1600 epochs, fixed positions     cae         1e-4   0.65   0.1        added, from zero
implus/mae_segmentation, MAE-B (reused by dBOT)          mae         1e-4   0.65   0.1        added, from zero
none published (CLIP and kin, DINO, DeiT, ...)           all others  1e-4   0.65   0.1        none

Others of the sources, by --cfg-options: BEiT-B after fine-tuning on ImageNet-22K 3e-5, 0.9, 0.1; BEiT-B as CAE runs it
4e-4; CAE-B of 300 epochs 3e-4, of 800 2e-4; CAE-L 4e-5, 0.95, 0.15; dBOT-B drop-path 0.2. For those without a source,
search rates 1e-4, 2e-4, 4e-4 and decays 0.65, 0.75.
"""

by_method = dict(
    beit=dict(optim_wrapper=dict(optimizer=dict(lr=7e-4))),
    cae=dict(model=dict(backbone=dict(freeze_positions=True, relative_bias=(512, 512)))),
    mae=dict(model=dict(backbone=dict(relative_bias=(512, 512)))),
)
