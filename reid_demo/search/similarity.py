"""The one definition of similarity and of its per-part terms. Knows no images and no model.

Ranking, evaluation and explanation all call this module, so they cannot disagree. Similarity is the inner product of
a probe's vector and a candidate's.

`cosine` and `adaptive`: both are unit vectors, so similarity is the cosine of the weighted concatenated descriptors
(Sec. 3.5), `f = concat(g, w_1 p_1, ..., w_N p_N)`, with `w_i = N rho_i` if adaptive and 1 otherwise.

`part_aware`: the distance that the paper leaves to future work. It is the mean of the cosines of the global
descriptor and of the parts, each weighted by how much the probe shows: `|g|`, and `|p_i| min(1, N rho_i)^(1/4)`. The
lengths of a candidate's parts do not count. In the cosine they do, so that a leg hidden in the probe still affects the
ranks of candidates who show one.
"""

import functools
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from reid_demo.config import ModelConfig
from reid_demo.errors import ConfigError, ShapeError
from reid_demo.records import Descriptor, Scoring

_EPS = 1e-12
CACHED_ROWS = 96  # rows of 2304 numbers in float32 that stay in a core's second-level cache
_starting = threading.Lock()  # held while threads start, or the loop over the blocks is compiled
PRESENCE_POWER = 0.25  # part_aware: mild, because the descriptor of a hidden part is already short


def own_scoring(config: ModelConfig) -> Scoring:
    """Return the default scoring of a model's galleries.

    Adaptive if the model was trained with it (variant G+D+W), part-aware for other models with parts, and the cosine
    of the global descriptors for models without.
    """
    return Scoring("part_aware") if config.parts and not config.adaptive_weighting else paper_scoring(config)


def paper_scoring(config: ModelConfig) -> Scoring:
    """Return the paper's scoring of a model: adaptive if it was trained with it (variant G+D+W), else cosine."""
    return Scoring("adaptive" if config.adaptive_weighting else "cosine")


