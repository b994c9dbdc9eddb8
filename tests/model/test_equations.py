"""Every equation of the paper recomputed in float64 numpy, with plain loops over heads, parts and positions."""

import numpy as np
import pytest
import torch

from reid_demo.config import ModelConfig, variant
from reid_demo.model.dpti import build_model
from reid_demo.model.encoder import AttentionBlock, SpatialEncoder
from reid_demo.model.parts import DynamicTemplates, PartAttention, grid_templates, presence_from_scores

CONFIG = ModelConfig(backbone="osnet_x0_25", dim=16, num_heads=4, num_parts=3, ffn_dim=24)


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def softmax(values: np.ndarray) -> np.ndarray:
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()


def slow_block(block: AttentionBlock, queries: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute Eq. 1 (or 7), 2, 3 and 4 for one image; queries `(Q, D)`, tokens `(N, D)`."""
    dim, heads = CONFIG.dim, CONFIG.num_heads
    width = dim // heads
    w_q, w_k, w_v = (array(layer.weight) for layer in (block.query, block.key, block.value))
    q, k, v = queries @ w_q.T, tokens @ w_k.T, tokens @ w_v.T
    gathered, attention = np.zeros((len(queries), dim)), np.zeros((len(queries), len(tokens)))
    for i in range(len(queries)):
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            beta = softmax(np.array([k[j, own] @ q[i, own] for j in range(len(tokens))]) / np.sqrt(width))  # Eq. 2
            attention[i] += beta / heads
            for j in range(len(tokens)):
                gathered[i, own] += beta[j] * v[j, own]  # Eq. 3
    w1, b1, w2, b2 = (array(p) for layer in (block.ffn.expand, block.ffn.contract) for p in (layer.weight, layer.bias))
    out = np.stack([w2 @ np.maximum(w1 @ (g + r) + b1, 0) + b2 + g for g, r in zip(gathered, queries, strict=True)])
    return out, attention  # Eq. 4


def slow_templates(module: DynamicTemplates, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute Eq. 5 and 6 for one image; no scale and no key projection."""
    width = CONFIG.dim // CONFIG.num_heads
    queries, w_v = array(module.queries), array(module.value.weight)
    values = tokens @ w_v.T
    gamma = np.zeros((CONFIG.num_heads, CONFIG.num_parts, len(tokens)))
    templates = np.zeros((CONFIG.num_parts, CONFIG.dim))
    attention = np.zeros((CONFIG.num_parts, len(tokens)))
    for part in range(CONFIG.num_parts):
        for head in range(CONFIG.num_heads):
            own = slice(head * width, (head + 1) * width)
            for j in range(len(tokens)):
                gamma[head, part, j] = tokens[j, own] @ queries[part, own]
            weights = softmax(gamma[head, part])
            attention[part] += weights / CONFIG.num_heads
            templates[part, own] = weights @ values[:, own]
    return templates, attention, gamma


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 12, CONFIG.dim, generator=torch.Generator().manual_seed(1))


def test_self_attention_eq_1_to_4(tokens):
    torch.manual_seed(2)
    block = AttentionBlock(CONFIG).eval()
    out, attention = block(tokens, tokens)
    for b in range(2):
        slow, slow_attention = slow_block(block, array(tokens[b]), array(tokens[b]))
        np.testing.assert_allclose(array(out[b]), slow, atol=1e-5)
        np.testing.assert_allclose(array(attention[b]), slow_attention, atol=1e-6)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 12))


def test_projections_have_no_bias():
    block = AttentionBlock(CONFIG)
    assert block.query.bias is None and block.key.bias is None and block.value.bias is None
    assert DynamicTemplates(CONFIG).value.bias is None


