"""Check the tree of a Hugging Face Space without a network, and upload it."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from reid_demo.errors import HubError
from reid_demo.model.hub import refusals
from reid_demo.search.store import META, PARTS

TORCH_VERSIONS = ("2.8.0", "2.9.0", "2.10.0", "2.11.0")  # what ZeroGPU offers
PYTHON_VERSIONS = ("3.10", "3.10.13", "3.12", "3.12.12")
HARDWARE = ("cpu-basic", "cpu-upgrade", "zero-a10g", "t4-small", "t4-medium", "l4x1", "a10g-small", "a10g-large")
NEEDED = ("title", "sdk", "sdk_version", "python_version", "app_file", "license", "suggested_hardware")
LARGE_BYTES = 10_000_000  # more goes through the large-file store, which `upload_folder` does by itself
MEMORY_GB = 16.0  # of the free Space
LIBRARIES_GB = 0.7  # Python, PyTorch, Gradio, FAISS, OpenCV and the page, without weights
WEIGHTS_TIMES = 8  # the half-precision file in memory: float32 as read, folded, as a graph and packed for the processor
IMAGE_BYTES = 1100  # of a gallery image beside its mapped descriptors: record, presence, lengths, products of 16 probes
LEFT_OUT = ("tests/", ".ci/", ".github/", "runs/")
FORBIDDEN = (
    (re.compile(r"\.(pt|pth|ckpt|pkl|pickle|joblib)$"), "a pickled file"),
    (re.compile(r"(^|/)(\.env|\.netrc|id_rsa|credentials.*|token)$"), "a file of secrets"),
    (re.compile(r"\.(tar|zip|tgz|7z|rar)(\.\w+)?$"), "an archive"),
    # Names as CUHK and Market-1501 give their pictures; synthetic people have numbers from 20001 on.
    (re.compile(r"(^|/)0*\d{1,4}_c\d+s\d+_\d+_\d+[^/]*\.jpe?g$"), "a picture named like one of a real person"),
)
TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")


def check(root: str | Path) -> dict:
    """Check a tree as the Hub and ZeroGPU would; nothing is sent.

    Args:
        root: the project's folder, holding README.md, requirements.txt and the app.

    Returns:
        `{"ok", "problems", "files", "bytes", "large_files", "memory_gb", "torch_versions"}`.
    """
    root = Path(root)
    problems: list[str] = []
    paths = _files(root)
    front = _front_matter(root, problems)
    requirements = _requirements(root, problems)
    _check_front(front, requirements, root, problems)
    torch_versions = [
        v for v in TORCH_VERSIONS if "torch" in requirements and Version(v) in requirements["torch"].specifier
    ]
    missing = sorted(set(TORCH_VERSIONS) - set(torch_versions), key=Version)
    if missing:
        problems.append(
            f"requirements.txt does not admit torch {', '.join(missing)}, which ZeroGPU may have. Widen it."
        )
    for path in paths:
        for pattern, what in FORBIDDEN:
            if pattern.search(path):
                problems.append(f"{path} is {what}. Take it out of the tree.")
        if (root / path).stat().st_size < LARGE_BYTES and TOKEN.search((root / path).read_bytes()):
            problems.append(f"{path} holds a Hub token. Take it out and revoke it.")
    sizes = {path: (root / path).stat().st_size for path in paths}
    memory = _memory_gb(root)
    if memory > MEMORY_GB:
        problems.append(
            f"It needs about {memory:.1f} GB of memory; the free Space has {MEMORY_GB:.0f}. Ship a smaller gallery."
        )
    return {
        "ok": not problems,
        "problems": problems,
        "files": len(paths),
        "bytes": sum(sizes.values()),
        "large_files": {path: size for path, size in sizes.items() if size > LARGE_BYTES},
        "memory_gb": round(memory, 2),
        "torch_versions": torch_versions,
    }


def push(root: str | Path, repo: str, *, public: bool = False) -> str:
    """Check a tree, upload it as a Gradio Space and return its address.

    Raises:
        HubError: the check found a problem, or the Hub refuses.
    """
    from huggingface_hub import HfApi

    root = Path(root)
    found = check(root)
    if not found["ok"]:
        raise HubError(f"The tree is not fit for a Space: {found['problems'][0]}")
    with tempfile.TemporaryDirectory() as temporary:
        for path in _files(root):
            target = Path(temporary, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, target)
        with refusals(repo):
            api = HfApi()
            api.create_repo(repo, repo_type="space", space_sdk="gradio", private=not public, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo, repo_type="space", folder_path=temporary, commit_message="Upload the demo"
            )
    return f"hf://spaces/{repo}@{done.oid}"


def _files(root: Path) -> list[str]:
    """Return what would be uploaded, relative to `root`: what git tracks, or every file that is not hidden."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=False)
        if listed.returncode:
            raise HubError(f"git cannot list the files of {root.name!r}. Run it inside the project's own checkout.")
        names = [name for name in listed.stdout.decode("utf-8").split("\0") if name and (root / name).is_file()]
    else:
        names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
        names = [name for name in names if not any(part.startswith(".") for part in Path(name).parts)]
        names = [name for name in names if "__pycache__" not in name]
    return sorted(name for name in names if not name.startswith(LEFT_OUT))