def part_weights(presence: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Return the weight of every term, global first (Eq. 8).

    Args:
        presence: `(..., P)` rho, each row sums to 1; `P` may be 0.
        scoring: weighing and switches.

    Returns:
        `(..., P+1)` float32; 0 where a term is switched off.
    """
    num_parts = presence.shape[-1]
    parts = num_parts * presence if scoring.weighing == "adaptive" else np.ones_like(presence)
    weights = np.concatenate([np.ones((*presence.shape[:-1], 1), np.float32), parts], axis=-1).astype(np.float32)
    return weights * switches(num_parts, scoring)


def switches(num_parts: int, scoring: Scoring) -> np.ndarray:
    """Return the `(P+1,)` float32 mask of the terms, 1 for on and 0 for off.

    Raises:
        ConfigError: a wrong number of switches, or all are off.
    """
    if scoring.parts is None:
        return np.ones(num_parts + 1, np.float32)
    if len(scoring.parts) != num_parts + 1:
        raise ConfigError(f"Expected {num_parts + 1} part switches (global first), got {len(scoring.parts)}.")
    if not any(scoring.parts):
        raise ConfigError("Leave at least one part switched on.")
    return np.asarray(scoring.parts, np.float32)


def unit_vectors(parts: np.ndarray, presence: np.ndarray, scoring: Scoring = Scoring()) -> np.ndarray:
    """Return the unit descriptors whose inner products are the cosine similarity.

    Args:
        parts: `(..., P+1, D)` unweighted descriptors, global first.
        presence: `(..., P)`.
        scoring: weighting and switches.

    Returns:
        `(..., (P+1) D)` float32 of length 1, or 0 if all enabled descriptors are 0.

    Raises:
        ShapeError: the shapes of parts and presence do not match.
        ConfigError: a wrong number of part switches, or all are off.
    """
    _check_shapes(parts, presence)
    weighted = np.asarray(parts, np.float32) * part_weights(presence, scoring)[..., None]
    flat = _flat(weighted)
    norms = np.linalg.norm(flat, axis=-1, keepdims=True)
    return flat / np.maximum(norms, _EPS)


def probe_vectors(parts: np.ndarray, presence: np.ndarray, scoring: Scoring = Scoring()) -> np.ndarray:
    """Return the probes' vectors; their inner products with `gallery_vectors` are the similarities.

    Args:
        parts: `(..., P+1, D)` unweighted descriptors of probes, global first.
        presence: `(..., P)`.
        scoring: which similarity.

    Returns:
        `(..., (P+1) D)` float32.
    """
    if scoring.weighing != "part_aware":
        return unit_vectors(parts, presence, scoring)
    _check_shapes(parts, presence)
    parts, num_parts = np.asarray(parts, np.float32), presence.shape[-1]
    weights = _seen(presence, scoring)
    # |p_i| times the unit vector of p_i is p_i
    total = (weights * np.linalg.norm(parts, axis=-1)).sum(axis=-1)[..., None, None]
    return _flat(np.sqrt(num_parts + 1) * parts * weights[..., None] / np.maximum(total, _EPS))


def _seen(presence: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Return the part-aware weight `(..., P+1)` of a probe's terms, without their lengths."""
    num_parts = presence.shape[-1]
    seen = np.minimum(1, num_parts * presence) ** PRESENCE_POWER
    ones = np.ones((*seen.shape[:-1], 1), np.float32)
    return np.concatenate([ones, seen], axis=-1) * switches(num_parts, scoring)


def gallery_vectors(parts: np.ndarray, presence: np.ndarray, scoring: Scoring = Scoring()) -> np.ndarray:
    """Return the candidates' vectors, `(..., (P+1) D)` float32 of length 1; arguments as for `probe_vectors`.

    If part-aware, the switches make no difference here: they act on the probe alone.
    """
    if scoring.weighing != "part_aware":
        return unit_vectors(parts, presence, scoring)
    _check_shapes(parts, presence)
    parts = np.asarray(parts, np.float32)
    lengths = np.linalg.norm(parts, axis=-1, keepdims=True)
    return _flat(parts / np.maximum(lengths * np.sqrt(parts.shape[-2]), _EPS))


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the similarities of many images need beside the products of their parts with a probe's."""

    lengths: np.ndarray  # (P+1, G) float32, of the unweighted parts
    presence: np.ndarray  # (G, P) float32


def part_products(parts: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """Multiply each part of every row with the same part of each probe, in one pass over the rows.

    A few rows at a time become float32 in the processor's cache, so half as much memory is read, and once. Each thread
    does its share of the rows by PyTorch: NumPy's threads go on waiting for work after each product, and take the
    processor from the network.

    Args:
        parts: `(G, T, D)` float16, memory-mapped perhaps.
        probes: `(n, T, D)` float32.

    Returns:
        `(n, T, G)` float32; a row's values do not depend on its position.
    """
    count, terms, dim = parts.shape
    asked = torch.from_numpy(np.ascontiguousarray(probes.transpose(1, 0, 2), np.float32))  # (T, n, D)
    found = torch.empty(-(-count // CACHED_ROWS), terms, len(probes), CACHED_ROWS, dtype=torch.float32)
    with _starting:
        multiply = _compiled_blocks()
    stored = torch.from_numpy(parts)

    def fill(first: int, end: int) -> None:
        block = torch.zeros(CACHED_ROWS, terms, dim, dtype=torch.float32)
        with torch.inference_mode():
            multiply(asked, stored[first * CACHED_ROWS : end * CACHED_ROWS], block, found[first:end])

    share_out(fill, len(found))
    joined = found.numpy().transpose(2, 1, 0, 3).reshape(len(probes), terms, -1)
    return joined[:, :, :count]


def _multiply_blocks(asked: torch.Tensor, parts: torch.Tensor, block: torch.Tensor, found: torch.Tensor) -> None:
    """Fill `found` block by block; the last block is whole too, as products of another shape may round otherwise."""
    rows, columns = block.shape[0], block.permute(1, 2, 0)
    for number in range(found.shape[0]):
        stored = parts[number * rows : (number + 1) * rows]
        block[: stored.shape[0]].copy_(stored)
        torch.bmm(asked, columns, out=found[number])


@functools.cache
def _compiled_blocks() -> Callable[..., None]:
    """Compile the loop over the blocks: in Python, each of its 400 steps waits for the lock that other threads hold.

    PyTorch watches the first call and compiles in the second; both are done here, as two threads must not meet in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's other compilers need one of C++
        compiled = torch.jit.script(_multiply_blocks)
    with torch.inference_mode():
        for _ in range(2):
            compiled(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1).half(), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 1))
    return compiled


def share_out(work: Callable[[int, int], object], count: int) -> None:
    """Do a long pass of `count` steps, a share of them in each of as many threads as PyTorch has here.

    PyTorch's own threads meet after each of a pass's small steps. Where they share a core, because another program had
    theirs when they woke, each step waits for the scheduler: a pass took three times as long, click after click.

    Args:
        work: called with the first step of a share and the one after its last; in each thread, PyTorch works alone.
        count: steps; they are done in this thread where there are fewer than threads.
    """
    threads = torch.get_num_threads()
    if threads == 1 or count < threads:
        work(0, count)
        return
    ends = [count * number // threads for number in range(threads + 1)]
    with _starting:
        pool = _pool(os.getpid(), threads)
    list(pool.map(work, ends[:-1], ends[1:]))


@functools.cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Start the threads, once per process: a forked process has none of its parent's."""
    all_there = threading.Barrier(threads + 1)

    def alone() -> None:
        torch.set_num_threads(1)  # of this thread, and of those that begin to use PyTorch before it is taken back
        torch.get_num_threads()  # PyTorch looks at the number only when a thread first asks
        all_there.wait()

    pool = ThreadPoolExecutor(threads, "share", alone)
    for _ in range(threads):
        pool.submit(int)  # starts a thread, which waits in its initialiser
    all_there.wait()
    torch.set_num_threads(threads)
    return pool


def part_lengths(parts: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of every part of `(G, T, D)` float16 rows, `(T, G)` float32."""
    stored, found = torch.from_numpy(parts), torch.empty(parts.shape[1], len(parts), dtype=torch.float32)
    for start in range(0, len(parts), CACHED_ROWS):
        found[:, start : start + CACHED_ROWS] = stored[start : start + CACHED_ROWS].float().norm(dim=2).T
    return found.numpy()


def from_products(products: np.ndarray, probe: Descriptor, candidates: Candidates, scoring: Scoring) -> np.ndarray:
    """Return the similarities of a probe, under any scoring, from one pass over the candidates.

    Args:
        products: `(P+1, G)` float32 of one probe, as `part_products` returns them.
        probe: what was multiplied.
        candidates: G images.
        scoring: which similarity.

    Returns:
        `(G,)` float32; `probe_vectors` times `gallery_vectors`, to rounding.
    """
    own = np.linalg.norm(probe.parts, axis=-1)  # (P+1,)
    if scoring.weighing == "part_aware":
        weights = _seen(probe.presence, scoring)
        shares = weights / np.maximum((weights * own).sum(), _EPS)
        return _weighed(shares, products / np.maximum(candidates.lengths, _EPS))
    ours = part_weights(probe.presence, scoring)
    shares = ours / np.maximum(np.linalg.norm(ours * own), _EPS)
    if scoring.weighing == "adaptive":
        theirs = part_weights(candidates.presence, scoring).T  # (P+1, G)
        return _weighed(shares, products * theirs) / np.maximum(
            np.linalg.norm(candidates.lengths * theirs, axis=0), _EPS
        )
    squares = _weighed(switches(len(own) - 1, scoring), candidates.lengths**2)
    return _weighed(shares, products) / np.maximum(np.sqrt(squares), _EPS)


def _weighed(shares: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Add up `(P+1, G)` terms by `(P+1,)` shares, `(G,)` float32; equal columns have equal sums wherever they stand."""
    total = np.zeros(terms.shape[1], np.float32)
    for share, row in zip(shares.astype(np.float32), terms, strict=True):
        total += share * row
    return total


def _flat(terms: np.ndarray) -> np.ndarray:
    return terms.reshape(*terms.shape[:-2], terms.shape[-2] * terms.shape[-1]).astype(np.float32)


def _check_shapes(parts: np.ndarray, presence: np.ndarray) -> None:
    if parts.shape[-2] != presence.shape[-1] + 1 or parts.shape[:-2] != presence.shape[:-1]:
        raise ShapeError(f"The shapes of parts {parts.shape} and presence {presence.shape} do not match.")


def contributions(
    probe_parts: np.ndarray,
    probe_presence: np.ndarray,
    parts: np.ndarray,
    presence: np.ndarray,
    scoring: Scoring = Scoring(),
) -> np.ndarray:
    """Return the signed per-part terms of the similarity of one probe to many candidates.

    Args:
        probe_parts: `(P+1, D)`.
        probe_presence: `(P,)`.
        parts: `(G, P+1, D)`.
        presence: `(G, P)`.
        scoring: which similarity.

    Returns:
        `(G, P+1)` float32, global first; each row sums to the candidate's similarity.
    """
    terms, dim = parts.shape[-2:]
    probe = probe_vectors(probe_parts, probe_presence, scoring).reshape(terms, dim)
    candidates = gallery_vectors(parts, presence, scoring).reshape(len(parts), terms, dim)
    return np.einsum("td,gtd->gt", probe, candidates)


def similarity_matrix(
    query_parts: np.ndarray,
    query_presence: np.ndarray,
    gallery_parts: np.ndarray,
    gallery_presence: np.ndarray,
    scoring: Scoring = Scoring(),
) -> np.ndarray:
    """Return the `(Q, G)` float32 similarities; arguments as for `probe_vectors` and `gallery_vectors`."""
    queries = probe_vectors(query_parts, query_presence, scoring)
    return queries @ gallery_vectors(gallery_parts, gallery_presence, scoring).T