def test_spatial_encoder_reduces_then_attends():
    torch.manual_seed(3)
    encoder = SpatialEncoder(5, CONFIG).eval()
    feature_map = torch.randn(1, 5, 4, 3)
    reduced = np.einsum("dc,chw->dhw", array(encoder.reduce.weight)[:, :, 0, 0], array(feature_map[0]))
    reduced = (reduced + array(encoder.reduce.bias)[:, None, None]) / np.sqrt(1 + encoder.norm.eps)  # fresh statistics
    flat = reduced.reshape(CONFIG.dim, -1).T  # row-major positions
    np.testing.assert_allclose(array(encoder(feature_map)[0]), slow_block(encoder.block, flat, flat)[0], atol=1e-5)


def test_templates_eq_5_and_6(tokens):
    torch.manual_seed(4)
    module = DynamicTemplates(CONFIG).eval()
    templates, attention, scores = module(tokens)
    for b in range(2):
        slow = slow_templates(module, array(tokens[b]))
        for got, wanted in zip((templates[b], attention[b], scores[b]), slow, strict=True):
            np.testing.assert_allclose(array(got), wanted, atol=1e-5)


def test_part_attention_eq_7(tokens):
    torch.manual_seed(5)
    module = PartAttention(CONFIG).eval()
    templates = torch.randn(2, 3, CONFIG.dim)
    parts, attention = module(templates, tokens)
    slow, slow_attention = slow_block(module.block, array(templates[1]), array(tokens[1]))
    np.testing.assert_allclose(array(parts[1]), slow, atol=1e-5)
    np.testing.assert_allclose(array(attention[1]), slow_attention, atol=1e-6)


def test_normed_templates_ask_without_what_all_share(tokens):
    shared = 50 * torch.randn(1, 1, tokens.shape[2], generator=torch.Generator().manual_seed(6))
    templates = shared + torch.randn(len(tokens), 4, tokens.shape[2], generator=torch.Generator().manual_seed(7))
    attention = PartAttention(
        ModelConfig(backbone="osnet_x0_25", dim=tokens.shape[2], template_norm=True, ffn_dropout=0, attention_dropout=0)
    )
    flat = templates.flatten(0, 1).numpy()
    normed = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + attention.norm.eps)
    parts, maps = attention.train()(templates, tokens)
    same = torch.from_numpy(normed).view_as(templates)
    for got, wanted in zip((parts, maps), attention.block(same, tokens), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_presence_is_made_before_the_softmax(tokens):
    torch.manual_seed(6)
    scores = DynamicTemplates(CONFIG).eval()(tokens)[2]
    rho = presence_from_scores(scores)
    for b in range(2):
        means = [np.mean([array(scores[b])[h, p].mean() for h in range(CONFIG.num_heads)]) for p in range(3)]
        np.testing.assert_allclose(array(rho[b]), softmax(np.array(means)), atol=1e-6)
    assert not torch.allclose(rho[0], rho[1], atol=1e-4)  # after the softmax every mean is 1 / N and rho is constant


def test_grid_templates_are_cell_means(tokens):
    templates, weights = grid_templates(torch.arange(32.0).reshape(1, 32, 1), 8, 4)
    cells = np.arange(32.0).reshape(4, 2, 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(array(templates[0, :, 0]), cells.ravel())
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 8))


def test_adaptive_weights_eq_8():
    torch.manual_seed(7)
    model = build_model(variant("G+D+W", backbone="osnet_x0_25", dim=16, num_heads=4, ffn_dim=24)).eval()
    output = model(torch.randn(2, 3, 64, 32))
    wanted = np.concatenate(
        [array(output.global_embedding)]
        + [8 * array(output.presence)[:, i : i + 1] * array(output.part_embeddings)[:, i] for i in range(8)],
        axis=1,
    )
    np.testing.assert_allclose(array(output.descriptor), wanted, atol=1e-5)


def test_the_global_descriptor_is_the_mean_of_the_final_encoder():
    torch.manual_seed(8)
    model = build_model(variant("G+D", backbone="osnet_x0_25", dim=16, num_heads=4, ffn_dim=24)).eval()
    images = torch.randn(1, 3, 64, 32)
    tokens = array(model.final_encoder(model.backbone(images)[1])[0])
    np.testing.assert_allclose(array(model(images).global_embedding[0]), sum(tokens) / len(tokens), atol=1e-5)
