"""Data sets + sampler + augmentation -> batches. The map from pid to training label lives here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid_demo import occlude
from reid_demo.config import TrainConfig
from reid_demo.data.augmentation import Sample, augment
from reid_demo.data.body import Body, read_bodies
from reid_demo.data.ground_truth import PARTS, TRUTH_FILE
from reid_demo.data.layouts import load_train
from reid_demo.data.sampler import IdentitySampler
from reid_demo.errors import DatasetError, ImageError, ReidError, TrainingError
from reid_demo.images import normalised, read_image


@dataclass(frozen=True, eq=False)
class Inputs:
    """One training batch on its device, as `distributed.WholeBatch` takes it."""

    pixels: Tensor | None  # (B, 3, H, W) float32, normalised; `None` where there are maps
    labels: Tensor  # (B,) int64
    teacher: Tensor | None = None  # (B, T) float32
    body: tuple[Tensor, Tensor] | None = None  # as `Batch` has it
    before: tuple[Tensor, Tensor] | None = None  # as `Batch` has it, but pixels like `pixels`
    maps: tuple[Tensor, Tensor] | None = None  # as `Batch` has it, but float32

    @property
    def size(self) -> tuple[int, int]:
        """Return the pictures' `(H, W)`, model px."""
        if self.maps is not None:
            return tuple(16 * side for side in self.maps[1].shape[2:])  # the final map has stride 16
        return tuple(self.pixels.shape[2:])


@dataclass(frozen=True, eq=False)
class Batch:
    """One training batch on the CPU; pictures stay bytes until they are on the device, a quarter of the transfer."""

    images: Tensor | None  # (B, H, W, 3) uint8 RGB; `None` where there are maps
    labels: Tensor  # (B,) int64
    teacher: Tensor | None  # (B, T) float32
    body: tuple[Tensor, Tensor] | None = None  # labels (B, H/4, W/4) uint8, as `Body`; visible (B, 8), NaN if unknown
    # what a live teacher sees: pictures (B, H, W, 3) uint8 RGB, and (B,) bool whether nothing stands in front
    before: tuple[Tensor, Tensor] | None = None
    # a frozen backbone's mid map (B, C, h', w') and final map (B, C', h, w), float16
    maps: tuple[Tensor, Tensor] | None = None

    def pin_memory(self) -> "Batch":
        """Return a copy in pinned memory, from which a GPU reads asynchronously (`DataLoader` calls this)."""
        pinned = (t if t is None else t.pin_memory() for t in (self.images, self.labels, self.teacher))
        pairs = (pair and tuple(tensor.pin_memory() for tensor in pair) for pair in (self.body, self.before))
        return Batch(*pinned, *pairs)

    def on(self, place: torch.device) -> Inputs:
        """Move the batch to a device and normalise its pictures there."""
        teacher = None if self.teacher is None else self.teacher.to(place, non_blocking=True)
        body = self.body and tuple(tensor.to(place, non_blocking=True) for tensor in self.body)
        pixels = None if self.images is None else normalised(self.images.to(place, non_blocking=True))
        before = self.before and tuple(tensor.to(place, non_blocking=True) for tensor in self.before)
        before = before and (normalised(before[0]), before[1])
        maps = self.maps and tuple(tensor.to(place, torch.float32, non_blocking=True) for tensor in self.maps)
        return Inputs(pixels, self.labels.to(place, non_blocking=True), teacher, body, before, maps)


