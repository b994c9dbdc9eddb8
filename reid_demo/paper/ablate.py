"""Run ablations under equal budgets: the paper's Table 4 (variants) and Table 5 (backbones), and custom rows.

All runs share recipe, data, steps and seeds; only the row's own options differ. Every run has its own folder and
resumes where it stopped. Finished runs and measurements are not repeated.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reid_demo import occlude
from reid_demo.config import BACKBONES, VARIANTS, TrainConfig, from_dict, read_train_config, to_dict, variant_name
from reid_demo.data.files import write_whole
from reid_demo.data.layouts import PROBES, load_benchmark, load_train
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.measuring.evaluate import Plan, evaluate
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
from reid_demo.records import Occlusion, Scoring
from reid_demo.search import bundled
from reid_demo.search.similarity import paper_scoring
from reid_demo.training.run import WEIGHTS_FOLDER, Limits, Sources, check, train
from reid_demo.training.state import STATE_FILE, Start

NUMBERS = {"rank1": "R-1", "rank3": "R-3", "rank5": "R-5", "rank10": "R-10", "mAP": "mAP", "mINP": "mINP"}
COLUMNS = {
    "variant": ("rank1", "rank5", "mAP", "mINP"),
    "backbone": ("rank1", "rank5", "rank10", "mAP", "mINP"),
    "recipe": ("rank1", "rank5", "mAP", "mINP"),
}
BUDGET_FILE, RESULT_FILE, MEASURES_FILE = "budget.json", "result.json", "measures.json"
TITLES = {"variant": "Variation", "backbone": "Backbone", "recipe": "Recipe"}


@dataclass(frozen=True)
class Condition:
    """One way to measure a run: dataset, probe set, occlusion of the queries, and similarity."""

    dataset: str
    root: Path
    probes: str | None = None
    occlusion: Occlusion | None = None
    part_aware: bool = False  # False: the paper's scoring of the run's model

    @property
    def name(self) -> str:
        """Name in tables; unique within an ablation."""
        hidden = ""
        if self.occlusion is not None:
            covers = self.occlusion.kind in occlude.NAMED
            words = f"{self.occlusion.kind} in {self.occlusion.fill}" if covers else occlude.words(self.occlusion)
            hidden = f", {words}"
        scored = ", part-aware" if self.part_aware else ""
        return f"{self.dataset} {self.probes or PROBES.get(self.dataset, ('',))[0]}{hidden}{scored}"


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    kind: str  # "variant" (Table 4), "backbone" (Table 5) or "recipe" (custom)
    name: str
    config: TrainConfig
    num_roots: int | None = None  # train on the first so many roots; None: all

    def folder(self, seed: int) -> str:
        """Return the name of the run's folder; a variant row and a backbone row of the same model share it."""
        if self.kind == "recipe":
            return f"{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}_seed{seed}"
        return f"{self.config.model.backbone}_{variant_name(self.config.model)}_seed{seed}"


def rows_of(config: TrainConfig, variants: Sequence[str], backbones: Sequence[str]) -> list[Row]:
    """Return the rows of both tables: every variant on the recipe's backbone, every backbone with the recipe's variant.

    Raises:
        ConfigError: an unknown variant or backbone, or one named twice.
    """
    for names, known in ((variants, tuple(VARIANTS)), (backbones, BACKBONES)):
        if wrong := [name for name in names if name not in known]:
            raise ConfigError(f"Unknown {wrong[0]!r}; choose from {', '.join(known)}.")
        if len(set(names)) < len(names):
            raise ConfigError(f"Name every row once, not {' '.join(names)}.")

    def changed(**fields: Any) -> TrainConfig:
        return from_dict(TrainConfig, {**to_dict(config), "model": {**to_dict(config.model), **fields}})

    table4 = [Row("variant", name, changed(**VARIANTS[name])) for name in variants]
    return table4 + [Row("backbone", name, changed(backbone=name)) for name in backbones]


