"""Dropout is where Sec. 4.2 puts it: 0.2 on attention, 0.1 in the feed-forward layers."""

import dataclasses

import pytest
import torch

from reid_demo.config import ModelConfig
from reid_demo.model.encoder import AttentionBlock, Dropout
from reid_demo.model.parts import DynamicTemplates

CONFIG = ModelConfig(dim=16, num_heads=2, ffn_dim=256)
OFF = dataclasses.replace(CONFIG, ffn_dropout=0.0, attention_dropout=0.0)


def tokens(count=64):
    return torch.randn(2, count, 16, generator=torch.Generator().manual_seed(1))


def is_random(module, *inputs):
    """Return whether a module in training mode returns two results for one input."""
    module.train()
    return not torch.equal(module(*inputs)[0], module(*inputs)[0])


@pytest.mark.parametrize("name", ["ffn_dropout", "attention_dropout"])
def test_each_rate_of_an_attention_block_acts_by_itself(name):
    torch.manual_seed(0)
    assert is_random(AttentionBlock(dataclasses.replace(OFF, **{name: 0.5})), tokens(), tokens())
    assert not is_random(AttentionBlock(OFF), tokens(), tokens())
    block = AttentionBlock(dataclasses.replace(OFF, **{name: 0.5})).eval()
    assert torch.equal(block(tokens(), tokens())[0], block(tokens(), tokens())[0])


def test_templates_drop_attention_and_nothing_else():
    torch.manual_seed(0)
    assert is_random(DynamicTemplates(dataclasses.replace(OFF, attention_dropout=0.5)), tokens())
    assert not is_random(DynamicTemplates(dataclasses.replace(OFF, ffn_dropout=0.5)), tokens())


def dropped(module, *inputs):
    """Return the fraction of non-zero values that each dropout of a module zeroes in training mode."""
    shares = []

    def record(layer, values, out):
        before = values[0]
        shares.append((tuple(before.shape), ((out == 0) & (before != 0)).sum().item() / (before != 0).sum().item()))

    hooks = [m.register_forward_hook(record) for m in module.modules() if isinstance(m, Dropout)]
    module.train()(*inputs)
    for hook in hooks:
        hook.remove()
    return dict(shares)


def test_the_paper_drops_a_fifth_of_attention_and_a_tenth_of_the_feed_forward_layer():
    torch.manual_seed(0)
    default = ModelConfig(dim=16, num_heads=2, ffn_dim=256)
    shares = dropped(AttentionBlock(default), tokens(), tokens())
    assert shares == {(2, 2, 64, 64): pytest.approx(0.2, abs=0.02), (2, 64, 256): pytest.approx(0.1, abs=0.02)}
    assert dropped(DynamicTemplates(default), tokens()) == {(2, 2, 8, 64): pytest.approx(0.2, abs=0.05)}
