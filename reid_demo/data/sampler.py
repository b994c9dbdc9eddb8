"""Identity-balanced batches: some identities, some images of each (PK sampling). Knows no images."""

from collections.abc import Iterator, Sequence

import numpy as np

from reid_demo.errors import TrainingError


class IdentitySampler:
    """Deterministic batches of `ids_per_batch` identities by `imgs_per_id` images.

    The batches of an epoch depend on the seed and the epoch alone, so training resumes at any batch without a stored
    random state. An identity appears once for each whole group of its images, at least once; one with too few images
    repeats them. On Market-1501 (12,936 images) that is 185 batches of 64, 91.5 % of the images.
    """

    def __init__(self, labels: Sequence[int], ids_per_batch: int, imgs_per_id: int, seed: int = 0) -> None:
        """Group the rows of `labels` by label."""
        if ids_per_batch < 1 or imgs_per_id < 1:
            raise TrainingError("ids_per_batch and imgs_per_id must be at least 1.")
        self.groups = [np.flatnonzero(np.asarray(labels) == label) for label in sorted(set(labels))]
        if len(self.groups) < ids_per_batch:
            raise TrainingError(
                f"{len(self.groups)} identities cannot fill batches of {ids_per_batch}; set ids_per_batch lower."
            )
        self.ids_per_batch, self.imgs_per_id, self.seed = ids_per_batch, imgs_per_id, seed

    def __len__(self) -> int:
        """Return the number of batches that the sampler fills before an image has to come again."""
        return max(1, sum(max(1, len(g) // self.imgs_per_id) for g in self.groups) // self.ids_per_batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """Yield the batches of an epoch as rows of `labels`, from batch `start` on; `len(self)` in all."""
        rng = np.random.default_rng((self.seed, epoch))
        chunks: list[list[np.ndarray]] = []
        for group in self.groups:
            count = max(1, len(group) // self.imgs_per_id)
            rows = rng.permutation(group)
            if len(rows) < self.imgs_per_id:
                rows = np.concatenate([rows, rng.choice(group, self.imgs_per_id - len(rows))])
            chunks.append(list(rows[: count * self.imgs_per_id].reshape(count, self.imgs_per_id)))
        for number in range(len(self)):
            # Identities with the most groups left go first, ties at random, so that none is left over at the end.
            left = np.array([len(c) for c in chunks])
            order = np.lexsort((rng.random(len(left)), -left)) if number % 2 else self._weighted(rng, left)
            picked = [i for i in order if chunks[i]][: self.ids_per_batch]
            picked += [i for i in rng.permutation(len(chunks)) if i not in picked][: self.ids_per_batch - len(picked)]
            batch = []
            for i in picked:
                rows = chunks[i].pop() if chunks[i] else rng.choice(self.groups[i], self.imgs_per_id)
                batch += [int(row) for row in rows]
            if number >= start:
                yield batch

    @staticmethod
    def _weighted(rng: np.random.Generator, left: np.ndarray) -> np.ndarray:
        keys = rng.random(len(left)) ** (1 / np.maximum(left, 1e-9))
        return np.argsort(-keys)
