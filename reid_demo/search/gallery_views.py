"""The views in which gallery images are described, and their average descriptor. Not in the paper.

A probe that shows half a person is closer to candidates described with the same half hidden than to whole ones. Which
half that will be is unknown when the gallery is built. So each gallery image is described as it is, mirrored, and with
its lower and its upper half hidden, and the four descriptors are averaged. A search costs the same as with one view.
A probe is described once, as it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from reid_demo import occlude
from reid_demo.config import ModelConfig
from reid_demo.errors import ConfigError
from reid_demo.model.describer import Describer
from reid_demo.records import Descriptor, Occlusion

WHOLE, MIRROR = "whole", "mirror"
VIEWS = (WHOLE, MIRROR, "lower_half", "upper_half")
ONE_VIEW = (WHOLE,)


def own_views(config: ModelConfig) -> tuple[str, ...]:
    """Return the views in which a network's galleries are described unless somebody asks for others."""
    return ONE_VIEW if config.one_view else VIEWS


def view(image: np.ndarray, name: str) -> np.ndarray:
    """Return one view of an `(H, W, 3)` uint8 image, which is not changed.

    Args:
        image: of a person.
        name: `whole`, `mirror`, or one of `occlude.BOXES`, filled with mean grey.
    """
    if name == WHOLE:
        return image
    if name == MIRROR:
        return np.ascontiguousarray(image[:, ::-1])
    return occlude.apply(image, [Occlusion(name)])


def merged(descriptors: Sequence[Descriptor]) -> Descriptor:
    """Average the part vectors over the views; keep presence and attention of the first, untouched view.

    Presence and attention state what the image shows, so a view with parts hidden must not change them.
    """
    first = descriptors[0]
    if len(descriptors) == 1:
        return first
    parts = np.mean([descriptor.parts for descriptor in descriptors], axis=0, dtype=np.float32)
    return Descriptor(parts, first.presence, first.template_attention, first.part_attention)


def describe_in_views(
    describer: Describer, images: Iterable[np.ndarray], views: Sequence[str] = VIEWS
) -> Iterator[Descriptor]:
    """Describe a stream of gallery images in order, without attention maps and with one batch in memory.

    Args:
        describer: the network.
        images: `(H, W, 3)` uint8, of any size.
        views: names for `view`, `whole` first.

    Raises:
        ConfigError: the first view is not the untouched image.
    """
    if not views or views[0] != WHOLE:
        raise ConfigError(f"The first view of a gallery's images must be {WHOLE!r}, not {', '.join(views) or 'none'}.")
    described = describer.describe_stream((view(image, name) for image in images for name in views), maps=False)
    while own := list(islice(described, len(views))):
        yield merged(own)
