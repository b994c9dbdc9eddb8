"""Errors a person can act on: each message says what was wrong and what to do."""

import io
import sys

LONGEST = 2000  # characters of a message; what a stranger sent is not repeated at length


class ReidError(Exception):
    """Base of all errors that this package raises on purpose; the message can be shown to a user."""

    def __str__(self) -> str:
        """Return the message, cut short where it repeats something endless."""
        words = super().__str__()
        return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


class ImageError(ReidError):
    """An image that cannot be read or is outside the limits."""


class ConfigError(ReidError):
    """An unknown option, a wrong value, or options that conflict."""


class ShapeError(ReidError):
    """An array or tensor of an unexpected shape or type."""


class WeightsError(ReidError):
    """A weights folder that is missing, damaged or made for another configuration."""


class GalleryError(ReidError):
    """A gallery that is missing, damaged or made by other weights."""


class NotWritableError(GalleryError):
    """A folder in which no gallery can be written."""


class NoImagesError(GalleryError):
    """A folder without a single image that can go into a gallery."""


class HubError(ReidError):
    """A download from the Hub or an upload to it that failed."""


class DatasetError(ReidError):
    """A data set whose folders or files do not follow its layout."""


class OcclusionError(ReidError):
    """An occlusion or crop that is invalid, or impossible on its image."""


class CaseError(ReidError):
    """A file that is not a case file, or one made with other weights or another gallery."""


class TrainingError(ReidError):
    """Training that cannot start or continue."""


class SyntheticError(ReidError):
    """A renderer or assets that are missing or unusable."""


def escape_what_a_console_lacks() -> None:
    """Make standard output and error print escapes for characters outside their encoding, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def shown(value: object) -> str:
    """Return a value as an error may show it: short, whatever it is."""
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in a list in a list
        return "that"
    return words if len(words) <= 60 else f"{words[:40]}..."
