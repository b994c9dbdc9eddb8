"""Average trained weights, of one run or several, with the untouched network they started from.

Fine-tuning gains what it was trained for and loses some of what the network knew of other pictures; a mean of both
weights often keeps most of each. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (WiSE-FT). Not in
the paper. Runs that start alike and learn a little differently gain from a mean of their own as well: Wortsman et al.,
"Model soups", ICML 2022.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reid_demo.config import ModelConfig
from reid_demo.errors import WeightsError
from reid_demo.model.checkpoint import MODEL_FILE, save_weights
from reid_demo.model.dpti import DPTI, build_model
from reid_demo.model.start import start_from_ir, without_parts
from reid_demo.training.run import RECIPE_FILE
from reid_demo.training.state import load_trained

AVERAGED = ("backbone.", "global_pooling.")  # what `start_from_ir` reads from a network


@dataclass(frozen=True)
class Averaged:
    """Weights that `average` wrote."""

    fingerprint: str
    tensors: int  # averaged; all others are the trained weights'


def average(
    trained: Path | Sequence[Path], untouched: Path, share: float, out: Path, emphasis: float = 1.0
) -> Averaged:
    """Write the weights `(1 - share) untouched + share trained`.

    Only the backbone and the global pooling are averaged, in float32: the untouched network has no other layers. All
    else, such as encoders and part templates, is the trained weights'. Shares of 0 and 1 copy tensors of a single run
    bit for bit.

    Args:
        trained: weights folder, or a run's folder with its checkpoint, which holds full precision. Of several, the mean
            counts, and all that is not averaged is the first one's.
        untouched: a folder of the same kinds, with or without parts, or a network in OpenVINO's format (`.xml`).
        share: of the trained weights, 0 to 1.
        out: gets `model.safetensors` and `config.json`, and the trained weights' `recipe.json` if there is one. Made
            if missing; untouched after an error.
        emphasis: multiplies the global descriptor, above 0. Lengths are weights in both similarities, so 2 lets it
            count twice as much beside the parts.

    Raises:
        WeightsError: the two are different models, cannot be read, the share is out of range, or `out` holds weights.
        TrainingError: a run's checkpoint cannot be read.
    """
    if not 0 <= share <= 1:
        raise WeightsError(f"The share of the trained weights must be between 0 and 1, not {share:g}.")
    if (out / MODEL_FILE).exists():
        raise WeightsError(f"The folder {out} already holds weights. Delete it or name another --out.")
    first, *others = [trained] if isinstance(trained, Path) else trained
    model = load_trained(first)
    base = _load_untouched(untouched, model.config)
    _check_same(first, model.config, untouched, base.config)
    before, after = base.state_dict(), model.state_dict()
    names = [name for name in after if name.startswith(AVERAGED) and after[name].is_floating_point()]
    for number, other in enumerate(others, 2):
        more = load_trained(other)
        _check_same(first, model.config, other, more.config)
        state = more.state_dict()
        after |= {name: after[name] + (state[name] - after[name]) / number for name in names}
    model.load_state_dict(after | {name: _mean(before[name], after[name], share) for name in names})
    if emphasis != 1:
        _emphasise(model, emphasis)
    fingerprint = save_weights(model, out)
    if (first / RECIPE_FILE).is_file():
        shutil.copyfile(first / RECIPE_FILE, out / RECIPE_FILE)
    return Averaged(fingerprint, len(names))


def _check_same(one: Path, config: ModelConfig, other: Path, its: ModelConfig) -> None:
    """Refuse another backbone or another global descriptor; the parts play no role in an average."""
    if without_parts(config) != without_parts(its):
        raise WeightsError(
            f"{one.name!r} and {other.name!r} are different models. "
            "Name the weights or the network that this training started from."
        )


def _load_untouched(path: Path, config: ModelConfig) -> DPTI:
    if path.suffix != ".xml":
        return load_trained(path)
    model = build_model(config)
    start_from_ir(model, path)
    return model


def _emphasise(model: DPTI, emphasis: float) -> None:
    if not emphasis > 0:
        raise WeightsError(f"The emphasis of the global descriptor must be above 0, not {emphasis:g}.")
    if model.config.global_pooling != "weighted":
        raise WeightsError("Only a global descriptor of global_pooling 'weighted' can be emphasised.")
    with torch.no_grad():
        for tensor in (model.global_pooling.linear.weight, model.global_pooling.linear.bias):
            tensor *= emphasis


def _mean(before: Tensor, after: Tensor, share: float) -> Tensor:
    if share in (0, 1):  # not by arithmetic, which would make +0 of -0
        return after if share else before
    return (1 - share) * before + share * after