class TrainingSet:
    """The training images of one or more roots, with labels `0..C-1` in the order of root and pid."""

    def __init__(
        self,
        dataset: str,
        roots: Sequence[Path],
        teacher: dict[str, np.ndarray] | None = None,
        body_parts: bool = False,
        toward_person: float = 0.0,
    ) -> None:
        """Read the records; the same pid under two roots is two people.

        Args:
            dataset: name of the layout.
            roots: folders.
            teacher: record path to `(T,)` vector; every image needs one.
            body_parts: also read where the body parts of rendered images are; at least one root must have them.
            toward_person: share of the mean of a person's vectors in each image's `teacher`, 0..1.

        Raises:
            DatasetError: a root is not as its layout says.
            SyntheticError: the ground truth of a root is damaged.
            TrainingError: an image has no teacher vector, two roots with such vectors have one name, or no root has the
                body parts asked for.
        """
        if not roots:
            raise DatasetError("Training needs at least one root.")
        if teacher is not None:
            check_names(roots)
        people: list[tuple[int, int]] = []
        self.paths: list[Path] = []
        names: list[str] = []
        self.bodies: list[Body | None] | None = [] if body_parts else None
        for number, root in enumerate(roots):
            bodies = read_bodies(root) if body_parts else {}
            for record in load_train(dataset, root):
                people.append((number, record.pid))
                self.paths.append(root / record.path)
                own = f"{root.name}/{record.path}"  # a cache of several roots names them; of one it need not
                named = len(roots) > 1 or teacher is not None and own in teacher
                names.append(own if named else record.path)
                if self.bodies is not None:
                    self.bodies.append(bodies.get(record.path))
        label_of = {person: label for label, person in enumerate(sorted(set(people)))}
        self.labels = [label_of[person] for person in people]
        self.num_classes = len(label_of)
        # whether nothing stands in front of the person, as far as is known
        self.clear = np.array([body is None or body.clear for body in self.bodies or [None] * len(people)])
        if self.bodies is not None and not any(self.bodies):
            raise TrainingError(
                f"No root has {TRUTH_FILE}; body_attention and body_presence need a data set made by `synthesize`."
            )
        self.teacher = None
        if teacher is not None:
            absent = [name for name in names if name not in teacher]
            if absent:
                raise TrainingError(
                    f"{len(absent)} images have no teacher vector (first: {absent[0]}); cache them all."
                )
            vectors = np.stack([teacher[name] for name in names])
            self.teacher = drawn_together(vectors, np.array(self.labels), toward_person, self.clear)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)


def check_names(roots: Sequence[Path]) -> None:
    """Refuse folders of the same name, which a cache of a teacher's vectors could not tell apart.

    Raises:
        TrainingError: two have one name.
    """
    names = [root.name for root in roots]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TrainingError(f"Two roots are called {twice!r}; rename one, as a teacher's vectors go by that name.")


def drawn_together(
    vectors: np.ndarray, labels: np.ndarray, share: float, clear: np.ndarray | None = None
) -> np.ndarray:
    """Move unit vectors toward the mean of their label by a share in 0..1, and normalise again.

    Args:
        vectors: `(M, T)`.
        labels: `(M,)`.
        share: 0 leaves the vectors of clear pictures as they are.
        clear: `(M,)` bool; the vector of a picture that is not clear describes what stands in front. It does not
            count in the mean, and the mean replaces it where the person has a clear picture.
    """
    clear = np.ones(len(labels), bool) if clear is None else clear
    if not share and clear.all():
        return vectors
    means, counts = np.zeros((labels.max() + 1, vectors.shape[1])), np.zeros(labels.max() + 1)
    np.add.at(means, labels[clear], vectors[clear])
    np.add.at(counts, labels[clear], 1)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    known = counts[labels] > 0
    shares = np.where(known, np.where(clear, share, 1.0), 0.0)[:, None]
    moved = (1 - shares) * vectors + shares * means[labels]
    return (moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)).astype(np.float32)


