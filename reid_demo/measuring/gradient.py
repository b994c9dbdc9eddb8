"""The gradient of a similarity with respect to the probe's pixels. Only for comparison: the page shows no such map."""

import numpy as np
import torch

from reid_demo.images import to_model_input
from reid_demo.model.dpti import DPTI
from reid_demo.records import Descriptor, Scoring
from reid_demo.search import similarity


def gradient_map(model: DPTI, image: np.ndarray, match: Descriptor, scoring: Scoring) -> np.ndarray:
    """Return gradient times input of the similarity, summed over colours: `(256, 128)` float32.

    Input 0 is mean grey, so a cell's sum is the first-order fall of the similarity if the cell becomes mean grey.

    Args:
        model: in evaluation mode.
        image: `(H, W, 3)` uint8, the probe.
        match: compared with the probe.
        scoring: which similarity.
    """
    device = next(model.parameters()).device
    pixels = torch.from_numpy(to_model_input(image))[None].to(device).requires_grad_(True)
    output = model(pixels)
    parts = torch.cat([output.global_embedding[:, None], output.part_embeddings], dim=1)[0]
    probe_similarity(parts, output.presence[0], match, scoring).backward()
    return (pixels.grad * pixels).detach().sum(dim=1)[0].cpu().numpy()


def probe_similarity(parts: torch.Tensor, presence: torch.Tensor, match: Descriptor, scoring: Scoring) -> torch.Tensor:
    """Return the similarity of `search.similarity` as a scalar that is differentiable in the probe.

    Args:
        parts: `(P+1, D)` float, the probe's, global first.
        presence: `(P,)` float, the probe's.
        match: compared with the probe.
        scoring: which similarity.
    """
    vector = similarity.gallery_vectors(match.parts, match.presence, scoring)
    candidate = torch.from_numpy(vector).to(parts).reshape(parts.shape)
    on = torch.from_numpy(similarity.switches(len(presence), scoring)).to(parts)
    if scoring.weighing == "part_aware":
        seen = torch.clamp(len(presence) * presence, max=1) ** similarity.PRESENCE_POWER
        weights = torch.cat([seen.new_ones(1), seen]) * on
        total = (weights * parts.norm(dim=1)).sum()
        return (parts * weights[:, None] * candidate).sum() * (len(presence) + 1) ** 0.5 / total
    weights = on
    if scoring.weighing == "adaptive":
        weights = torch.cat([presence.new_ones(1), len(presence) * presence]) * on
    weighed = parts * weights[:, None]
    return (weighed * candidate).sum() / weighed.norm()
