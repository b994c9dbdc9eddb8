"""The views in which a gallery's images are described, and the one descriptor made of them. Not in the paper.

A probe that shows half a person resembles candidates described with the same half hidden more than whole ones. Which
half it will be is not known when a gallery is made, so each of its images is described as it is, mirrored, and with
its lower and its upper half hidden, and the mean of the four descriptors stands for it: one descriptor, so a search
costs what it did. A probe is described once, as it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from reid_demo import occlude
from reid_demo.errors import ConfigError
from reid_demo.model.describer import Describer
from reid_demo.records import Descriptor, Occlusion

WHOLE, MIRROR = "whole", "mirror"
VIEWS = (WHOLE, MIRROR, "lower_half", "upper_half")
ONE_VIEW = (WHOLE,)


def view(image: np.ndarray, name: str) -> np.ndarray:
    """Return one view of an `(H, W, 3)` uint8 image, which is not changed.

    Args:
        image: of a person.
        name: `whole`, `mirror`, or what `occlude` hides by its name alone, filled with mean grey.
    """
    if name == WHOLE:
        return image
    if name == MIRROR:
        return np.ascontiguousarray(image[:, ::-1])
    return occlude.apply(image, [Occlusion(name)])


def merged(descriptors: Sequence[Descriptor]) -> Descriptor:
    """Return the descriptor of an image of those of its views, the untouched one first: its own but for mean parts.

    Presence and attention say what the picture shows, so they stay those of the untouched view.
    """
    first = descriptors[0]
    if len(descriptors) == 1:
        return first
    parts = np.mean([descriptor.parts for descriptor in descriptors], axis=0, dtype=np.float32)
    return Descriptor(parts, first.presence, first.template_attention, first.part_attention)


def describe_in_views(
    describer: Describer, images: Iterable[np.ndarray], views: Sequence[str] = VIEWS
) -> Iterator[Descriptor]:
    """Describe a stream of gallery images, in order, holding one batch in memory.

    Args:
        describer: the network.
        images: `(H, W, 3)` uint8, of any sizes.
        views: names for `view`, `whole` first.

    Raises:
        ConfigError: the first view is not the untouched image.
    """
    if not views or views[0] != WHOLE:
        raise ConfigError(f"The first view of a gallery's images must be {WHOLE!r}, not {', '.join(views) or 'none'}.")
    described = describer.describe_stream(view(image, name) for image in images for name in views)
    while own := list(islice(described, len(views))):
        yield merged(own)
