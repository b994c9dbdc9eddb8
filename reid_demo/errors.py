"""Errors a person can act on: each message says what was wrong and what to do."""


class ReidError(Exception):
    """Base of all errors that this package raises on purpose; the message is fit to show to a user."""


class ImageError(ReidError):
    """An image that cannot be read or is out of bounds."""


class ConfigError(ReidError):
    """An option or a combination of options that does not exist."""


class ShapeError(ReidError):
    """An array or tensor of an unexpected shape or type."""


class WeightsError(ReidError):
    """A weights folder that is missing, damaged or of another configuration."""


class GalleryError(ReidError):
    """A gallery that is missing, damaged or made by other weights."""


class NotWritableError(GalleryError):
    """A folder in which no gallery can be written."""


class NoImagesError(GalleryError):
    """A folder of which no image could be taken into a gallery."""


class HubError(ReidError):
    """Something that cannot be fetched from the Hub or put there."""


class DatasetError(ReidError):
    """A data set whose folders or files are not as its layout says."""


class OcclusionError(ReidError):
    """An occlusion or crop that makes no sense on its image."""


class CaseError(ReidError):
    """A case file that is no such file, or that was made by other weights or another gallery."""


class TrainingError(ReidError):
    """Training that cannot start or go on."""


class SyntheticError(ReidError):
    """The renderer or its assets are missing or unusable."""
