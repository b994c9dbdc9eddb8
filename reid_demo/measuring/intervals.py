"""Means and shares with 95 % intervals, and Markdown tables of them. Knows no network and no images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo.errors import ConfigError

ROUNDS = 2000  # resamples of a bootstrap


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format it for a cell of a table."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def percent(self) -> str:
        """The interval in percent, for shares."""
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


def bootstrap(values: Sequence[float] | np.ndarray, seed: int = 0) -> Interval:
    """Return the mean of `(n,)` values and its percentile bootstrap interval; the same seed gives the same interval.

    Values are resampled one by one, so average those that belong together (pictures of one person) before.

    Raises:
        ConfigError: there is no value.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ConfigError("No value to average: the sample is empty. Measure more pictures.")
    picks = np.random.default_rng(seed).integers(len(values), size=(ROUNDS, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), (2.5, 97.5))
    return Interval(*(round(float(v), 4) for v in (values.mean(), low, high)))


def wilson(hits: int, count: int) -> Interval:
    """Return the share `hits / count` and its Wilson score interval, which stays in 0..1 and is wide for few cases.

    Raises:
        ConfigError: `count` is 0.
    """
    if not count:
        raise ConfigError("No case to count: the sample is empty. Measure more pictures.")
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Interval(*(round(float(v), 4) for v in (share, max(0, middle - half), min(1, middle + half))))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows as a Markdown table; the first column is aligned left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def put(path: Path, name: str, text: str) -> None:
    """Replace the text of a document between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        ConfigError: the document cannot be read or has no such place.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    document = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ConfigError(
            f"{path.name} has no place for {name!r}; add the lines {begin} and {end}, or leave out --into."
        )
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
