"""An engine computes in float32 whatever PyTorch's default type is."""

import numpy as np
import pytest
import torch

from reid_demo.engine import Engine
from reid_demo.images import read_image


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_engine_does_not_depend_on_the_default_type(dtype, tiny_weights, tiny_gallery_folder, tiny_engine):
    image = read_image(tiny_engine.examples[0].path)
    plain = Engine.load(tiny_weights, tiny_gallery_folder, "cpu")
    wanted, ranking = plain.describe(image), plain.search(plain.describe(image), 5)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        engine = Engine.load(tiny_weights, tiny_gallery_folder, "cpu")
        found = engine.describe(image)
        again = engine.search(found, 5)
    finally:
        torch.set_default_dtype(before)
    assert {p.dtype for p in engine.describer.model.parameters()} == {torch.float32}
    assert found.parts.dtype == np.float32
    np.testing.assert_allclose(found.parts, wanted.parts, atol=1e-5)
    assert [m.record.path for m in again] == [m.record.path for m in ranking]
    assert [m.similarity for m in again] == pytest.approx([m.similarity for m in ranking], abs=1e-5)
