"""Gallery images are described in several views, which are averaged to one descriptor."""

import numpy as np
import pytest
from figures import draw_person

from reid_demo.config import MEAN_GREY
from reid_demo.errors import ConfigError
from reid_demo.model.describer import Describer
from reid_demo.search.gallery_views import ONE_VIEW, VIEWS, describe_in_views, merged, view


def test_what_each_view_shows():
    image = draw_person(3, 1)
    image[:, : image.shape[1] // 3] //= 2  # not its own mirror image
    before, half = image.copy(), len(image) // 2
    assert view(image, "whole") is image
    mirrored = view(image, "mirror")
    assert (mirrored[:, 0] == image[:, -1]).all() and not np.array_equal(mirrored, image)
    assert mirrored.flags["C_CONTIGUOUS"]
    lower, upper = view(image, "lower_half"), view(image, "upper_half")
    assert (lower[half:] == MEAN_GREY).all() and (lower[:half] == image[:half]).all()
    assert (upper[:half] == MEAN_GREY).all() and (upper[half:] == image[half:]).all()
    assert np.array_equal(image, before)


def test_the_mean_of_the_views_stands_for_an_image_that_shows_what_it_shows(tiny_describer):
    images = [draw_person(pid, 1) for pid in range(3)]
    found = list(describe_in_views(tiny_describer, iter(images)))
    assert len(found) == 3
    for image, one in zip(images, found, strict=True):
        alone = [tiny_describer.describe([view(image, name)])[0] for name in VIEWS]
        mean = sum(np.asarray(d.parts, np.float64) for d in alone) / 4
        np.testing.assert_allclose(one.parts, mean, atol=1e-4 * np.abs(mean).max())
        assert one.parts.dtype == np.float32
        np.testing.assert_allclose(one.presence, alone[0].presence, atol=1e-5)
        np.testing.assert_array_equal(merged(alone).part_attention, alone[0].part_attention)
        assert not np.allclose(one.parts, alone[0].parts, atol=1e-3 * np.abs(mean).max())
    assert merged(alone[:1]) is alone[0]


def test_one_view_is_the_image_described_as_it_is(tiny_describer):
    images = [draw_person(pid, 1) for pid in range(3)]
    for one, plain in zip(
        describe_in_views(tiny_describer, images, ONE_VIEW), tiny_describer.describe(images), strict=True
    ):
        np.testing.assert_array_equal(one.parts, plain.parts)


def test_views_are_described_one_batch_at_a_time(tiny_describer):
    small, read = Describer(tiny_describer.model, batch_size=4), []

    def pictures():
        for pid in range(5):
            read.append(pid)
            yield draw_person(pid, 1)

    stream = describe_in_views(small, pictures())
    next(stream)
    assert read == [0]  # four views fill a batch of four


@pytest.mark.parametrize("views", [(), ("mirror", "whole")])
def test_the_first_view_must_be_the_untouched_one(tiny_describer, views):
    with pytest.raises(ConfigError, match="first view of a gallery's images must be 'whole'"):
        list(describe_in_views(tiny_describer, [draw_person(1, 1)], views))
