"""t-SNE of pooled features, coloured by class (van der Maaten and Hinton 2008; LightCLIP's figure).

Distances and gaps in a t-SNE map mean little and cannot be compared between encoders, so two numbers come from the
features themselves, of unit length:

    silhouette   mean over images of (b - a) / max(a, b), a the mean cosine distance to the image's own class, b that to
                 the nearest other class; 1 is clustered by class, 0 is mixed
    k-NN         share of images whose class most of the 20 nearest others have, the image itself left out

The map: PCA to 50 dimensions, perplexity 30, started from the first two components, one fixed seed.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from analysis.drawing import COLOURS, chart, svg
from analysis.finding import Finding, Scalar, identity, name_of
from backbones.towers import Features
from datasets.class_folders import folder_images
from datasets.images import read_rgb
from engine.errors import UserError

COMPONENTS, PERPLEXITY, SEED, NEIGHBOURS = 50, 30, 0, 20
MARKERS = "osD^vP*X"


def run(checkpoint: str, images: str, count: int = 256) -> Finding:
    """Map any checkpoint's features of images in a folder with a folder per class.

    Args:
        checkpoint: its folder. images: folder of class folders.
        count: of all images in the order of classes and names, this many at equal steps.

    Raises:
        UserError: images or a checkpoint that cannot be used, too few images, or too few classes.
    """
    features = Features(checkpoint)
    listed, names = folder_images(images)
    listed = [listed[i] for i in np.linspace(0, len(listed) - 1, min(count, len(listed))).round().astype(int)]
    labels = np.array([label for _, label in listed])
    if len(listed) <= PERPLEXITY or not 2 <= len(set(labels)) < len(listed):
        raise UserError(
            f"t-SNE needs more than {PERPLEXITY} images, of two classes or more and not each of its own; {images} "
            f"gives {len(listed)} of {len(set(labels))}: raise --count or add images"
        )
    found = features.embed_images(read_rgb(path) for path, _ in listed).double().numpy()
    places = embed(found)
    hit = nearest_class(found, labels) == labels
    most = np.bincount(labels).max() / len(labels)
    scalars = {
        "silhouette": Scalar(float(silhouette_score(found, labels, metric="cosine")), "",
                             "how features gather by class, from -1 to 1"),
        "knn": Scalar(100 * float(hit.mean()), "%", f"{NEIGHBOURS}-NN accuracy among the images, each left out"),
        "chance": Scalar(100 * float(most), "%", "what naming the most frequent class gives"),
    }  # fmt: skip
    title = f"t-SNE of pooled features: {name_of(features.meta)}"
    return Finding(
        title=title,
        checkpoints=[identity(features.meta)],
        settings={"images": len(listed), "size": features.size, "components": min(COMPONENTS, *found.shape),
                  "perplexity": PERPLEXITY, "seed": SEED, "neighbours": NEIGHBOURS},
        scalars=scalars,
        values={"places": places.round(3).tolist(), "labels": labels.tolist(), "classes": names},
        figure=draw(title, places, labels, names),
        words=f"{len(listed)} images of {len(set(labels))} classes. In the features themselves the silhouette is "
        f"{scalars['silhouette'].value:.3f}, the {NEIGHBOURS}-NN accuracy {scalars['knn'].value:.1f} %.",
    )  # fmt: skip


def embed(features: np.ndarray) -> np.ndarray:
    """Features [N, D] -> places in the plane [N, 2]; the same for the same features."""
    reduced = PCA(min(COMPONENTS, *features.shape), svd_solver="full").fit_transform(features)
    # exact for a few hundred images: quicker than trees, and sums in one order
    return TSNE(2, perplexity=PERPLEXITY, init="pca", random_state=SEED, method="exact").fit_transform(reduced)


def nearest_class(features: np.ndarray, labels: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """The class of most of each image's nearest others by cosine, int64 [N]; of equal counts the first class."""
    near = NearestNeighbors(n_neighbors=neighbours, metric="cosine").fit(features).kneighbors(return_distance=False)
    return np.array([np.bincount(labels[row]).argmax() for row in near])


def draw(title: str, places: np.ndarray, labels: np.ndarray, names: list[str]) -> str:
    """A point for every image; classes differ in colour and in shape. No axes: their numbers mean nothing."""
    figure = chart(title, "", "", width=5.6, height=4.2)
    axes = figure.axes[0]
    axes.set_axis_off()
    for number, name in enumerate(names):
        mine, colour = places[labels == number], COLOURS[number % len(COLOURS)]
        shape = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]  # another one when colours come again
        axes.plot(*mine.T, shape, color=colour, markersize=4, alpha=0.8, markeredgewidth=0, label=name)
    if len(names) <= 16:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return svg(figure)
