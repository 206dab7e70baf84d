"""The command line of `tools/analyse.py`: every analysis and what it can be told, without its libraries."""

import argparse

SCENES = "data/scenes"  # the default images are held-out scenes
COLOURS = "classes/colour/test"  # the same by the colour of the largest solid, as for k-NN and the probes


def parser(description: str) -> argparse.ArgumentParser:
    """The whole command line; parsed options are `name`, `out` and the arguments of that analysis's `run`."""
    whole = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = whole.add_subparsers(dest="name", required=True, metavar="NAME")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return names.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}. See analysis/{name}.py.")

    def on_checkpoint(name: str, about: str, several: bool = False) -> argparse.ArgumentParser:
        one = add(name, about)
        one.add_argument("--checkpoint", required=True, nargs="+" if several else None, metavar="FOLDER",
                         help="checkpoint folder" + ", one or more" * several)  # fmt: skip
        one.add_argument("--out", help="folder of the result (default: analysis/<name> beside the checkpoint)")
        return one

    def on_images(one: argparse.ArgumentParser, default: str = "images/test", count: int = 64) -> None:
        one.add_argument("--images", help=f"folder of images (default: {SCENES}/{default})")
        one.set_defaults(of_scenes=default)
        one.add_argument("--count", type=positive, default=count, help="how many of the images (default: %(default)s)")

    def with_masks(one: argparse.ArgumentParser) -> None:
        on_images(one)
        one.add_argument("--masks", help="COCO file of masks (default: that of the default images)")

    distance = on_checkpoint("attention_distance", "how far the heads of each layer attend, in pixels")
    on_images(distance)
    distance.add_argument("--renormalise", action="store_true",
                          help="bring attention to patches back to sum 1 after the class token is dropped")  # fmt: skip
    with_masks(on_checkpoint("attention_maps", "where the last block attends: entropy, share on objects, centre"))
    similarity = on_checkpoint("similarity_maps", "which patches are like a text: pointing game and IoU")
    similarity.add_argument("--value-path", action="store_true", help="last block without mixing of places")
    cam = on_checkpoint("grad_cam", "which places raise the similarity to a text: pointing game and IoU")
    for one in (similarity, cam):
        with_masks(one)
        one.add_argument("--prompt", default="a photo of a {}", help="text of a category (default: %(default)r)")
    on_images(on_checkpoint("tsne", "a map of pooled features by class: silhouette and k-NN"), COLOURS, 256)
    on_images(on_checkpoint("cae_reconstruction", "CAE decoding its encoder's own output: PSNR", several=True))
    latency = on_checkpoint("latency", "time of one image through the encoder in its form for inference")
    latency.add_argument("--size", type=positive, help="pixels per side (default: the checkpoint's)")
    latency.add_argument("--runs", type=positive, default=200, help="timed runs, 100 or more (default: %(default)s)")
    scaling = add("data_scaling", "how much less data one pretraining needs than another for the same score")
    about = "a name and result.json of several data sizes; give it twice or more, baseline first"
    scaling.add_argument("--line", action="append", nargs="+", required=True, metavar=("NAME", "RESULT"), help=about)
    scaling.add_argument("--out", required=True, help="folder of the result")
    return whole


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
