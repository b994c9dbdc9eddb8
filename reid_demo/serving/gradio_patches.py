"""Pictures on their way to the browser."""

import os
import tempfile
from pathlib import Path

from gradio import processing_utils
from PIL import Image


def write_pictures_whole() -> None:
    """Let Gradio give a picture to the browser only when all of it is written, and write it once.

    Gradio names a picture after its content and writes it in place each time it is shown. Two visitors of one example,
    or one who comes back to it, then rewrite a file while a browser reads it: the browser gets half a picture, and a
    canvas that got half of its picture no longer answers.
    """
    processing_utils.save_pil_to_cache = save_whole


def save_whole(img: Image.Image, cache_dir: str, name: str = "image", format: str = "webp") -> str:
    """Write a picture under a name of its content in a folder, as Gradio's function of this signature does.

    Returns:
        The file's path. A file that is there is not written again, but made young, as it is deleted by its age.
    """
    data = processing_utils.encode_pil_to_bytes(img, format)
    folder = Path(cache_dir).resolve() / processing_utils.hash_bytes(data)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.{format}"
    try:
        os.utime(place)
        return str(place)
    except FileNotFoundError:
        pass
    handle, waiting = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(waiting, place)
    return str(place)