def recipe_rows(path: Path, shared: Path | str | None = None, changes: Sequence[str] = ()) -> list[Row]:
    """Read custom rows: a JSON list of `{"name": ..., "set": [KEY=VALUE, ...], "roots": 1}`.

    Args:
        path: the list. `set` changes the shared recipe; `roots` is how many of the roots the row trains on, default
            all.
        shared: the file of the shared recipe, as for `read_train_config`.
        changes: to the shared recipe, applied before the row's own.

    Raises:
        ConfigError: unreadable, an unknown key or option, or two rows that would share a folder.
    """
    try:
        listed = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The rows {Path(path).name!r} cannot be read: {error}") from error
    rows = []
    for entry in listed if isinstance(listed, list) else [None]:
        known = (
            isinstance(entry, dict) and set(entry) <= {"name", "set", "roots"} and isinstance(entry.get("name"), str)
        )
        own, roots = (entry.get("set", []), entry.get("roots")) if known else (None, None)
        if not isinstance(own, list) or not (roots is None or (isinstance(roots, int) and roots > 0)):
            raise ConfigError(f'A row is {{"name": "text", "set": ["KEY=VALUE"], "roots": 1}}, not {entry!r}.')
        rows.append(Row("recipe", entry["name"], read_train_config(shared, None, [*changes, *own]), roots))
    if len({row.folder(0) for row in rows}) < len(rows):
        raise ConfigError(
            f"Two rows of {Path(path).name!r} share a folder: their names need Latin letters or digits that differ."
        )
    return rows


@dataclass(frozen=True)
class Trial:
    """What all runs of a comparison share: data, length, initial weights and measurements."""

    dataset: str  # layout of the roots to train on
    roots: Sequence[Path]  # a row can use only the first few
    conditions: Sequence[Condition]  # adding one later measures finished runs without training again
    max_steps: int | None = None  # optimiser steps of every run; None: the recipe's epochs
    init: Mapping[str, Path] = field(default_factory=dict)  # file of ImageNet weights by backbone
    partial_init: bool = False  # as for `train`
    teacher: Path | None = None  # as for `train`; used only by rows whose recipe distils
    device: str | None = None  # as for `train`

    def init_of(self, row: Row) -> Path | None:
        """Return the initial weights of a row's backbone; `None` for random ones."""
        return self.init.get(row.config.model.backbone)

    def sources_of(self, row: Row) -> Sources:
        """Return what a row is trained from; cut-outs are those that ship."""
        teacher = self.teacher if row.config.taught else None
        occluders = bundled.DEFAULT_GALLERY / bundled.OCCLUDERS if row.config.pasted else None
        return Sources(self.dataset, self.roots_of(row), teacher, occluders)

    def roots_of(self, row: Row) -> list[Path]:
        """Return the roots that a row trains on."""
        return list(self.roots[: row.num_roots])


