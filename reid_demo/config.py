"""Model and training options as frozen dataclasses, and the paper's ablation table (Table 4) as `VARIANTS`."""

import dataclasses
import json
import math
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from reid_demo.errors import ConfigError

IMAGE_HEIGHT = 256  # model px, Sec. 4.2
IMAGE_WIDTH = 128  # model px
PIXEL_MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB in 0..1
PIXEL_STD = (0.229, 0.224, 0.225)
MEAN_GREY = (124, 116, 104)  # PIXEL_MEAN as RGB bytes; the default fill of an occlusion

BACKBONES = ("resnet18", "resnet50", "resnet50_ibn", "osnet", "osnet_x0_25", "osnet_lct")

# Table 4: the source of the cross-attention's part queries, and whether parts are weighted
VARIANTS: dict[str, dict[str, Any]] = {
    "G": {"templates": "none", "adaptive_weighting": False},
    "G+P": {"templates": "grid", "adaptive_weighting": False},
    "G+T": {"templates": "static", "adaptive_weighting": False},
    "G+D": {"templates": "dynamic", "adaptive_weighting": False},
    "G+D+W": {"templates": "dynamic", "adaptive_weighting": True},
}
TEMPLATES = ("none", "grid", "static", "dynamic")
POOLINGS = ("mean", "weighted")


@dataclass(frozen=True)
class ModelConfig:
    """The network. The paper's equations leave fields marked 'not in the paper' open; each comment says why."""

    backbone: str = "resnet50"  # Sec. 4.2
    mid_stage: int = 3  # l of Sec. 3.3
    templates: str = "dynamic"  # one of TEMPLATES
    adaptive_weighting: bool = False  # Sec. 3.5; needs dynamic templates
    num_parts: int = 8  # N
    dim: int = 256  # d
    num_heads: int = 8
    ffn_dropout: float = 0.1
    attention_dropout: float = 0.2
    ffn_dim: int = 1024  # not in the paper: 4 d, the usual transformer width
    # not in the paper: batch norm after the 1x1 reductions removes the mean that all positions share. Without it the
    # parts start identical (mean squared cosine 1.00, with it 0.76), where the diversity loss has no gradient
    reduction_norm: bool = True
    # not in the paper: batch norm over the templates before Eq. 7 removes what all templates of all images share.
    # Without it W_q sees little else, and the eight attention maps are nearly the same (measured overlap 0.97)
    template_norm: bool = False
    layer_norm: bool = False  # not in the paper: off because Eq. 4 has none
    position_encoding: bool = False  # not in the paper: off because Eq. 1 has none
    output_projection: bool = False  # not in the paper: Eq. 3 sums values directly, so heads are only concatenated
    # The global descriptor: "mean" averages the final encoder's tokens, as in the paper. "weighted", not in the paper,
    # bypasses the encoder: one weight per channel and position of the final map, then a linear layer; it fixes the
    # input size. It lets a backbone with such a head of its own keep its published vectors
    global_pooling: str = "mean"
    one_view: bool = False  # not in the paper: `index` describes a picture only as it is, not in four views
    bn_neck: bool = True  # not in the paper: batch norm before the identity classifier steadies training (BoT)

    def __post_init__(self) -> None:
        """Refuse unknown or conflicting options."""
        if self.backbone not in BACKBONES:
            raise ConfigError(f"Unknown backbone {self.backbone!r}; choose one of {', '.join(BACKBONES)}.")
        if self.templates not in TEMPLATES:
            raise ConfigError(f"Unknown templates {self.templates!r}; choose one of {', '.join(TEMPLATES)}.")
        if self.global_pooling not in POOLINGS:
            raise ConfigError(f"Unknown pooling {self.global_pooling!r}; choose one of {', '.join(POOLINGS)}.")
        if self.mid_stage not in (1, 2, 3):
            raise ConfigError(f"mid_stage must be 1, 2 or 3, not {self.mid_stage}.")
        if self.adaptive_weighting and self.templates != "dynamic":
            raise ConfigError("Adaptive weighting (W) needs dynamic templates (D): use the variant 'G+D+W'.")
        for name in ("dim", "num_heads", "ffn_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("ffn_dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}.")
        if self.dim % self.num_heads:
            raise ConfigError(f"dim {self.dim} must be a multiple of num_heads {self.num_heads}.")
        if self.num_parts < 1 or (self.templates == "grid" and self.num_parts != 8):
            raise ConfigError("num_parts must be at least 1, and 8 for grid templates (4 rows by 2 columns).")

    @property
    def parts(self) -> int:
        """Number of part descriptors; 0 for the variant G."""
        return 0 if self.templates == "none" else self.num_parts

    @property
    def descriptor_dim(self) -> int:
        """Length of the concatenated descriptor, (N+1) d."""
        return (self.parts + 1) * self.dim


