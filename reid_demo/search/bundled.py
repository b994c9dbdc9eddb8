"""The weights and the gallery that ship with the program; rebuilds the gallery for other weights than its own."""

import contextlib
import functools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from reid_demo import occlude
from reid_demo.data import counterfactuals, probes
from reid_demo.data.ground_truth import TRUTH_FILE
from reid_demo.data.people_file import PEOPLE
from reid_demo.errors import GalleryError, NotWritableError, WeightsError
from reid_demo.model import checkpoint, hub, runtimes
from reid_demo.model.describer import Describer, bulk_precision
from reid_demo.search import gallery as galleries
from reid_demo.search import milvus
from reid_demo.search.build import IndexOptions, holds_images, index_folder

PROJECT = Path(__file__).resolve().parent.parent.parent
WEIGHTS = PROJECT / "weights"
DEFAULT_WEIGHTS = WEIGHTS / "dpti-osnet"
DEFAULT_GALLERY = PROJECT / "gallery_data"
OCCLUDERS = "occluders"  # cut-out people and objects, in a gallery's folder
BESIDE = (probes.FOLDER, OCCLUDERS, counterfactuals.FOLDER, TRUTH_FILE, PEOPLE)  # what commands need beside the images


def weights_folder(name: str | Path | None = None) -> Path:
    """Return the folder of the weights called `name`.

    Args:
        name: a folder, an `hf://` address, the name of weights that ship, or `None` for the default.

    Raises:
        WeightsError: no such folder or name.
        HubError: the download failed.
    """
    if name is None:
        return DEFAULT_WEIGHTS
    if hub.is_address(name) or Path(name).exists():
        return hub.local_folder(name, "weights")
    if str(name) in names():
        return WEIGHTS / name
    raise WeightsError(
        f"There are no weights {str(name)!r}. Name a folder, hf://..., or what ships: {', '.join(names())}."
    )


def weights_name(name: str | Path | None = None) -> str:
    """Return the display name of weights: an `hf://` address unchanged, else the name of their folder or run."""
    return str(name) if name and hub.is_address(name) else checkpoint.name_of(weights_folder(name))


def names() -> list[str]:
    """Return the names of the weights that ship, sorted."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def name_by(fingerprint: str) -> str | None:
    """Return the name of the shipped weights with this fingerprint, or `None`."""
    return next((name for name in names() if checkpoint.fingerprint(WEIGHTS / name) == fingerprint), None)


def gallery_folder(name: str | Path | None = None) -> Path:
    """Return the folder of a gallery.

    Args:
        name: a folder, an `hf://` or `milvus://` address, or `None` for the gallery that ships.

    Raises:
        GalleryError: Milvus does not answer, or has no such gallery.
        HubError: the download failed.
    """
    name = name or DEFAULT_GALLERY
    return milvus.folder_of(name) if milvus.is_address(name) else hub.local_folder(name, "gallery")


def cutouts(folder: Path) -> occlude.Cutouts:
    """Return the cut-outs in a gallery's folder, else those that ship."""
    return occlude.read_cutouts(folder / OCCLUDERS) or occlude.read_cutouts(DEFAULT_GALLERY / OCCLUDERS)


def _is_current(copy: Path) -> bool:
    """Return whether a kept copy is readable and has this release's format."""
    try:
        return galleries.read_meta(copy).format_version == galleries.FORMAT_VERSION
    except GalleryError:
        return False


def _copy_beside(source: Path, copy: Path) -> None:
    """Copy what commands need beside a gallery's images, where it lacks."""
    for part in BESIDE:
        if not (source / part).exists() or (copy / part).exists():
            continue
        with tempfile.TemporaryDirectory(dir=copy, prefix=".writing-") as aside:  # whole or not at all
            made = Path(aside) / part
            (shutil.copytree if (source / part).is_dir() else shutil.copyfile)(source / part, made)
            made.rename(copy / part)


def gallery_for(describer: Describer, fingerprint: str) -> Path:
    """Return the shipped gallery, or for other weights than its own a copy that they describe.

    The copy is made on first use in `REID_DEMO_CACHE`, by default `~/.cache/reid_demo`; a stopped build resumes.

    Args:
        describer: of the weights in use.
        fingerprint: of these weights.

    Raises:
        GalleryError: the copy cannot be made.
    """
    source = DEFAULT_GALLERY
    try:
        about = galleries.read_meta(source)
    except GalleryError:
        return source  # missing or damaged: loading it raises the right error
    if about.fingerprint == fingerprint:
        return source
    copy = runtimes.cache_folder() / f"{source.name}-{fingerprint}"
    if _is_current(copy):
        with contextlib.suppress(OSError):  # of an earlier release, in a cache that is read alone
            _copy_beside(source, copy)
        if all((copy / part).is_dir() for part in BESIDE if (source / part).is_dir()):
            return copy
    print(f"These weights did not make the gallery: describing its pictures into {copy} (once).", file=sys.stderr)
    try:
        with _progress() as progress:
            index_folder(source / "images", copy, describer, fingerprint, IndexOptions(about.name, progress=progress))
        _copy_beside(source, copy)
    except (NotWritableError, OSError) as error:
        cause = error.__cause__ if isinstance(error, NotWritableError) else error
        raise NotWritableError(
            f"These weights need a copy of the shipped gallery, and {copy.parent} cannot be written "
            f"({getattr(cause, 'strerror', None) or cause}). Name a folder with room in the environment variable "
            "REID_DEMO_CACHE, or a gallery of these weights: --gallery."
        ) from error
    return copy


def gallery_of_photos(
    name: str | None, weights: str | None, device: str | None, runtime: str | None = None
) -> str | None:
    """Index `name` into `NAME.gallery` beside it if it is a folder of photos; return the gallery's name.

    Args:
        name: a folder of photos; a gallery, an address or `None` is returned unchanged.
        weights: see `weights_folder`.
        device: see `checkpoint.choose_device`.
        runtime: see `runtimes.named`.

    Raises:
        GalleryError: no picture in the folder can be read, or the gallery cannot be written.
    """
    folder = Path(name or "")
    if not name or not folder.is_dir() or (folder / galleries.META).exists() or (folder / galleries.READY).exists():
        return name
    if not holds_images(folder):
        return name
    folder = folder.resolve()
    out = folder.with_name(folder.name + ".gallery")
    print(f"{name} is a folder of pictures: describing them into {out} (next time only new ones).", file=sys.stderr)
    start = time.monotonic()
    place, source = checkpoint.choose_device(device), weights_folder(weights)
    describer = Describer(
        checkpoint.load_weights(source),
        place,
        precision=bulk_precision(place, runtime),
        runtime=runtimes.named(runtime, place),
    )
    try:
        with _progress() as progress:
            say = functools.partial(tqdm.write, file=sys.stderr)
            options = IndexOptions(folder.name, progress=progress, say=say)
            report = index_folder(folder, out, describer, checkpoint.fingerprint(source), options)
    except NotWritableError as error:
        raise NotWritableError(
            f"The pictures of {name!r} are described into {out}, which cannot be written. Describe them into another "
            f"folder with `python -m reid_demo index {name} --out GALLERY`, and name that: --gallery GALLERY."
        ) from error
    print(
        f"{report.total} pictures ({report.added} new, {report.duplicates} duplicates, {len(report.skipped)} skipped) "
        f"in {time.monotonic() - start:.0f} s.",
        file=sys.stderr,
    )
    for path, reason in report.skipped + report.unread:
        print(f"  skipped {path}: {reason}", file=sys.stderr)
    return str(out)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr; yield the function `(done, total)` that moves it."""
    with tqdm(unit="image", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