def ablate(
    config: TrainConfig,
    rows: Sequence[Row],
    trial: Trial,
    out: Path,
    seeds: Sequence[int],
    say: Callable[[str], None] = lambda words: None,
) -> dict:
    """Train and measure every row with every seed; write `ablation.json` and `ablation.md` after each run.

    Args:
        config: the recipe that all runs share.
        rows: from `rows_of` and `recipe_rows`.
        trial: what all runs share; needs `max_steps`.
        out: receives one folder per run, and the tables.
        seeds: every row is trained once with each.
        say: called with lines of progress.

    Returns:
        `dataset, max_steps, seeds, conditions, rows`. A row has `kind`, `name`, `runs` (records by seed and condition),
        `mean` and `spread` (fractions by condition; the spread is the standard deviation, absent for one seed).

    Raises:
        ConfigError: nothing to compare, or `out` holds runs of another budget or measurements on other data.
        DatasetError: a root does not follow its layout.
        TrainingError: a row's recipe cannot be trained.
    """
    out = Path(out)
    _check_trial(rows, trial, seeds)
    for row in rows:  # report every fault before hours of training
        check(row.config, trial.sources_of(row), Limits(max_steps=trial.max_steps))
        for seed in seeds:
            check_run(row, seed, out, trial)
    for row in rows:
        for seed in seeds:
            say(f"{row.name}, seed {seed}")
            run_row(row, seed, out, trial)
            summary = summarise(rows, seeds, trial.conditions, out)
            summary = {"dataset": trial.dataset, "max_steps": trial.max_steps, **summary}
            (out / "ablation.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            (out / "ablation.md").write_text(markdown(summary, config), encoding="utf-8")
    return summary


def _check_trial(rows: Sequence[Row], trial: Trial, seeds: Sequence[int]) -> None:
    if not rows:
        raise ConfigError("Name at least one variant, backbone or recipe to compare.")
    if too_many := [row.name for row in rows if (row.num_roots or 0) > len(trial.roots)]:
        raise ConfigError(f"The row {too_many[0]!r} needs more roots than were named.")
    if not seeds or len(set(seeds)) < len(seeds) or (trial.max_steps or 0) < 1:
        raise ConfigError("An ablation needs different seeds and at least 1 step.")
    if wrong := [name for name in trial.init if name not in BACKBONES]:
        raise ConfigError(f"Initial weights for the unknown backbone {wrong[0]!r}; choose from {', '.join(BACKBONES)}.")
    if idle := sorted(set(trial.init) - {row.config.model.backbone for row in rows}):
        raise ConfigError(f"No row has the backbone {idle[0]!r} that --init names weights for.")
    names = [condition.name for condition in trial.conditions]
    if not names:
        raise ConfigError("Name at least one thing to measure.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"Two things to measure are both called {twice[0]!r}; measure one of them in another --out.")
    for condition in trial.conditions:
        if condition.occlusion is not None:
            occlude.check(condition.occlusion)
        load_benchmark(condition.dataset, condition.root, condition.probes)


def check_run(row: Row, seed: int, out: Path, trial: Trial) -> None:
    """Check that a run's folder, if it exists, matches the budget and the data to measure on.

    Raises:
        ConfigError: it was trained under another budget or measured on other data; the message names both.
    """
    folder = out / row.folder(seed)
    _check_budget(folder, _budget(row, seed, trial))
    measures = _read(folder / MEASURES_FILE)
    for condition in trial.conditions:
        held = measures.get(condition.name, {}).get("data")
        wanted = measured_data(condition)
        if held is not None and held["files"] != wanted["files"]:
            raise ConfigError(
                f"{condition.name!r} of the run {folder} was measured on {held['root']}, not on {wanted['root']}, "
                "which has other images; use another --out."
            )


def run_row(row: Row, seed: int, out: Path, trial: Trial) -> dict[str, dict]:
    """Train and measure one row with one seed in `out / row.folder(seed)`; skip what is done.

    Args:
        row: what to train.
        seed: replaces the recipe's.
        out: holds the run's folder.
        trial: what all runs share.

    Returns:
        The records of `evaluate` by condition name, for everything measured so far.

    Raises:
        ConfigError: the folder holds a run of another budget, or `torchrun` started this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("Only `train` runs under torchrun; train there first, see docs/REPRODUCE.md.")
    check_run(row, seed, out, trial)
    folder = out / row.folder(seed)
    if not (folder / RESULT_FILE).is_file():
        _write(folder / BUDGET_FILE, _budget(row, seed, trial))
        result = train(
            dataclasses.replace(row.config, seed=seed),
            trial.sources_of(row),
            folder,
            start=Start(trial.init_of(row), trial.partial_init, resume=(folder / STATE_FILE).is_file()),
            limits=Limits(max_steps=trial.max_steps),
            device=trial.device,
        )
        _write(folder / RESULT_FILE, {key: value for key, value in result.items() if key != "loaded"})
    _measure(folder, trial.conditions, trial.device)
    return _read(folder / MEASURES_FILE)


def summarise(rows: Sequence[Row], seeds: Sequence[int], conditions: Sequence[Condition], out: Path) -> dict:
    """Return the measurements made so far; arguments and result as for `ablate`."""
    names = [condition.name for condition in conditions]
    table = []
    for row in rows:
        runs = {seed: _read(out / row.folder(seed) / MEASURES_FILE) for seed in seeds}
        runs = {seed: {n: found[n] for n in names} for seed, found in runs.items() if set(names) <= set(found)}
        mean: dict[str, dict[str, float]] = {}
        spread: dict[str, dict[str, float]] = {}
        for name in names if runs else ():
            values = {key: np.array([run[name][key] for run in runs.values()]) for key in NUMBERS}
            mean[name] = {key: round(float(v.mean()), 4) for key, v in values.items()}
            if len(runs) > 1:
                spread[name] = {key: round(float(v.std(ddof=1)), 4) for key, v in values.items()}
        table.append({"kind": row.kind, "name": row.name, "runs": runs, "mean": mean, "spread": spread})
    return {"seeds": list(seeds), "conditions": names, "rows": table}


def markdown(summary: dict, config: TrainConfig) -> str:
    """Return Markdown tables in the paper's form, in percent: mean `±` standard deviation over seeds.

    Args:
        summary: from `ablate`.
        config: the recipe, described below the tables.
    """
    pieces = []
    for kind, columns in COLUMNS.items():
        rows = [row for row in summary["rows"] if row["kind"] == kind]
        if not rows:
            continue
        for name in summary["conditions"]:
            head = [TITLES[kind], *(NUMBERS[key] for key in columns)]
            lines = [f"**{name}**", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
            for row in rows:
                cells = [_cell(row["mean"].get(name), row["spread"].get(name), key) for key in columns]
                lines.append(f"| {' | '.join([row['name'], *cells])} |")
            pieces.append("\n".join(lines))
    batch = config.ids_per_batch * config.imgs_per_id * config.accumulate
    seeds = ", ".join(map(str, summary["seeds"]))
    custom = any(row["kind"] == "recipe" for row in summary["rows"])
    recipe = "if a row does not say otherwise" if custom else "one recipe"
    pieces.append(
        f"Every run: {summary['max_steps']} steps of {batch} images of {summary['dataset']}, {recipe}, "
        f"seeds {seeds}; percent, mean ± standard deviation over the seeds."
    )
    return "\n\n".join(pieces) + "\n"


def _cell(mean: Mapping | None, spread: Mapping | None, key: str) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean[key]:.1f}" + (f" ± {100 * spread[key]:.1f}" if spread else "")


def measured_data(condition: Condition) -> dict:
    """Return `root` and `files`, a digest of names and sizes, of the images that a condition is measured on."""
    split = load_benchmark(condition.dataset, condition.root, condition.probes)
    return _data_key(condition.root, [record.path for record in (*split.queries, *split.gallery)])


def _trained_data(dataset: str, root: Path) -> dict:
    return _data_key(root, [record.path for record in load_train(dataset, root)])


def _data_key(root: Path, paths: Sequence[str]) -> dict:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path} {(Path(root) / path).stat().st_size}\n".encode())
    return {"root": str(Path(root).resolve()), "files": digest.hexdigest()[:16]}


def _init_key(init: Path) -> dict:
    """Return the `name` and `sha256` of initial weights or a teacher: a file, a weights folder or a run."""
    init = Path(init)
    held = next((file for name in (STATE_FILE, checkpoint.MODEL_FILE) if (file := init / name).is_file()), init)
    content = hashlib.sha256()
    try:
        for file in (held, held.with_suffix(".bin")) if held.suffix == ".xml" else (held,):
            content.update(file.read_bytes())
    except OSError as error:
        raise WeightsError(f"{error.filename or init} cannot be read: {error.strerror or error}.") from error
    return {"name": init.name, "sha256": content.hexdigest()}


def _budget(row: Row, seed: int, trial: Trial) -> dict:
    init = trial.init_of(row)
    budget = {
        "recipe": to_dict(dataclasses.replace(row.config, seed=seed)),
        "dataset": trial.dataset,
        "max_steps": trial.max_steps,
        "init": _init_key(init) if init else None,
        "data": [_trained_data(trial.dataset, root) for root in trial.roots_of(row)],
        "teacher": _init_key(trial.teacher) if row.config.taught and trial.teacher else None,
    }
    if row.num_roots:
        budget["roots"] = row.num_roots
    return json.loads(json.dumps(budget))


def _check_budget(folder: Path, budget: dict) -> None:
    held = _read(folder / BUDGET_FILE)
    if not held or not any((folder / name).is_file() for name in (RESULT_FILE, STATE_FILE)):
        return  # nothing was trained yet, perhaps because the recipe was refused: the run starts over
    _check_data(folder, held.get("data"), budget["data"])
    _check_init(folder, held["init"], budget["init"])
    if held.get("teacher", budget["teacher"]) != budget["teacher"]:  # earlier releases did not record it
        raise ConfigError(f"The run {folder} was made with another teacher; use another --out.")
    free = ("data", "init", "recipe", "teacher")  # compared separately: recipes of earlier releases lack newer options
    try:
        same = from_dict(TrainConfig, held["recipe"]) == from_dict(TrainConfig, budget["recipe"])
    except ConfigError:
        same = False
    if not same or _without(held, free) != _without(budget, free):
        raise ConfigError(f"The run {folder} was made with another recipe, data set or budget; use another --out.")


def _without(budget: dict, keys: Sequence[str]) -> dict:
    return {key: value for key, value in budget.items() if key not in keys}


def _check_data(folder: Path, held: list[dict] | None, wanted: list[dict]) -> None:
    """Raise `ConfigError` for other training images; runs of earlier releases recorded none and pass."""
    if held is None or [data["files"] for data in held] == [data["files"] for data in wanted]:
        return
    before, now = (", ".join(data["root"] for data in each) for each in (held, wanted))
    raise ConfigError(
        f"The run {folder} was trained on {before}, not on {now}, which has other images (another "
        "recipe, data set or budget); use another --out."
    )


def _check_init(folder: Path, held: dict | str | None, wanted: dict | None) -> None:
    """Raise `ConfigError` for other initial weights; earlier releases recorded only their name."""
    if isinstance(held, str):
        same = wanted is not None and held == wanted["name"]
        held = {"name": held, "sha256": "unknown"}
    else:
        same = (held and held["sha256"]) == (wanted and wanted["sha256"])
    if same:
        return
    before, now = (
        f"{each['name']} (sha256 {each['sha256'][:12]})" if each else "random weights" for each in (held, wanted)
    )
    raise ConfigError(
        f"The run {folder} started from {before}, not from {now} (another recipe, data set or budget); "
        "use another --out."
    )


def _measure(folder: Path, conditions: Sequence[Condition], device: str | None) -> None:
    """Measure missing conditions, and repeat those of earlier releases, which did not record their data."""
    path = folder / MEASURES_FILE
    measures = _read(path)
    missing = [condition for condition in conditions if "data" not in measures.get(condition.name, {})]
    if not missing:
        return
    model = checkpoint.load_weights(folder / WEIGHTS_FOLDER)
    describer = Describer(model, checkpoint.choose_device(device))
    own, part_aware = paper_scoring(model.config), Scoring("part_aware")
    memory: dict = {}
    for condition in missing:
        scoring = part_aware if condition.part_aware else own
        plan = Plan(condition.dataset, condition.root, condition.probes, scoring, condition.occlusion)
        record = evaluate(describer, plan, memory=memory)
        measures[condition.name] = {**record, "data": measured_data(condition)}
        _write(path, measures)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Use another --out, or delete it.") from error


def _write(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(values, indent=1) + "\n")
