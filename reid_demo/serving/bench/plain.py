"""The references: the same work on the same inputs, written as plainly as it can be. A test compares what both return.

Plain is float32, eager PyTorch without folding or channels last, one picture after another read in this thread, a full
product with every vector, and a full sort.
"""

import copy
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from reid_demo import occlude
from reid_demo.images import read_image, to_model_input
from reid_demo.model.dpti import DPTI
from reid_demo.records import Occlusion
from reid_demo.search import similarity
from reid_demo.search.gallery import Gallery


class Plain:
    """A network and a gallery, used plainly."""

    def __init__(self, network: DPTI, device: torch.device, gallery: Gallery) -> None:
        """Copy the network to the device; lay out the gallery's vectors once, as the product does before a search.

        Args:
            network: as `checkpoint.load_weights` returns it; a describer's own is folded and in channels last.
            device: where it runs.
            gallery: what is searched.
        """
        self.model = copy.deepcopy(network).float().eval().requires_grad_(False).to(device)
        self.device, self.scoring = device, gallery.scoring
        self.vectors = similarity.gallery_vectors(gallery.parts.astype(np.float32), gallery.presence, gallery.scoring)

    def describe(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return parts `(B, P+1, D)` and presence `(B, P)` of `(H, W, 3)` uint8 images."""
        with torch.no_grad():
            pixels = torch.stack([torch.from_numpy(to_model_input(image)) for image in images])
            out = self.model(pixels.to(self.device))
            parts = torch.cat([out.global_embedding[:, None], out.part_embeddings], dim=1)
            return parts.cpu().numpy(), out.presence.cpu().numpy()

    def search(self, parts: np.ndarray, presence: np.ndarray, top_k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities of the best images for one probe, `(P+1, D)` and `(P,)`."""
        values = self.vectors @ similarity.probe_vectors(parts, presence, self.scoring)
        best = np.argsort(-values, kind="stable")[:top_k]
        return best, values[best]

    def change(self, image: np.ndarray, change: Occlusion, top_k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Hide a part of a probe, describe it and search."""
        parts, presence = self.describe([occlude.apply(image, [change])])
        return self.search(parts[0], presence[0], top_k)

    def sweep(self, image: np.ndarray, boxes: np.ndarray, watched: int) -> np.ndarray:
        """Return what hiding each of `(T, 4)` boxes adds to the similarity of one gallery row, and its rank then."""
        changes = []
        for box in boxes:
            hidden = occlude.apply(image, [Occlusion("box", "mean_grey", tuple(map(float, box)))])
            parts, presence = self.describe([hidden])
            values = self.vectors @ similarity.probe_vectors(parts[0], presence[0], self.scoring)
            changes.append((values[watched], int((values > values[watched]).sum()) + 1))
        return np.array(changes)

    def index(self, files: Sequence[Path], out: Path, batch: int = 32) -> None:
        """Write a gallery of picture files: the pictures, their records, their parts and presence."""
        (out / "images").mkdir(parents=True)
        parts, presence = [], []
        for start in range(0, len(files), batch):
            some = files[start : start + batch]
            found = self.describe([read_image(file) for file in some])
            parts.append(found[0].astype(np.float16))
            presence.append(found[1])
            for file in some:
                shutil.copy(file, out / "images" / file.name)
        np.save(out / "parts.npy", np.concatenate(parts))
        np.save(out / "presence.npy", np.concatenate(presence))
        lines = [json.dumps({"path": f"images/{file.name}"}) for file in files]
        (out / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