@dataclass(frozen=True)
class LossConfig:
    """The loss weights of Eq. 9. The paper states no values: all defaults are 'not in the paper'."""

    identity: float = 1.0  # alpha
    triplet: float = 1.0  # beta
    diversity: float = 1.0  # gamma
    margin: float = 0.3  # Euclidean, on the concatenated descriptor
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of Sec. 4.2; fields marked 'not in the paper' are ours."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    height: int = IMAGE_HEIGHT
    width: int = IMAGE_WIDTH
    epochs: int = 180
    # not in the paper: length of an epoch. "images": enough batches to hold as many images as the training set has;
    # "groups": as many batches as the sampler fills with unseen images
    epoch: str = "images"
    optimizer: str = "adam"  # "adamw" is ours
    learning_rate: float = 3.5e-4
    new_layers_learning_rate: float | None = None  # not in the paper; None: the same rate everywhere
    warmup_start: float = 3.5e-5
    warmup_epochs: float = 10
    decay_epochs: tuple[float, ...] = (40, 90, 150)
    decay_factor: float = 0.1
    schedule: str = "step"  # "cosine" is ours
    weight_decay: float = 5e-4  # not in the paper
    ids_per_batch: int = 16  # not in the paper
    imgs_per_id: int = 4  # not in the paper
    accumulate: int = 1  # not in the paper
    flip: float = 0.5
    pad: int = 10  # model px, followed by a random crop back to size
    random_erasing: float = 0.5  # probability
    erasing_area: tuple[float, ...] = (0.02, 0.33)  # not in the paper: smallest and largest fraction of the image
    erasing_aspect: float = 0.3  # not in the paper: lowest height / width in pixels; the highest is its inverse
    erasing_fill: str = "mean_grey"  # not in the paper; one of `occlude.FILLS`
    augmix: bool = True
    augmix_chance: float = 0.5  # not in the paper
    augmix_width: int = 3  # not in the paper: chains of operations to mix
    augmix_depth: int = 1  # not in the paper: operations per chain; 0 draws 1 to 3
    augmix_severity: float = 1.0  # not in the paper: 0.1 to 10
    augmix_concentration: float = 0.1  # not in the paper: of the Dirichlet and Beta weights; low values pick one chain
    random_crop: float = 0.0  # probability of a random crop; 0.5 for occluded and partial targets
    # not in the paper: probability of a cut of any kind and scale, enlarged to full size. Training with occlusions
    # but no cuts costs five points of R-1 on cut photographs
    cut: float = 0.0
    grey: float = 0.0  # not in the paper: probability of a grey or infrared-like image
    occlusion: float = 0.0  # not in the paper: probability of an occlusion from `occlude`
    pasted: float = 0.0  # not in the paper: fraction of these occlusions that are cut-out people and objects
    recolour: float = 0.0  # not in the paper: probability of another camera's gain and gamma
    degrade: float = 0.0  # not in the paper: probability of another camera's resolution, noise and compression
    hide_part: float = 0.0  # not in the paper: probability that one body part is hidden, in its own shape
    frozen_backbone: bool = False  # not in the paper: train only the layers on top of the backbone
    # not in the paper: loss weight of how far each part has moved from where the initial weights have it on the same
    # picture. What the parts know about people then stays while presence and attention learn. All but the templates and
    # the attention to them is frozen, batch-norm statistics too, and nothing is dropped; needs frozen_backbone
    hold_parts: float = 0.0
    # not in the paper: number of batches whose maps are kept on disk; each later batch repeats one of them, several
    # times as fast. 0 draws every picture anew; needs frozen_backbone
    cached_batches: int = 0
    frozen_stages: int = 0  # not in the paper: 1 freezes the stem, 2 the first stage too, and so on
    small_fraction: float = 0.0  # not in the paper: first fraction of training, run at the small size
    small_height: int = 128  # model px
    small_width: int = 64  # model px
    attention_overlap: float = 0.0  # not in the paper: loss weight of the overlap between the parts' attention maps
    # not in the paper; both need rendered images, whose body parts are known. Loss weight of the distance between
    # part p's attention maps and the place of body part p
    body_attention: float = 0.0
    body_presence: float = 0.0  # the same for presence and the visible fraction of each body part
    # The distill_* fields, not in the paper, are weights of losses against a teacher's vectors.
    # 1 - cosine of the global descriptor, for one that starts as the teacher's vector
    distill_global: float = 0.0
    # 1 - cosine of each part after its own linear layer, weighted by presence: a visible part alone must identify
    distill_parts: float = 0.0
    distill_direct: float = 0.0  # 1 - cosine of a linear head
    distill_global_similarity: float = 0.0  # difference of the batch's similarity matrices, by the global descriptor
    distill_similarity: float = 0.0  # the same by the whole descriptor
    # the same under the two scorings that use presence; nothing else trains presence if the descriptor is unweighted
    distill_presence: float = 0.0
    # not in the paper: fraction of the person's mean vector mixed into each image's teacher target. The teacher's
    # vector also encodes camera and obstacles; averaging over a person's images reduces that
    toward_person: float = 0.0
    # not in the paper: the teacher is a network that sees each picture as augmented, but before it is cut, made grey or
    # hidden. False: vectors of the unchanged pictures, cached once
    live_teacher: bool = False
    # not in the paper: share of a batch that is blended with another picture of it, for the live teacher as well
    # (mixup, as Beyer et al., 2022, match functions): an endless supply of pictures to agree on
    blend: float = 0.0
    # not in the paper: share of the parts' gradient that reaches the backbone. At 0 the parts learn to read a backbone
    # that the global descriptor alone teaches; needs weighted pooling
    parts_gradient: float = 1.0
    clip_norm: float = 0.0  # not in the paper: largest gradient norm; 0 does not clip
    precision: str = "float32"  # or "bfloat16"
    num_workers: int = 0
    seed: int = 0

    @property
    def taught(self) -> bool:
        """Whether any loss needs a teacher's vectors."""
        terms = ("direct", "global", "global_similarity", "parts", "similarity", "presence")
        return any(getattr(self, f"distill_{term}") for term in terms)


