"""The paper's own rows of Tables 1 to 5: what each trains, where it is measured, and what the paper reports.

A row is measured on data sets of two kinds. Sec. 4.2 trains with random cropping for occluded and partial targets
alone, so a row that has both kinds trains twice. Rows that need the same training share it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_demo.config import TrainConfig, read_train_config
from reid_demo.data.layouts import load_benchmark, load_train
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.model import checkpoint
from reid_demo.model.backbones import build_backbone, load_backbone_weights
from reid_demo.paper.ablate import NUMBERS, Condition, Row, run_row
from reid_demo.training.run import WEIGHTS_FOLDER

TRAINED_ON = "market1501"
RECIPES = {"holistic": (), "occluded": ("random_crop=0.5",)}  # changes to the default recipe, by kind of target


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper that is its own method."""

    table: int
    name: str  # for the command line: a variant, a backbone, or `ours`
    variant: str
    backbone: str
    reported: Mapping[str, Mapping[str, float]]  # data set to number (as `NUMBERS`) to percent

    def runs(self, changes: Sequence[str] = ()) -> dict[str, tuple[TrainConfig, list[str]]]:
        """Give what must be trained: name of the recipe to the recipe itself and the data sets measured with it.

        Args:
            changes: `KEY=VALUE` pairs, as `read_train_config` takes them, after the row's own.
        """
        found: dict[str, tuple[TrainConfig, list[str]]] = {}
        for dataset in self.reported:
            name = "holistic" if dataset == TRAINED_ON else "occluded"
            own = (f"model.backbone={self.backbone}", *RECIPES[name], *changes)
            found.setdefault(name, (read_train_config(None, self.variant, own), []))[1].append(dataset)
        return found


def _table4(variant: str, market: Sequence[float], occluded: Sequence[float], partial: Sequence[float]) -> PaperRow:
    columns = {"market1501": market, "occluded_reid": occluded, "partial_reid": partial}
    numbers = ("rank1", "rank5", "mAP", "mINP")
    reported = {dataset: dict(zip(numbers, values, strict=True)) for dataset, values in columns.items()}
    return PaperRow(4, variant, variant, "resnet50", reported)


def _table5(backbone: str, *values: float) -> PaperRow:
    reported = dict(zip(("rank1", "rank5", "rank10", "mAP", "mINP"), values, strict=True))
    return PaperRow(5, backbone, "G+D+W", backbone, {"market1501": reported})


ROWS = (
    PaperRow(1, "ours", "G+D", "resnet50", {"market1501": {"rank1": 94.9, "mAP": 86.3}}),
    PaperRow(2, "ours", "G+D", "resnet50", {"occluded_reid": {"rank1": 71.3, "mAP": 67.4}}),
    PaperRow(
        3,
        "ours",
        "G+D",
        "resnet50",
        {"partial_reid": {"rank1": 81.3, "rank3": 89.0}, "partial_ilids": {"rank1": 65.6, "rank3": 74.8}},
    ),
    _table4("G", (93.4, 97.9, 82.9, 53.6), (59.5, 75.4, 52.8, 38.0), (79.0, 90.3, 72.4, 58.8)),
    _table4("G+P", (92.3, 97.5, 79.6, 43.4), (69.9, 84.6, 63.5, 49.4), (47.3, 68.7, 44.9, 32.9)),
    _table4("G+T", (94.0, 98.1, 87.0, 62.2), (70.2, 83.8, 66.0, 53.6), (78.0, 89.7, 72.3, 59.3)),
    _table4("G+D", (95.0, 98.2, 86.3, 60.7), (71.3, 86.4, 67.4, 55.1), (81.3, 91.7, 76.2, 64.2)),
    _table4("G+D+W", (94.7, 98.3, 85.8, 59.4), (71.9, 85.7, 66.3, 53.1), (81.0, 90.7, 76.0, 63.5)),
    _table5("resnet50", 94.7, 98.3, 98.9, 85.8, 59.4),
    _table5("resnet50_ibn", 94.8, 98.2, 99.0, 87.1, 63.1),
    _table5("osnet", 94.4, 98.3, 98.2, 86.7, 62.3),
    _table5("resnet18", 93.1, 97.9, 98.9, 81.7, 50.2),
)


