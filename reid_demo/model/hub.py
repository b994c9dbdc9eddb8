"""Weights and galleries from and to the Hugging Face Hub. Local folders come first. Knows no model and no gallery.

`hf://owner/repo@revision/subfolder` is fetched by `huggingface_hub` into its cache: resumed where it broke off, used
from the cache where there is no network, and checked by hash every time. Galleries lie in dataset repositories, weights
in model repositories; `hf://models/...` and `hf://datasets/...` say otherwise.
"""

import errno
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from reid_demo.errors import HubError, ReidError

ADDRESS = re.compile(
    r"^hf://(?:(?P<type>models|datasets|spaces)/)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@\s/]+))?(?:/(?P<folder>[^@\s]+))?$"
)
REPO_TYPES = {"weights": "model", "gallery": "dataset"}
FETCHED = {  # which files of a repository are wanted; nothing that would have to be unpickled
    "weights": ("*.safetensors", "*.json", "*.md", "NOTICE"),
    "gallery": ("*.faiss", "*.npy", "*.jsonl", "*.jsonl.gz", "*.json", "*.md", "*.jpg", "*.jpeg", "*.png", "*.webp"),
}
NEEDED = {
    "weights": ("model.safetensors", "config.json", "MODEL_CARD.md"),
    "gallery": ("meta.json", "records.jsonl", "parts.npy", "presence.npy", "vectors.faiss"),
}
CARD = "README.md"
NO_ROOM = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Address:
    """Where something lies on the Hub."""

    repo: str  # owner/name
    type: str  # model, dataset or space
    revision: str | None = None  # branch, tag or commit; None: the main branch
    folder: str = ""  # inside the repository


def is_address(name: str | Path) -> bool:
    """Say whether a name is meant as a place on the Hub."""
    return str(name).startswith("hf:")


def parse(name: str, kind: str) -> Address:
    """Read `hf://[models|datasets/]owner/repo[@revision][/subfolder]`; `kind` is weights or gallery.

    Raises:
        HubError: not such an address.
    """
    found = ADDRESS.match(name)
    if not found or ".." in name:
        raise HubError(f"{name!r} is no place on the Hub; use hf://owner/repo@revision or hf://owner/repo/subfolder.")
    kind_of_repo = (found["type"] or "").removesuffix("s") or REPO_TYPES[kind]
    return Address(found["repo"], kind_of_repo, found["revision"], (found["folder"] or "").strip("/"))


def local_folder(name: str | Path, kind: str) -> Path:
    """Return the folder of weights or of a gallery: itself if it is local, else fetched from the Hub.

    Args:
        name: a folder, or an `hf://` address.
        kind: weights or gallery.

    Raises:
        HubError: no such place, no network and nothing cached, or a file whose content is not what the Hub says.
    """
    if not is_address(name):
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    place = parse(str(name), kind)
    inside = f"{place.folder}/" if place.folder else ""

    def fetch(**more) -> str:
        patterns = [inside + pattern for pattern in FETCHED[kind]]
        where = {"repo_type": place.type, "revision": place.revision}
        return snapshot_download(place.repo, allow_patterns=patterns, **where, **more)

    try:
        try:
            fetched = fetch()
        except (LocalEntryNotFoundError, HFValidationError):
            raise
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            if status < 500 and status not in (408, 429):
                raise HubError(
                    f"The Hub has no {name} for you (HTTP {status}). Check owner, name and revision; `hf auth login` "
                    "for private ones."
                ) from error
            fetched = fetch(local_files_only=True)
        except Exception as error:  # the network, in whatever library and way it fails: what is cached will do
            if getattr(error, "errno", None) in NO_ROOM:
                raise  # this machine's own disk
            fetched = fetch(local_files_only=True)
    except LocalEntryNotFoundError as error:
        raise HubError(
            f"{name} is not in the cache and the Hub cannot be reached. Try again with a network."
        ) from error
    except (HFValidationError, OSError) as error:
        raise HubError(f"{name} could not be fetched ({_said(error)}). Try again.") from error
    folder = Path(fetched) / place.folder
    if not folder.is_dir() or not any(folder.iterdir()):
        raise HubError(f"{name} holds no {kind}. Check the folder inside the repository.")
    verify(folder)
    return folder


