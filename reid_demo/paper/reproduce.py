"""Reproduce the rows for the paper's own method in Tables 1 to 5: training, measurement, and the paper's numbers.

Targets are of two kinds: Sec. 4.2 trains with random cropping only for occluded and partial ones. So a row measured on
both kinds trains twice. Rows that need the same training share it.
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
    """One row of the paper's tables that reports its own method."""

    table: int
    name: str  # on the command line: a variant, a backbone, or `ours`
    variant: str
    backbone: str
    reported: Mapping[str, Mapping[str, float]]  # by data set and key of `NUMBERS`, in percent

    def runs(self, changes: Sequence[str] = ()) -> dict[str, tuple[TrainConfig, list[str]]]:
        """Return the trainings that the row needs: by recipe name, the recipe and the data sets to measure it on.

        Args:
            changes: `KEY=VALUE` pairs for `read_train_config`, applied after the row's own.
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
    """Return a row of the paper; `name` is optional for a table with a single row.

    Raises:
        ConfigError: no such row; the message lists the table's rows.
    """
    rows = [row for row in ROWS if row.table == table]
    found = [row for row in rows if name in (None, row.name)]
    if len(found) != 1:
        names = ", ".join(row.name for row in rows)
        raise ConfigError(f"Table {table} has the rows {names}; name one with --row." if rows else f"No table {table}.")
    return found[0]


@dataclass(frozen=True)
class Attempt:
    """Where and how to reproduce a row."""

    data: Path  # holds one folder per data set, named as in `evaluate`: `market1501`, `occluded_reid`, ...
    out: Path  # receives the runs, `RECIPE/BACKBONE_VARIANT_seedN`; a stopped run resumes
    init: Path  # the backbone's ImageNet weights; must hold all its tensors
    changes: Sequence[str] = ()  # `KEY=VALUE` changes to the recipe; listed in the record
    seed: int = 0  # of the runs
    max_steps: int | None = None  # optimiser steps, for a rehearsal; None: the paper's 180 epochs
    device: str | None = None  # as for `train`

    def trial(self, datasets: Sequence[str], backbone: str) -> Trial:
        """Return the trial for the run that is measured on these data sets."""
        return Trial(
            TRAINED_ON,
            [self.data / TRAINED_ON],
            [Condition(dataset, self.data / dataset) for dataset in datasets],
            max_steps=self.max_steps,
            init={backbone: self.init},
            device=self.device,
        )


def reproduce(row: PaperRow, attempt: Attempt, say: Callable[[str], None] = lambda words: None) -> dict:
    """Train and measure a row of the paper; skip what earlier calls have trained or measured.

    Args:
        row: one of `ROWS`.
        attempt: data, weights and changes.
        say: called with lines of progress.

    Returns:
        `table, row, variant, backbone, seed, changes, max_steps, missing, results`. Variant and backbone are those
        trained, after `changes`; `missing` lists the row's data sets that are not in `attempt.data`. A result is a
        record of `evaluate` with `reported` (the paper's numbers as fractions), `weights` (folder) and `fingerprint`.

    Raises:
        ConfigError: a wrong change, or `out` holds a run with another recipe, other data or other initial weights.
        WeightsError: the ImageNet weights belong to another backbone or are incomplete.
        DatasetError: the training set or all of the row's data sets are missing, or one does not follow its layout.
            Everything is checked before training starts.
    """
    load_train(TRAINED_ON, attempt.data / TRAINED_ON)
    present = [dataset for dataset in row.reported if (attempt.data / dataset).is_dir()]
    for dataset in present or row.reported:  # if none is there, the error names the first
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
    """Raise `WeightsError` for ImageNet weights that lack a tensor, which `train` would accept."""
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
    """Return a Markdown table of a record of `reproduce` next to the paper's numbers, in percent."""
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
