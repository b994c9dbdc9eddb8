"""Pictures for tests: coloured figures, neither real nor rendered people."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_person(pid: int, camid: int, height: int = 128, width: int = 64) -> np.ndarray:
    """Draw a figure whose colours depend on the pid and whose background and noise depend on the camera."""
    person, place = np.random.default_rng(pid), np.random.default_rng(1000 * camid + pid)
    image = np.full((height, width, 3), place.integers(60, 200), np.uint8)
    image = (image + place.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)
    left, right = width // 4, width - width // 4
    bands = ((0.05, 0.2), (0.2, 0.55), (0.55, 0.92))
    for top, bottom in bands:
        image[int(top * height) : int(bottom * height), left:right] = person.integers(0, 256, 3)
    return image


def write_people(root: Path, pids: range, height: int = 64, width: int = 32) -> Path:
    """Write training figures in Market-1501's layout, one under each of two cameras; return the root."""
    folder = root / "bounding_box_train"
    folder.mkdir(parents=True)
    for pid in pids:
        for camid in (1, 2):
            picture = Image.fromarray(draw_person(pid, camid, height, width))
            picture.save(folder / f"{pid:04d}_c{camid}s1_000001_00.jpg")
    return root


def one_block(descriptors):
    """Yield descriptors as a single block for `store.write`."""
    parts = np.stack([d.parts for d in descriptors]).astype(np.float16)
    return iter([(parts, np.stack([d.presence for d in descriptors]).astype(np.float32))])
