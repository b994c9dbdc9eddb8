"""Who the people of a data set or gallery are: one JSON line a person in `people.jsonl.gz`.

It lies beside the ground truth. That says what each image shows; this says what is the same in all images of a person.
Knows no mesh and no renderer, so a gallery can be read without what rendering needs.
"""

import gzip
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from reid_demo.data.ground_truth import FAULTS, write_truth
from reid_demo.errors import SyntheticError

PEOPLE = "people.jsonl.gz"


def write_people(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of `looks.row_of`, in their order; the same rows give the same bytes."""
    write_truth(path, (json.dumps(row, separators=(",", ":")) for row in rows))


def read_people(path: Path) -> dict[int, dict[str, Any]]:
    """Read a file of people as pid to row.

    Raises:
        SyntheticError: the file is missing or damaged.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return {int(row["pid"]): row for row in rows}
    except FileNotFoundError as error:
        raise SyntheticError(f"There is no {path.name!r}; make the data set again with `synthesize`.") from error
    except FAULTS as error:
        raise SyntheticError(f"The people in {path.name!r} are damaged; make the data set again.") from error


def copy_people(source: Path, target: Path, pids: Collection[int]) -> int:
    """Copy the rows of some pids, in the order of pids, to another file; return how many there are."""
    known = read_people(source)
    rows = [known[pid] for pid in sorted(set(pids) & set(known))]
    write_people(target, rows)
    return len(rows)