def variant(name: str, **changes: Any) -> ModelConfig:
    """Return the model configuration of a row of Table 4, with the given fields changed.

    Raises:
        ConfigError: unknown row or field, or fields that conflict.
    """
    if name not in VARIANTS:
        raise ConfigError(f"Unknown variant {name!r}; choose one of {', '.join(VARIANTS)}.")
    return from_dict(ModelConfig, {**VARIANTS[name], **changes})


def variant_name(config: ModelConfig) -> str:
    """Return the Table 4 name of a model configuration."""
    return next(
        name
        for name, fields in VARIANTS.items()
        if fields["templates"] == config.templates and fields["adaptive_weighting"] == config.adaptive_weighting
    )


def from_dict(cls: type, values: dict[str, Any]):
    """Build a configuration from JSON values; refuse unknown keys and wrong types.

    An integer is accepted as a float and a list as a tuple; nothing else is converted.

    Raises:
        ConfigError: the message names the option and what it must be.
    """
    known = get_type_hints(cls)
    for key in values:
        if key not in known:
            raise ConfigError(f"Unknown option {key!r} for {cls.__name__}; known: {', '.join(known)}.")
    return cls(**{key: _typed(f"{cls.__name__}.{key}", known[key], value) for key, value in values.items()})


def _typed(name: str, wanted: Any, value: Any) -> Any:
    """Return `value` converted to the annotated type `wanted`, or raise `ConfigError`."""
    if isinstance(wanted, types.UnionType):  # the only unions here are `TYPE | None`
        return None if value is None else _typed(name, get_args(wanted)[0], value)
    if dataclasses.is_dataclass(wanted):
        if isinstance(value, wanted):
            return value
        if not isinstance(value, dict):
            raise ConfigError(f"The option {name} must be a group of options, not {value!r}.")
        return from_dict(wanted, value)
    if get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"The option {name} must be a list, not {value!r}.")
        return tuple(_typed(f"{name}[{i}]", get_args(wanted)[0], item) for i, item in enumerate(value))
    words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}[wanted]
    accepted = (int, float) if wanted is float else wanted
    good = isinstance(value, accepted) and isinstance(value, bool) == (wanted is bool)
    if not good or (wanted is float and not math.isfinite(value)):
        raise ConfigError(f"The option {name} must be {words}, not {value!r}.")
    return value


def read_train_config(path: str | Path | None, variant: str | None = None, changes: Sequence[str] = ()) -> TrainConfig:
    """Return the paper's recipe, changed by a JSON file, then by a variant's name, then by `KEY=VALUE` pairs.

    Args:
        path: JSON with any fields of `TrainConfig`; those of `model` and `loss` are nested.
        variant: row of Table 4.
        changes: such as `learning_rate=1e-4` or `loss.margin=0.5`; a value that is not JSON is taken as text.

    Raises:
        ConfigError: unreadable file, unknown option or variant, or not of the form `KEY=VALUE`.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"The recipe {Path(path).name!r} cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"The recipe {Path(path).name!r} must be a JSON object of options.")
    if variant is not None:
        if variant not in VARIANTS:
            raise ConfigError(f"Unknown variant {variant!r}; choose one of {', '.join(VARIANTS)}.")
        model = values.get("model", {})
        if not isinstance(model, dict):
            raise ConfigError(f"The option model must be a group of options, not {model!r}.")
        values["model"] = {**model, **VARIANTS[variant]}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"Write a change as KEY=VALUE, not {change!r}.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        group, dot, name = key.rpartition(".")
        target = values.setdefault(group, {}) if dot else values
        if not isinstance(target, dict):
            raise ConfigError(f"The option {group} must be a group of options, not {target!r}.")
        target[name] = value
    return from_dict(TrainConfig, values)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON values."""
    return dataclasses.asdict(config)
