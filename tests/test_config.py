"""A recipe is read from a file, a variant's name and pairs, in that order; unknown options are refused."""

import json

import pytest

from reid_demo.config import ModelConfig, TrainConfig, from_dict, read_train_config, to_dict
from reid_demo.errors import ConfigError


def test_later_sources_win(tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"seed": 3, "model": {"backbone": "resnet50"}, "loss": {"margin": 0.4}}))
    config = read_train_config(recipe, "G+D+W", ["loss.margin=0.5", "optimizer=adamw", "decay_epochs=[1, 2]"])
    assert (config.seed, config.model.backbone, config.loss.margin) == (3, "resnet50", 0.5)
    assert config.model.adaptive_weighting and config.optimizer == "adamw" and config.decay_epochs == (1, 2)
    assert read_train_config(None) == TrainConfig()
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_the_default_recipe_is_the_papers():
    config = TrainConfig()
    assert (config.height, config.width, config.epochs, config.learning_rate) == (256, 128, 180, 3.5e-4)
    assert (config.warmup_start, config.warmup_epochs, config.decay_epochs) == (3.5e-5, 10, (40, 90, 150))
    assert (config.optimizer, config.schedule, config.decay_factor) == ("adam", "step", 0.1)
    assert config.augmix and min(config.flip, config.pad, config.random_erasing) > 0 and config.random_crop == 0


def test_the_network_without_options_is_that_of_the_papers_recipe():
    model = ModelConfig()
    assert (model.backbone, model.num_parts, model.dim, model.num_heads) == ("resnet50", 8, 256, 8)
    assert TrainConfig().model == model


@pytest.mark.parametrize(
    ("change", "said"),
    [("speed=1", "Unknown option 'speed'"), ("loss.colour=1", "Unknown option 'colour'"), ("seed", "KEY=VALUE")],
)
def test_unknown_changes_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        read_train_config(None, None, [change])


def test_bad_files_and_variants_are_refused(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    for name in ("bad.json", "absent.json", "list.json"):
        path = tmp_path / name
        with pytest.raises(ConfigError, match=name):
            read_train_config(path)
    with pytest.raises(ConfigError, match="Unknown variant"):
        read_train_config(None, "G+X")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("learning_rate=fast", "TrainConfig.learning_rate must be a finite number, not 'fast'"),
        ("learning_rate=NaN", "TrainConfig.learning_rate must be a finite number"),
        ("random_crop=true", "TrainConfig.random_crop must be a finite number, not True"),
        ("epochs=1.5", "TrainConfig.epochs must be a whole number, not 1.5"),
        ("epochs=true", "TrainConfig.epochs must be a whole number, not True"),
        ("augmix=1", "TrainConfig.augmix must be true or false, not 1"),
        ("optimizer=3", "TrainConfig.optimizer must be text, not 3"),
        ("decay_epochs=40", "TrainConfig.decay_epochs must be a list, not 40"),
        ('decay_epochs=[40, "x"]', r"TrainConfig.decay_epochs\[1\] must be a finite number"),
        ("new_layers_learning_rate=[]", "TrainConfig.new_layers_learning_rate must be a finite number"),
        ("model.num_parts=8.0", "ModelConfig.num_parts must be a whole number"),
        ("loss.margin=null", "LossConfig.margin must be a finite number"),
        ("model=resnet18", "TrainConfig.model must be a group"),
    ],
)
def test_a_value_of_another_type_names_its_option(change, said):
    with pytest.raises(ConfigError, match=said):
        read_train_config(None, None, [change])


def test_a_group_that_is_no_group_is_refused(tmp_path):
    (path := tmp_path / "r.json").write_text('{"model": 3, "loss": 1}')
    for variant, changes in (("G", []), (None, ["loss.margin=1"]), (None, [])):
        with pytest.raises(ConfigError, match="must be a group of options"):
            read_train_config(path, variant, changes)


def test_what_is_left_open_may_be_null_and_a_whole_number_is_a_number():
    config = read_train_config(None, None, ["new_layers_learning_rate=null", "warmup_epochs=5", "decay_epochs=[]"])
    assert (config.new_layers_learning_rate, config.warmup_epochs, config.decay_epochs) == (None, 5, ())