def _front_matter(root: Path, problems: list[str]) -> dict:
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        front = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        problems.append(f"The front matter of README.md is not YAML ({str(error).splitlines()[0]}).")
        return {}
    if not isinstance(front, dict):
        problems.append("README.md has no front matter. Begin it with a block between two lines of ---.")
        return {}
    return front


def _requirements(root: Path, problems: list[str]) -> dict[str, Requirement]:
    path = root / "requirements.txt"
    if not path.is_file():
        problems.append("There is no requirements.txt.")
        return {}
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {r.name.lower(): r for r in (Requirement(line) for line in lines if line and not line.startswith("-"))}


def _check_front(front: dict, requirements: dict[str, Requirement], root: Path, problems: list[str]) -> None:
    problems += [f"The front matter of README.md has no {key}." for key in NEEDED if key not in front]
    if not front:
        return
    if front.get("sdk") != "gradio":
        problems.append("The front matter must say `sdk: gradio`; ZeroGPU knows no other.")
    pin = (
        [s.version for s in requirements["gradio"].specifier if s.operator == "=="] if "gradio" in requirements else []
    )
    if pin != [str(front.get("sdk_version"))]:
        shown = pin[0] if pin else "no pinned version"
        problems.append(
            f"sdk_version is {front.get('sdk_version')}, requirements.txt has gradio {shown}. Make them equal."
        )
    if str(front.get("python_version")) not in PYTHON_VERSIONS:
        problems.append(f"python_version must be one of {', '.join(PYTHON_VERSIONS)}, in quotation marks.")
    if front.get("suggested_hardware") not in HARDWARE:
        problems.append(f"suggested_hardware must be one of {', '.join(HARDWARE)}.")
    if not (root / str(front.get("app_file"))).is_file():
        problems.append(f"app_file names {front.get('app_file')}, which is not there.")
    if len(str(front.get("short_description", ""))) > 60:
        problems.append("short_description is longer than 60 characters, which the Hub refuses.")


def _memory_gb(root: Path) -> float:
    """Estimate the resident memory of a page that has been searched, within a quarter: see `LIBRARIES_GB` and the rest.

    The stored descriptors are mapped, not read. After a search all of their pages are resident, though the system may
    take them back.
    """
    weights = max((path.stat().st_size for path in root.glob("weights/*/model.safetensors")), default=0)
    mapped = max((path.stat().st_size for path in root.glob(f"*/{PARTS}")), default=0)
    metas = (json.loads(path.read_text(encoding="utf-8")) for path in root.glob(f"*/{META}"))
    count = max((int(meta["count"]) for meta in metas), default=0)
    return LIBRARIES_GB + (WEIGHTS_TIMES * weights + mapped + IMAGE_BYTES * count) / 1e9
