"""One row of a speed table, how it is timed, and what machine it was measured on."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

ROUNDS = 5  # turns of what is measured and of its reference
SETTLE_S = 0.1  # after which the other's threads have ceased to look for more work


@dataclass(frozen=True)
class Timing:
    """Seconds that an action took: median, fastest and slowest."""

    median_s: float
    low_s: float
    high_s: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        """Summarise what was measured."""
        return cls(float(np.median(seconds)), min(seconds), max(seconds))


@dataclass(frozen=True)
class Row:
    """One line of a table. `reference` and `ratio` are None where there is nothing to compare with."""

    what: str
    unit: str
    value: float
    low: float  # of all repeats, in the unit of the value
    high: float
    reference: float | None
    ratio: float | None  # how many times better the value is than the reference
    precision: str  # of the value; the reference is float32 unless it says so
    threads: int
    processor: str

    def as_dict(self) -> dict:
        """Return plain values, fit to print."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def side_by_side(
    ours: Callable[[], object], plain: Callable[[], object], repeats: int = ROUNDS, *, warm: bool = True
) -> tuple[Timing, Timing]:
    """Time two actions in turn, a few runs of each at a time, so that other load on the machine slows both alike.

    Args:
        ours: what is measured.
        plain: its reference.
        repeats: least number of timed runs of each, in `ROUNDS` rounds.
        warm: whether the first run of each turn does not count: it finds the other's data in the caches.
    """
    rounds = min(ROUNDS, repeats)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for action, seconds in zip((ours, plain), taken, strict=True):
            time.sleep(SETTLE_S)
            if warm:
                action()
            for _ in range(-(-repeats // rounds)):
                start = time.perf_counter()
                action()
                seconds.append(time.perf_counter() - start)
    return Timing.of(taken[0]), Timing.of(taken[1])


def in_ms(what: str, ours: Timing, plain: Timing, precision: str = "float32") -> Row:
    """Return a row in milliseconds."""
    low, high = ours.low_s * 1e3, ours.high_s * 1e3
    ratio = plain.median_s / ours.median_s
    return of(what, "ms", (ours.median_s * 1e3, low, high), plain.median_s * 1e3, precision, ratio)


def per_second(what: str, count: int, ours: Timing, plain: Timing, precision: str = "float32") -> Row:
    """Return a row in things per second; an action does `count` of them."""
    values = count / ours.median_s, count / ours.high_s, count / ours.low_s
    return of(what, "1/s", values, count / plain.median_s, precision, plain.median_s / ours.median_s)


def of(
    what: str,
    unit: str,
    values: float | tuple[float, float, float],
    reference: float | None = None,
    precision: str = "float32",
    ratio: float | None = None,
) -> Row:
    """Return a row of one value, or of a median with the lowest and the highest."""
    value, low, high = values if isinstance(values, tuple) else (values, values, values)
    return Row(what, unit, value, low, high, reference, ratio, precision, torch.get_num_threads(), processor())


def table(rows: list[Row]) -> str:
    """Return rows as plain text; what all rows share stands above them."""
    first = rows[0]
    lines = [f"{first.processor}, {first.threads} threads"]
    lines.append(f"{'what':62} {'value':>10}     {'lowest to highest':>21} {'reference':>10} {'ratio':>6}  precision")
    for row in rows:
        spread = f"{row.low:.2f} to {row.high:.2f}"
        reference = "-" if row.reference is None else f"{row.reference:.2f}"
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"{row.what:62} {row.value:>10.2f} {row.unit:<3} {spread:>21} {reference:>10} {ratio:>6}  {row.precision}"
        )
    return "\n".join(lines)


def markdown(rows: list[Row]) -> str:
    """Return rows as a table for a document; what all rows share stands above it."""
    first = rows[0]
    lines = [f"{first.processor}, {first.threads} threads:", ""]
    lines += ["| what | measured | lowest to highest | reference | ratio | precision |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | --- |"]
    for row in rows:
        measured, spread = f"{_short(row.value)} {row.unit}".strip(), f"{_short(row.low)} to {_short(row.high)}"
        cells = row.what, measured, spread, _short(row.reference), _short(row.ratio), row.precision
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(value: float | None) -> str:
    """Return a number with three digits or, from 100 on, without decimals."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def processor() -> str:
    """Return the name of the processor, and of the GPU where there is one."""
    name = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        models = [line.partition(":")[2].strip() for line in listing.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else name


def machine() -> dict:
    """Return what machine this is, as a bug report needs it."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