def find_row(table: int, name: str | None = None) -> PaperRow:
    """Give a row of the paper; a table with one own row needs no name.

    Raises:
        ConfigError: there is no such row; the message lists the table's.
    """
    rows = [row for row in ROWS if row.table == table]
    found = [row for row in rows if name in (None, row.name)]
    if len(found) != 1:
        names = ", ".join(row.name for row in rows)
        raise ConfigError(f"Table {table} has the rows {names}; name one with --row." if rows else f"No table {table}.")
    return found[0]


def reproduce(
    row: PaperRow,
    *,
    data: Path,
    out: Path,
    init: Path,
    changes: Sequence[str] = (),
    seed: int = 0,
    max_steps: int | None = None,
    device: str | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> dict:
    """Train what a row of the paper needs and measure it. What was trained or measured before is not done again.

    Args:
        row: of `ROWS`.
        data: holds one folder a data set, named as `evaluate` names it: `market1501`, `occluded_reid`, ...
        out: gets the runs, `RECIPE/BACKBONE_VARIANT_seedN`; a run that was stopped goes on.
        init: the backbone's ImageNet weights; all of them must be there.
        changes: `KEY=VALUE` pairs that change the recipe; the record names them.
        seed: of the runs.
        max_steps: optimiser steps, for a rehearsal; default: the paper's 180 epochs.
        device: as `train`.
        say: hears about progress.

    Returns:
        `table, row, variant, backbone, seed, changes, max_steps, results`; a result is `evaluate`'s record with
        `reported` (the paper's numbers as fractions), `weights` (folder) and `fingerprint`.

    Raises:
        ConfigError: a wrong change, or `out` holds a run of another recipe.
        WeightsError: the ImageNet weights are not those of the backbone, or not complete.
        DatasetError: a data set is missing or not as its layout says; all are looked at before training starts.
    """
    data, out, runs = Path(data), Path(out), row.runs(changes)
    load_train(TRAINED_ON, data / TRAINED_ON)
    for dataset in row.reported:
        load_benchmark(dataset, data / dataset)
    for config, _ in runs.values():
        missing = load_backbone_weights(build_backbone(config.model), init, partial=True)["missing"]
        if missing:  # `train` would accept it
            raise WeightsError(
                f"{Path(init).name!r} lacks {len(missing)} tensors of {config.model.backbone} (first: {missing[0]}); "
                "a row of the paper starts from complete ImageNet weights."
            )
    results = []
    for recipe, (config, datasets) in runs.items():
        kind = Row("variant", row.variant, config)
        folder = out / recipe / kind.folder(seed)
        say(f"Table {row.table}, {row.name}: {folder}")
        conditions = [Condition(dataset, data / dataset) for dataset in datasets]
        measures = run_row(
            kind,
            seed,
            out / recipe,
            dataset=TRAINED_ON,
            roots=[data / TRAINED_ON],
            conditions=conditions,
            max_steps=max_steps,
            init=init,
            device=device,
        )
        weights = folder / WEIGHTS_FOLDER
        for condition in conditions:
            reported = {number: round(value / 100, 4) for number, value in row.reported[condition.dataset].items()}
            place = {"weights": str(weights), "fingerprint": checkpoint.fingerprint(weights)}
            results.append({**measures[condition.name], "reported": reported, **place})
    return {
        "table": row.table,
        "row": row.name,
        "variant": row.variant,
        "backbone": row.backbone,
        "seed": seed,
        "changes": list(changes),
        "max_steps": max_steps,
        "results": results,
    }


def markdown(record: dict) -> str:
    """Give what `reproduce` found beside what the paper reports, in percent."""
    lines = [f"**Table {record['table']}, {record['row']}**, seed {record['seed']}", ""]
    for result in record["results"]:
        numbers = result["reported"]
        lines += [
            f"| {result['dataset']} | {' | '.join(NUMBERS[number] for number in numbers)} |",
            "| --- |" + " ---: |" * len(numbers),
            f"| paper | {' | '.join(f'{100 * value:.1f}' for value in numbers.values())} |",
            f"| here | {' | '.join(f'{100 * result[number]:.1f}' for number in numbers)} |",
            "",
        ]
    if record["changes"] or record["max_steps"]:
        steps = [f"{record['max_steps']} steps"] if record["max_steps"] else []
        lines += [f"Changes to the paper's recipe: {', '.join([*record['changes'], *steps])}.", ""]
    return "\n".join(lines)
