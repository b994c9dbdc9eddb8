"""The one definition of similarity and of its per-part terms. Knows no images and no model.

Ranking, evaluation and explanation all call this module, so they cannot disagree. Similarity is the cosine of
the weighted concatenated descriptors (Sec. 3.5): `f = concat(g, w_1 p_1, ..., w_N p_N)`, `w_i = N rho_i` with
adaptive weighting and 1 without. `part_aware` is the distance that the paper leaves to future work.
"""

import numpy as np

from reid_demo.errors import ConfigError, ShapeError
from reid_demo.records import Scoring

_EPS = 1e-12


def part_weights(presence: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Give the weight of every term, global first (Eq. 8).

    Args:
        presence: `(..., P)` rho, each row sums to 1; `P` may be 0.
        scoring: adaptive weighting and switches.

    Returns:
        `(..., P+1)` float32; 0 where a term is switched off.
    """
    num_parts = presence.shape[-1]
    parts = num_parts * presence if scoring.adaptive else np.ones_like(presence)
    weights = np.concatenate([np.ones((*presence.shape[:-1], 1), np.float32), parts], axis=-1).astype(np.float32)
    return weights * switches(num_parts, scoring)


def switches(num_parts: int, scoring: Scoring) -> np.ndarray:
    """Give the `(P+1,)` float32 on/off mask of the terms; at least one must be on."""
    if scoring.enabled is None:
        return np.ones(num_parts + 1, np.float32)
    if len(scoring.enabled) != num_parts + 1:
        raise ConfigError(f"Expected {num_parts + 1} part switches (global first), got {len(scoring.enabled)}.")
    if not any(scoring.enabled):
        raise ConfigError("Leave at least one part switched on.")
    return np.asarray(scoring.enabled, np.float32)


def unit_vectors(parts: np.ndarray, presence: np.ndarray, scoring: Scoring = Scoring()) -> np.ndarray:
    """Give the unit descriptor whose inner products are the cosine similarity.

    Args:
        parts: `(..., P+1, D)` unweighted descriptors, global first.
        presence: `(..., P)`.
        scoring: weighting and switches.

    Returns:
        `(..., (P+1) D)` float32 of length 1 (0 where all enabled descriptors are 0).
    """
    if parts.shape[-2] != presence.shape[-1] + 1 or parts.shape[:-2] != presence.shape[:-1]:
        raise ShapeError(f"parts {parts.shape} and presence {presence.shape} do not belong together.")
    weighted = np.asarray(parts, np.float32) * part_weights(presence, scoring)[..., None]
    flat = weighted.reshape(*weighted.shape[:-2], weighted.shape[-2] * weighted.shape[-1])
    norms = np.linalg.norm(flat, axis=-1, keepdims=True)
    return flat / np.maximum(norms, _EPS)


def contributions(
    probe_parts: np.ndarray,
    probe_presence: np.ndarray,
    parts: np.ndarray,
    presence: np.ndarray,
    scoring: Scoring = Scoring(),
) -> np.ndarray:
    """Give the signed terms of the similarity of one probe and many candidates; each row sums to its similarity.

    Args:
        probe_parts: `(P+1, D)`.
        probe_presence: `(P,)`.
        parts: `(G, P+1, D)`.
        presence: `(G, P)`.
        scoring: which similarity.

    Returns:
        `(G, P+1)` float32, global first.
    """
    if scoring.part_aware:
        return _part_aware_terms(probe_parts, probe_presence, parts, presence, scoring)
    terms, dim = parts.shape[-2:]
    probe = unit_vectors(probe_parts, probe_presence, scoring).reshape(terms, dim)
    candidates = unit_vectors(parts, presence, scoring).reshape(len(parts), terms, dim)
    return np.einsum("td,gtd->gt", probe, candidates)


def _part_aware_terms(
    probe_parts: np.ndarray, probe_presence: np.ndarray, parts: np.ndarray, presence: np.ndarray, scoring: Scoring
) -> np.ndarray:
    num_parts = probe_presence.shape[-1]
    both = num_parts * np.sqrt(np.maximum(probe_presence[None] * presence, 0))
    trust = np.concatenate([np.ones((len(parts), 1)), both], axis=1) * switches(num_parts, scoring)
    probe = probe_parts / np.maximum(np.linalg.norm(probe_parts, axis=-1, keepdims=True), _EPS)
    candidates = np.asarray(parts, np.float32)
    candidates = candidates / np.maximum(np.linalg.norm(candidates, axis=-1, keepdims=True), _EPS)
    cosines = np.einsum("td,gtd->gt", probe, candidates)
    return (trust * cosines / np.maximum(trust.sum(axis=1, keepdims=True), _EPS)).astype(np.float32)


def similarities(
    probe_parts: np.ndarray,
    probe_presence: np.ndarray,
    parts: np.ndarray,
    presence: np.ndarray,
    scoring: Scoring = Scoring(),
) -> np.ndarray:
    """Give the `(G,)` float32 similarities of one probe to many candidates; arguments as `contributions`."""
    if scoring.part_aware:
        return contributions(probe_parts, probe_presence, parts, presence, scoring).sum(axis=1)
    return unit_vectors(parts, presence, scoring) @ unit_vectors(probe_parts, probe_presence, scoring)


def similarity_matrix(
    query_parts: np.ndarray,
    query_presence: np.ndarray,
    gallery_parts: np.ndarray,
    gallery_presence: np.ndarray,
    scoring: Scoring = Scoring(),
) -> np.ndarray:
    """Give the `(Q, G)` float32 similarities of a benchmark."""
    if scoring.part_aware:
        rows = [
            similarities(parts, presence, gallery_parts, gallery_presence, scoring)
            for parts, presence in zip(query_parts, query_presence, strict=True)
        ]
        return np.stack(rows)
    return unit_vectors(query_parts, query_presence, scoring) @ unit_vectors(gallery_parts, gallery_presence, scoring).T
