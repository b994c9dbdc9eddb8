"""The paper's own rows of Tables 1 to 5: what each trains, where it is measured, and what the paper reports.

A row is measured on data sets of two kinds. Sec. 4.2 trains with random cropping for occluded and partial targets
alone, so a row that has both kinds trains twice. Rows that need the same training share it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_demo.config import TrainConfig, read_train_config, variant_name
from reid_demo.data.layouts import load_benchmark, load_train
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.model import checkpoint
from reid_demo.model.backbones import build_backbone, load_backbone_weights
from reid_demo.model.checkpoint import WEIGHTS_FOLDER
from reid_demo.paper.ablate import NUMBERS, Condition, Row, Trial, check_run, run_row

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
        """Return what must be trained: name of the recipe to the recipe itself and the data sets measured with it.

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
    """Return a row of the paper; a table with one row of its own needs no name.

    Raises:
        ConfigError: there is no such row; the message lists the table's.
    """
    rows = [row for row in ROWS if row.table == table]
    found = [row for row in rows if name in (None, row.name)]
    if len(found) != 1:
        names = ", ".join(row.name for row in rows)
        raise ConfigError(f"Table {table} has the rows {names}; name one with --row." if rows else f"No table {table}.")
    return found[0]


@dataclass(frozen=True)
class Attempt:
    """Where and how a row is reproduced."""

    data: Path  # holds one folder a data set, named as `evaluate` names it: `market1501`, `occluded_reid`, ...
    out: Path  # gets the runs, `RECIPE/BACKBONE_VARIANT_seedN`; a run that was stopped goes on
    init: Path  # the backbone's ImageNet weights; all tensors must be there
    changes: Sequence[str] = ()  # `KEY=VALUE` pairs that change the recipe; the record names them
    seed: int = 0  # of the runs
    max_steps: int | None = None  # optimiser steps, for a rehearsal; None: the paper's 180 epochs
    device: str | None = None  # as `train`

    def trial(self, datasets: Sequence[str], backbone: str) -> Trial:
        """Return what the run that is measured on these data sets shares with the others."""
        return Trial(
            TRAINED_ON,
            [self.data / TRAINED_ON],
            [Condition(dataset, self.data / dataset) for dataset in datasets],
            max_steps=self.max_steps,
            init={backbone: self.init},
            device=self.device,
        )


def reproduce(row: PaperRow, attempt: Attempt, say: Callable[[str], None] = lambda words: None) -> dict:
    """Train what a row of the paper needs and measure it. What was trained or measured before is not done again.

    Args:
        row: of `ROWS`.
        attempt: data, weights and changes.
        say: hears about progress.

    Returns:
        `table, row, variant, backbone, seed, changes, max_steps, missing, results`. Variant and backbone are those that
        were trained, `changes` applied; `missing` lists data sets of the row that `data` lacks. A result is
        `evaluate`'s record with `reported` (the paper's numbers as fractions), `weights` (folder) and `fingerprint`.

    Raises:
        ConfigError: a wrong change, or `out` holds a run of another recipe or of other data or initial weights.
        WeightsError: the ImageNet weights are not those of the backbone, or not complete.
        DatasetError: the training set or all of the row's data sets are missing, or one is not as its layout says;
            all are looked at before training starts.
    """
    load_train(TRAINED_ON, attempt.data / TRAINED_ON)
    present = [dataset for dataset in row.reported if (attempt.data / dataset).is_dir()]
    for dataset in present or row.reported:  # with none there, the first names itself
        load_benchmark(dataset, attempt.data / dataset)
    missing = [dataset for dataset in row.reported if dataset not in present]
    runs = []
    for recipe, (config, datasets) in row.runs(attempt.changes).items():
        if kept := [dataset for dataset in datasets if dataset in present]:
            trial = attempt.trial(kept, config.model.backbone)
            runs.append((attempt.out / recipe, Row("variant", row.variant, config), trial))
    for out, trained, trial in runs:
        _check_init(attempt.init, trained)
        check_run(trained, attempt.seed, out, trial)
    for dataset in missing:
        say(f"{attempt.data / dataset} is missing: its column stays empty. Add it and run the same command again.")
    results = []
    for out, trained, trial in runs:
        say(f"Table {row.table}, {row.name}: {out / trained.folder(attempt.seed)}")
        results += _results(row, run_row(trained, attempt.seed, out, trial), out / trained.folder(attempt.seed), trial)
    model = runs[0][1].config.model
    return {
        "table": row.table,
        "row": row.name,
        "variant": variant_name(model),
        "backbone": model.backbone,
        "seed": attempt.seed,
        "changes": list(attempt.changes),
        "max_steps": attempt.max_steps,
        "missing": missing,
        "results": results,
    }


def _check_init(init: Path, trained: Row) -> None:
    """Refuse ImageNet weights that lack a tensor, which `train` would accept."""
    model = trained.config.model
    if missing := load_backbone_weights(build_backbone(model), init, partial=True)["missing"]:
        raise WeightsError(
            f"{Path(init).name!r} lacks {len(missing)} tensors of {model.backbone} (first: {missing[0]}); "
            "a row of the paper starts from complete ImageNet weights."
        )


def _results(row: PaperRow, measures: Mapping[str, dict], folder: Path, trial: Trial) -> list[dict]:
    weights = folder / WEIGHTS_FOLDER
    place = {"weights": str(weights), "fingerprint": checkpoint.fingerprint(weights)}
    found = []
    for condition in trial.conditions:
        reported = {number: round(value / 100, 4) for number, value in row.reported[condition.dataset].items()}
        found.append({**measures[condition.name], "reported": reported, **place})
    return found


def markdown(record: dict) -> str:
    """Return what `reproduce` found beside what the paper reports, in percent."""
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
    if record["missing"]:
        lines += [f"Not measured, because their folders are missing: {', '.join(record['missing'])}.", ""]
    if record["changes"] or record["max_steps"]:
        steps = [f"{record['max_steps']} steps"] if record["max_steps"] else []
        lines += [f"Changes to the paper's recipe: {', '.join([*record['changes'], *steps])}.", ""]
    return "\n".join(lines)