def verify(folder: Path) -> int:
    """Compare every cached file with the hash that the Hub gave it; return the number checked.

    The cache names a file's content by that hash: SHA-256 for large files, git's blob hash for small ones. Where the
    cache holds plain files (Windows without links) there is nothing to compare with.

    Raises:
        HubError: a file differs; it is taken out of the cache, so that the next run fetches it anew.
    """
    checked = 0
    for path in sorted(folder.rglob("*")):
        content = path.resolve()
        if not path.is_file() or content.parent.name != "blobs":
            continue
        if len(content.name) == 64:
            digest = hashlib.sha256()
        elif len(content.name) == 40:
            digest = hashlib.sha1(f"blob {content.stat().st_size}\0".encode())
        else:
            continue
        with open(content, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != content.name:
            content.unlink()
            path.unlink()
            raise HubError(f"{path.name} in the cache is damaged and was removed. Run the command again to fetch it.")
        checked += 1
    return checked


def push(folder: str | Path, kind: str, repo: str, *, public: bool = False, message: str | None = None) -> str:
    """Upload weights or a gallery with its card in one commit; return its address, `hf://...@revision`.

    Args:
        folder: local.
        kind: weights or gallery.
        repo: owner/name; made if missing, private unless `public`.
        public: make a new repository public.
        message: of the commit.

    Raises:
        HubError: the folder is not complete, or the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = Path(folder)
    card = card_of(folder, kind)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_ours(path.relative_to(folder))]
    operations = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files]
    operations.append(CommitOperationAdd(CARD, card.encode("utf-8")))
    repo_type = REPO_TYPES[kind]
    with refusals(repo):
        api = HfApi()
        api.create_repo(repo, repo_type=repo_type, private=not public, exist_ok=True)
        done = api.create_commit(
            repo, operations, repo_type=repo_type, commit_message=message or f"Upload {kind} {folder.name}"
        )
    return f"hf://{repo}@{done.oid}"


class refusals:  # noqa: N801 - reads as a word of the `with` statement
    """Turn what the Hub or the network answers to an upload into a `HubError`."""

    def __init__(self, repo: str) -> None:
        """Name the repository for the message."""
        self.repo = repo

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind, error, trace) -> None:
        """Explain a refusal."""
        from huggingface_hub.errors import HfHubHTTPError

        if not isinstance(error, Exception) or isinstance(error, ReidError):
            return
        if isinstance(error, HfHubHTTPError):
            status = getattr(error.response, "status_code", 0)
            login = "Log in with `hf auth login`, with a token that may write there."
            mend = login if status in (401, 403, 404) else "Try again later."
            raise HubError(f"The Hub refused the upload to {self.repo!r} (HTTP {status}). {mend}") from error
        # The network fails in whatever library and way.
        raise HubError(f"The upload to {self.repo!r} failed ({_said(error)}). Try again.") from error


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _is_ours(path: Path) -> bool:
    """Say whether a file is uploaded: no hidden, unfinished or pickled ones, and not the card, which is made."""
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix not in (".tmp", ".pt", ".pth", ".pkl", ".bin") and path.as_posix() != CARD


def card_of(folder: Path, kind: str) -> str:
    """Return the card, Markdown with front matter: the folder's own words, or for a gallery what its `meta.json` says.

    Raises:
        HubError: the folder lacks a file that belongs to weights or a gallery.
    """
    missing = [name for name in NEEDED[kind] if not (folder / name).is_file()]
    if missing:
        what = "vectors kept by Milvus" if missing == ["vectors.faiss"] else f"no {missing[0]}"
        repair = (
            "Write one that says data, recipe, numbers and limits" if missing[0] == "MODEL_CARD.md" else "Rebuild it"
        )
        raise HubError(f"The {kind} folder {folder.name!r} has {what}. {repair} before you push.")
    if (folder / CARD).is_file():
        return (folder / CARD).read_text(encoding="utf-8")
    if kind == "weights":
        text = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        front = "library_name: reid_demo\npipeline_tag: image-feature-extraction\ntags:\n- person-re-identification"
        return text if text.startswith("---") else f"---\n{front}\n---\n\n{text}"
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return f"""---
tags:
- person-re-identification
- reid_demo-gallery
---

# {meta["name"]}

A gallery for `reid_demo`: {meta["count"]} images, {meta["pids"]} known people, described by the weights with the
fingerprint `{meta["fingerprint"]}` on {meta["created"]}. Other weights are refused; rebuild it for them with
`python -m reid_demo index IMAGES --out GALLERY`.

**A ranking is a list of candidates for a human to verify, never an identification.** Write here where the images come
from, under which terms, and that the people in them agreed.
"""
