"""The encoder's own dropout, checked against its definition."""

import pytest
import torch

from reid_demo.model.encoder import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chance", [0.1, 0.2, 0.5])
def test_dropout_loses_its_share_and_keeps_the_mean(chance, dtype):
    torch.manual_seed(3)
    dropout = Dropout(chance)
    values = torch.ones(7, 111, 129, dtype=dtype, requires_grad=True)  # a count that four does not divide
    out = dropout(values)
    assert out.dtype == dtype and out.shape == values.shape
    lost = out == 0
    assert float(lost.float().mean()) == pytest.approx(chance, abs=0.01)
    assert torch.equal(out[~lost], torch.full_like(out[~lost], 1) / (1 - chance))
    neighbours = (lost.flatten()[1:] & lost.flatten()[:-1]).float().mean()  # each by its own chance
    assert float(neighbours) == pytest.approx(chance**2, abs=0.01)
    out.sum().backward()
    assert torch.equal(values.grad == 0, lost)
    torch.manual_seed(3)
    assert torch.equal(dropout(values), out)
    assert dropout.eval()(values) is values or torch.equal(dropout(values), values)
