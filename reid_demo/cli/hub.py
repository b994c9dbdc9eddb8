"""Upload to the Hub: `push`."""

import argparse
import json
from pathlib import Path

from reid_demo.cli import common


def add(commands) -> None:
    """Add the command to the parser."""
    text = "upload weights, a gallery or this Space to the Hugging Face Hub"
    sub = common.command(commands, "push", _push, text, uses=())
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", metavar="DIR", help="these weights: a folder, or the name of shipped ones")
    what.add_argument("--gallery", metavar="DIR", help="this gallery")
    what.add_argument("--space", metavar="OWNER/NAME", help="this checkout, as a Space")
    sub.add_argument("--to", metavar="OWNER/NAME", help="repository of the weights or the gallery")
    sub.add_argument("--public", action="store_true", help="make a new repository public; default: private")
    sub.add_argument("--dry-run", action="store_true", help="only check and print; uses no network")
    common.json_flag(sub)


def _push(options: argparse.Namespace) -> int:
    from reid_demo.errors import GalleryError
    from reid_demo.model import hub
    from reid_demo.search import bundled
    from reid_demo.search import gallery as galleries
    from reid_demo.search.bundled import PROJECT
    from reid_demo.search.journal import FOLDER as JOURNAL
    from reid_demo.serving import space

    if options.space and options.to:
        options.refuse("--space already names the repository; leave out --to")
    if not options.space and not options.to and not options.dry_run:
        options.refuse("name the repository with --to OWNER/NAME")
    folder = bundled.weights_folder(options.weights) if options.weights else options.gallery
    kind = "space" if options.space else "weights" if options.weights else "gallery"
    repo = options.space or options.to
    if kind == "space":
        told = space.check(PROJECT)
    else:
        if kind == "gallery":
            galleries.load(folder)  # it is whole, and a writer that was stopped while replacing files is finished
            if (Path(folder) / JOURNAL).is_dir():  # pictures that the gallery does not name may lie in its folder
                raise GalleryError(
                    f"A run of `index` into {Path(folder).name!r} has not ended. Run it again, then push."
                )
        told = {"ok": True, "card": hub.card_of(Path(folder), kind)}
    if not options.dry_run:
        if kind == "space":
            told["address"] = space.push(PROJECT, repo, public=options.public)
        else:
            told["address"] = hub.push(folder, kind, repo, public=options.public)
    if options.json:
        print(json.dumps(told, indent=2))
    elif options.dry_run:
        print(told.get("card") or "\n".join(f"{key:15} {value}" for key, value in told.items() if key != "problems"))
        for problem in told.get("problems", ()):
            print(f"problem: {problem}")
    else:
        print(f"pushed to {told['address']}")
    return 0 if told["ok"] else 1