class BatchLoader:
    """Batches by number: batch `step` is the same whenever and from wherever training starts.

    Of `ranks` processes, each loads its own share of the whole identities of a batch; the shares in the order of the
    ranks are the batch of one process, pixel for pixel.
    """

    def __init__(
        self,
        data: TrainingSet,
        config: TrainConfig,
        rank: int = 0,
        ranks: int = 1,
        cutouts: occlude.Cutouts | None = None,
    ) -> None:
        """Prepare the sampler of `config`; `cutouts` are what its option `pasted` puts in front.

        Raises:
            TrainingError: the identities of a batch cannot be shared out evenly or are more than there are; or
                `pasted` is set and cut-outs of a person or of a thing are missing.
        """
        if config.ids_per_batch % ranks:
            raise TrainingError(
                f"ids_per_batch {config.ids_per_batch} cannot be shared by {ranks} processes; use a multiple."
            )
        if config.pasted and not all((cutouts or {}).get(kind) for kind in ("person", *occlude.THINGS)):
            raise TrainingError(
                f"The option pasted needs cut-outs of a person, a {', a '.join(occlude.THINGS)}; name their folder."
            )
        self.cutouts = cutouts
        share = config.ids_per_batch // ranks * config.imgs_per_id
        self.data, self.config, self.share = data, config, slice(rank * share, (rank + 1) * share)
        self.sampler = IdentitySampler(data.labels, config.ids_per_batch, config.imgs_per_id, config.seed)

    def __len__(self) -> int:
        """Return the number of batches of an epoch, as the option `epoch` counts it."""
        if self.config.epoch == "groups":
            return len(self.sampler)
        return max(1, len(self.data) // (self.config.ids_per_batch * self.config.imgs_per_id))

    def rows(self, start: int) -> Iterator[list[int]]:
        """Yield rows of the training set for batch `start`, `start + 1`, ... without end."""
        epoch, offset = divmod(start, len(self.sampler))
        while True:
            yield from self.sampler.epoch(epoch, offset)
            epoch, offset = epoch + 1, 0

    def load(self, number: int, rows: Sequence[int], size: tuple[int, int]) -> Batch:
        """Read and augment this process's share of `rows`, the images of batch `number`, at `size` `(h, w)`."""
        rows = list(rows)[self.share]
        samples: list[Sample] = []
        height, width = size
        for place, row in enumerate(rows, self.share.start):
            rng = np.random.default_rng((self.config.seed, number, place))
            known = self.data.bodies and self.data.bodies[row]
            try:
                image = read_image(self.data.paths[row])
            except ImageError as error:
                raise DatasetError(f"The image {self.data.paths[row]} cannot be used: {error}") from error
            samples.append(augment(Sample(image, known), self.config, rng, size, self.cutouts))
        teacher = None if self.data.teacher is None else torch.from_numpy(self.data.teacher[rows])
        labels = torch.tensor([self.data.labels[row] for row in rows])
        small = (height // 4, width // 4)
        bodies = [sample.body and sample.body.resized(*small) for sample in samples]
        together = None if self.data.bodies is None else _stack(bodies, small)
        before = None
        if self.config.live_teacher:
            seen = np.stack([sample.before for sample in samples])
            before = (torch.from_numpy(seen), torch.from_numpy(self.data.clear[rows]))
        return Batch(torch.from_numpy(np.stack([s.image for s in samples])), labels, teacher, together, before)

    def batches(self, start: int, size_now: Callable[[int], tuple[int, int]]) -> Iterator[Batch]:
        """Yield batch `start`, `start + 1`, ... without end.

        Args:
            start: number of the first batch.
            size_now: batch number to `(h, w)`; asked when a batch is begun.
        """
        jobs = ((number, rows, size_now(number)) for number, rows in enumerate(self.rows(start), start))
        loaded: Iterable[Batch | ReidError] = DataLoader(
            _Jobs(self),
            batch_size=None,
            sampler=jobs,
            num_workers=self.config.num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # its own: a resumed run needs the global one as it was left
        )
        for batch in loaded:
            if isinstance(batch, ReidError):
                raise batch
            yield batch


class _Jobs(Dataset):
    """Batches as `DataLoader` asks for them: by number, rows and size."""

    def __init__(self, loader: BatchLoader) -> None:
        self.loader = loader

    def __getitem__(self, job: tuple[int, list[int], tuple[int, int]]) -> Batch | ReidError:
        try:
            return self.loader.load(*job)
        except ReidError as error:  # returned: raised in a worker, it would reach the user as a traceback
            return error


def _start_worker(number: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's threads do not outlive a fork, and each worker has one core


def _stack(bodies: Sequence[Body | None], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    unknown = Body(np.zeros(size, np.uint8), np.full(len(PARTS), np.nan, np.float32))
    filled = [body or unknown for body in bodies]
    return tuple(torch.from_numpy(np.stack([getattr(body, part) for body in filled])) for part in ("labels", "visible"))
