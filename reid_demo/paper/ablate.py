"""Ablations under equal budgets: the paper's Table 4 (variants) and Table 5 (backbones), and rows of one's own.

Every run has the same recipe, data, steps and seeds; only the row's own options differ. Runs live in folders of their
own and are taken up where they stopped; a run and a measurement that exist are never made again.
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_demo import occlude
from reid_demo.config import BACKBONES, VARIANTS, TrainConfig, from_dict, read_train_config, to_dict, variant_name
from reid_demo.data.layouts import PROBES, load_benchmark
from reid_demo.errors import ConfigError
from reid_demo.measuring.evaluate import Plan, evaluate
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
from reid_demo.records import Occlusion, Scoring
from reid_demo.search.similarity import paper_scoring
from reid_demo.training.run import STATE_FILE, WEIGHTS_FOLDER, train

NUMBERS = {"rank1": "R-1", "rank3": "R-3", "rank5": "R-5", "rank10": "R-10", "mAP": "mAP", "mINP": "mINP"}
COLUMNS = {
    "variant": ("rank1", "rank5", "mAP", "mINP"),
    "backbone": ("rank1", "rank5", "rank10", "mAP", "mINP"),
    "recipe": ("rank1", "rank5", "mAP", "mINP"),
}
TITLES = {"variant": "Variation", "backbone": "Backbone", "recipe": "Recipe"}


@dataclass(frozen=True)
class Condition:
    """One way to measure a run: data set, probe set, what is hidden of every query, and the similarity."""

    dataset: str
    root: Path
    probes: str | None = None
    occlusion: Occlusion | None = None
    part_aware: bool = False  # else as the run's own model weights its parts

    @property
    def name(self) -> str:
        """Give its name in tables, unique among the conditions of one ablation."""
        hidden = f", {self.occlusion.kind} in {self.occlusion.fill}" if self.occlusion else ""
        scored = ", part-aware" if self.part_aware else ""
        return f"{self.dataset} {self.probes or PROBES.get(self.dataset, ('',))[0]}{hidden}{scored}"


@dataclass(frozen=True)
class Row:
    """One row of a table: `kind` is `variant` (Table 4), `backbone` (Table 5) or `recipe` (one's own)."""

    kind: str
    name: str
    config: TrainConfig
    num_roots: int | None = None  # how many of the roots it trains on, from the first; None: all

    def folder(self, seed: int) -> str:
        """Give the run's folder; a variant and a backbone of the same model share their runs."""
        if self.kind == "recipe":
            return f"{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}_seed{seed}"
        return f"{self.config.model.backbone}_{variant_name(self.config.model)}_seed{seed}"


def rows_of(config: TrainConfig, variants: Sequence[str], backbones: Sequence[str]) -> list[Row]:
    """Give the rows of both tables: every variant on the recipe's backbone, every backbone with the recipe's variant.

    Raises:
        ConfigError: an unknown variant or backbone, or one named twice.
    """
    for names, known in ((variants, tuple(VARIANTS)), (backbones, BACKBONES)):
        if wrong := [name for name in names if name not in known]:
            raise ConfigError(f"Unknown {wrong[0]!r}; choose of {', '.join(known)}.")
        if len(set(names)) < len(names):
            raise ConfigError(f"Name every row once, not {' '.join(names)}.")

    def changed(**fields: Any) -> TrainConfig:
        return from_dict(TrainConfig, {**to_dict(config), "model": {**to_dict(config.model), **fields}})

    table4 = [Row("variant", name, changed(**VARIANTS[name])) for name in variants]
    return table4 + [Row("backbone", name, changed(backbone=name)) for name in backbones]


def recipe_rows(path: Path, shared: Path | str | None = None, changes: Sequence[str] = ()) -> list[Row]:
    """Read rows of one's own: a JSON list of `{"name": ..., "set": [KEY=VALUE, ...], "roots": 1}`.

    Args:
        path: the list; `set` changes the shared recipe, `roots` says how many of the roots the row trains on (all).
        shared: recipe that all rows start from, as `read_train_config` takes it.
        changes: to that recipe, before the row's own.

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
        raise ConfigError(f"Two rows of {Path(path).name!r} have one name.")
    return rows


def ablate(
    config: TrainConfig,
    rows: Sequence[Row],
    *,
    dataset: str,
    roots: Sequence[Path],
    out: Path,
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    max_steps: int,
    init: Mapping[str, Path] | None = None,
    partial_init: bool = False,
    teacher: Path | None = None,
    device: str | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> dict:
    """Train and measure every row with every seed; write `ablation.json` and `ablation.md` after each run.

    Args:
        config: the recipe that all share.
        rows: as `rows_of` and `recipe_rows` give them.
        dataset: layout of the roots to train on.
        roots: folders to train on.
        out: gets a folder a run, and the tables.
        conditions: what to measure; one that is added later is measured without training again.
        seeds: one run of every row each.
        max_steps: optimiser steps of every run.
        init: backbone to the file of its ImageNet weights.
        partial_init: as `train`.
        teacher: as `train`; rows whose recipe distils nothing do without.
        device: as `train`.
        say: hears about progress.

    Returns:
        `dataset, max_steps, seeds, conditions, rows`; a row has `kind, name, runs` (seed to condition to record) and
        `mean` and `spread` (condition to fractions; the spread is the standard deviation, absent for one seed).

    Raises:
        ConfigError: nothing to compare, or `out` holds runs of another budget.
        DatasetError: a root is not as its layout says.
    """
    out, init = Path(out), dict(init or {})
    if not rows:
        raise ConfigError("Name at least one variant, backbone or recipe to compare.")
    if too_many := [row.name for row in rows if (row.num_roots or 0) > len(roots)]:
        raise ConfigError(f"The row {too_many[0]!r} trains on more roots than are given.")
    if not seeds or len(set(seeds)) < len(seeds) or max_steps < 1:
        raise ConfigError("An ablation needs different seeds and at least 1 step.")
    if wrong := [name for name in init if name not in BACKBONES]:
        raise ConfigError(f"Initial weights for the unknown backbone {wrong[0]!r}; choose of {', '.join(BACKBONES)}.")
    if not conditions or len({condition.name for condition in conditions}) < len(conditions):
        raise ConfigError("An ablation needs something to measure, and each only once.")
    for condition in conditions:  # all faults before the first hour of training
        if condition.occlusion is not None:
            occlude.check(condition.occlusion)
        load_benchmark(condition.dataset, condition.root, condition.probes)
    for row in rows:
        for seed in seeds:
            _check_budget(
                out / row.folder(seed), _budget(row, seed, dataset, max_steps, init.get(row.config.model.backbone))
            )
    for row in rows:
        for seed in seeds:
            say(f"{row.name}, seed {seed}")
            options = {"dataset": dataset, "max_steps": max_steps, "init": init.get(row.config.model.backbone)}
            options["partial_init"] = partial_init
            run_row(row, seed, out, roots=roots, conditions=conditions, teacher=teacher, device=device, **options)
            summary = summarise(rows, seeds, conditions, out)
            summary = {"dataset": dataset, "max_steps": max_steps, **summary}
            (out / "ablation.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            (out / "ablation.md").write_text(markdown(summary, config), encoding="utf-8")
    return summary


def run_row(
    row: Row,
    seed: int,
    out: Path,
    *,
    dataset: str,
    roots: Sequence[Path],
    conditions: Sequence[Condition],
    max_steps: int | None = None,
    init: Path | None = None,
    partial_init: bool = False,
    teacher: Path | None = None,
    device: str | None = None,
) -> dict[str, dict]:
    """Train and measure one row with one seed in `out / row.folder(seed)`; what is there already is not made again.

    Args:
        row: what to train.
        seed: replaces the recipe's.
        out: holds the run's folder.
        dataset: layout of the roots.
        roots: folders to train on; the row may take fewer.
        conditions: what to measure.
        max_steps: optimiser steps; default: the recipe's epochs.
        init: file of the backbone's ImageNet weights.
        partial_init: as `train`.
        teacher: as `train`; a row whose recipe distils nothing does without.
        device: as `train`.

    Returns:
        Condition name to the record of `evaluate`, for everything measured so far.

    Raises:
        ConfigError: the folder holds a run of another budget, or `torchrun` started this.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("Only the command train runs under torchrun; train there first, see docs/REPRODUCE.md.")
    folder, budget = out / row.folder(seed), _budget(row, seed, dataset, max_steps, init)
    _check_budget(folder, budget)
    if not (folder / "result.json").is_file():
        _write(folder / "budget.json", budget)
        distils = any((row.config.distill_direct, row.config.distill_similarity, row.config.distill_presence))
        result = train(
            dataclasses.replace(row.config, seed=seed),
            dataset=dataset,
            root=roots[: row.num_roots],
            out=folder,
            init=init,
            partial_init=partial_init,
            teacher=teacher if distils else None,
            resume=(folder / STATE_FILE).is_file(),
            max_steps=max_steps,
            device=device,
        )
        _write(folder / "result.json", {key: value for key, value in result.items() if key != "loaded"})
    _measure(folder, conditions, device)
    return _read(folder / "measures.json")


def summarise(rows: Sequence[Row], seeds: Sequence[int], conditions: Sequence[Condition], out: Path) -> dict:
    """Gather what is measured so far; arguments and result as `ablate`."""
    names = [condition.name for condition in conditions]
    table = []
    for row in rows:
        runs = {seed: _read(out / row.folder(seed) / "measures.json") for seed in seeds}
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
    """Give the tables in the paper's form, in percent: mean, and `±` the standard deviation over seeds.

    Args:
        summary: as `ablate` gives it.
        config: the recipe, for the words below the tables.
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
    pieces.append(
        f"Every run: {summary['max_steps']} steps of {batch} images of {summary['dataset']}, one recipe, "
        f"seeds {seeds}; percent, mean ± standard deviation over the seeds."
    )
    return "\n\n".join(pieces) + "\n"


def _cell(mean: Mapping | None, spread: Mapping | None, key: str) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean[key]:.1f}" + (f" ± {100 * spread[key]:.1f}" if spread else "")


def _budget(row: Row, seed: int, dataset: str, max_steps: int | None, init: Path | None) -> dict:
    recipe = to_dict(dataclasses.replace(row.config, seed=seed))
    start_name = Path(init).name if init else None
    budget = {"recipe": recipe, "dataset": dataset, "max_steps": max_steps, "init": start_name}
    if row.num_roots:
        budget["roots"] = row.num_roots
    return json.loads(json.dumps(budget))


def _check_budget(folder: Path, budget: dict) -> None:
    held = _read(folder / "budget.json")
    try:  # a run of an earlier release lacks options that are new
        same = not held or {**held, "recipe": to_dict(from_dict(TrainConfig, held["recipe"]))} == {
            **budget,
            "recipe": to_dict(from_dict(TrainConfig, budget["recipe"])),
        }
    except ConfigError:
        same = False
    if not same:
        raise ConfigError(f"The run {folder} was made under another recipe, data set or budget; use another --out.")


def _measure(folder: Path, conditions: Sequence[Condition], device: str | None) -> None:
    path = folder / "measures.json"
    measures = _read(path)
    missing = [condition for condition in conditions if condition.name not in measures]
    if not missing:
        return
    model = checkpoint.load_weights(folder / WEIGHTS_FOLDER)
    describer = Describer(model, checkpoint.choose_device(device))
    own, part_aware = paper_scoring(model.config), Scoring("part_aware")
    memory: dict = {}
    for condition in missing:
        scoring = part_aware if condition.part_aware else own
        plan = Plan(condition.dataset, condition.root, condition.probes, scoring, condition.occlusion)
        measures[condition.name] = evaluate(describer, plan, memory=memory)
        _write(path, measures)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
