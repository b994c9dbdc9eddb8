"""A teacher network's vectors for training: cached once per image, or computed live. Knows no student.

The cache is an `.npz` of `paths` (as the data set's records state them) and `vectors`. The teacher is never part of the
product. Only `describe_with_teacher` needs `openvino`.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from reid_demo.data.loaders import Inputs
from reid_demo.errors import TrainingError
from reid_demo.images import read_image, to_model_input
from reid_demo.model import runtimes
from reid_demo.model.start import published_network
from reid_demo.records import ImageRecord


def describe_with_teacher(model_xml: Path, root: Path, records: Sequence[ImageRecord], threads: int = 2) -> np.ndarray:
    """Run a Re-ID network in OpenVINO's format over clean images.

    Args:
        model_xml: the network; input `(1, 3, 256, 128)` BGR in 0..255, output `(1, T)`.
        root: folder of the records.
        records: images, in order.
        threads: CPU threads.

    Returns:
        `(len(records), T)` float32 vectors of length 1.

    Raises:
        TrainingError: OpenVINO is not installed, or the network's file is missing.
    """
    try:
        core = runtimes.openvino_core()
    except ImportError as error:
        raise TrainingError("The teacher needs openvino: pip install openvino.") from error
    if not Path(model_xml).is_file():
        raise TrainingError(f"The teacher {Path(model_xml).name!r} is missing.")
    network = core.compile_model(str(model_xml), "CPU", {"INFERENCE_NUM_THREADS": threads})
    _, _, height, width = network.inputs[0].shape
    vectors = []
    for record in tqdm(records, desc="teacher", unit="image"):
        image = cv2.resize(read_image(Path(root) / record.path)[:, :, ::-1], (width, height))
        vectors.append(network(image.transpose(2, 0, 1)[None].astype(np.float32))[0].reshape(-1))
    return _unit(np.stack(vectors))


def describe_with_backbone(model_xml: Path, root: Path, records: Sequence[ImageRecord], batch: int = 16) -> np.ndarray:
    """Run the network that `osnet_lct` reads over clean images, as its own teacher; without OpenVINO.

    Args:
        model_xml: the network, in OpenVINO's format.
        root: folder of the records.
        records: images, in order.
        batch: images at once.

    Returns:
        `(len(records), T)` float32 vectors of length 1.
    """
    pooled = LiveTeacher(model_xml, torch.device("cpu"))
    vectors = []
    for first in tqdm(range(0, len(records), batch), desc="teacher", unit="batch"):
        pictures = [to_model_input(read_image(root / record.path)) for record in records[first : first + batch]]
        vectors.append(pooled(torch.from_numpy(np.stack(pictures))).numpy())
    return np.concatenate(vectors)


class LiveTeacher:
    """The network that `osnet_lct` reads, on a device: normalised pictures to its own vectors. It never learns."""

    def __init__(self, model_xml: Path, device: torch.device) -> None:
        """Read the network.

        Raises:
            WeightsError: the file is not as `load_ir` wants it.
        """
        model = published_network(model_xml)
        self._model = model.to(device, memory_format=torch.channels_last)
        self.dim = model.config.dim

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Describe `(B, 3, 256, 128)` normalised pictures by `(B, T)` float32 vectors of length 1."""
        return nn.functional.normalize(self._model(pixels).descriptor.float(), dim=1)


def blended(inputs: Inputs, share: float) -> tuple[Inputs, torch.Tensor]:
    """Blend a share of the pictures with another one of the batch, by at most half; the teacher's pictures likewise.

    Returns:
        The batch, in which nothing is known of the body in a blended picture, and `(B,)` int64 labels by which a
        blended picture is a person of its own.
    """
    count, place = len(inputs.labels), inputs.labels.device
    other = torch.randperm(count, device=place)
    mixed = torch.rand(count, device=place) < share
    weight = torch.where(mixed, 0.5 * torch.rand(count, device=place), 0.0)[:, None, None, None]
    pixels, before = (torch.lerp(p, p[other], weight) for p in (inputs.pixels, inputs.before[0]))
    body = inputs.body and (inputs.body[0], inputs.body[1].masked_fill(mixed[:, None], torch.nan))
    people = torch.where(mixed, -1 - torch.arange(count, device=place), inputs.labels)
    return replace(inputs, pixels=pixels, body=body, before=(before, inputs.before[1])), people


def from_clear(vectors: torch.Tensor, labels: torch.Tensor, clear: torch.Tensor) -> torch.Tensor:
    """Replace the vectors of pictures with something in front by the mean of their person's clear ones in the batch.

    As `loaders.drawn_together` does over a whole data set; a person without a clear picture keeps all vectors.

    Args:
        vectors: `(B, T)` of length 1.
        labels: `(B,)` int64.
        clear: `(B,)` bool.
    """
    same = ((labels[:, None] == labels[None]) & clear[None]).to(vectors.dtype)
    means = nn.functional.normalize(same @ vectors, dim=1)
    replaced = ~clear & (same.sum(1) > 0)
    return torch.where(replaced[:, None], means, vectors)


def save_vectors(path: Path, records: Sequence[ImageRecord], vectors: np.ndarray) -> None:
    """Write a cache of `(M, T)` vectors for `M` records, by their paths."""
    paths = np.array([record.path for record in records])
    with open(path, "wb") as file:  # to a path, NumPy would add a suffix
        np.savez_compressed(file, paths=paths, vectors=vectors.astype(np.float32))


def load_vectors(path: Path) -> dict[str, np.ndarray]:
    """Read a cache as path to `(T,)` unit vector.

    Raises:
        TrainingError: unreadable, or not of the form that `save_vectors` writes.
    """
    try:
        with np.load(path, allow_pickle=False) as cache:
            paths, vectors = cache["paths"], cache["vectors"]
    except (
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise TrainingError(f"The teacher's vectors {Path(path).name!r} cannot be read: {error}") from error
    if vectors.ndim != 2 or len(paths) != len(vectors) or not np.isfinite(vectors).all():
        raise TrainingError(f"{Path(path).name!r} needs `paths` (M,) and finite `vectors` (M, T).")
    return dict(zip(paths.tolist(), _unit(vectors), strict=True))


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
