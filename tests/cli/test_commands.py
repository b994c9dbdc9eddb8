"""The command line as people use it: usage errors, hidden parts, sweeps, bug reports, a folder of photos."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import _parser, main
from reid_demo.errors import ConfigError
from reid_demo.images import read_image
from reid_demo.records import Occlusion, Scoring
from reid_demo.search import bundled
from reid_demo.search.bundled import gallery_of_photos
from reid_demo.serving import answers
from reid_demo.synthetic import NEEDS
from reid_demo.whatif import confidence
from reid_demo.whatif.confidence import Calibration, Level, Rates
from reid_demo.whatif.sweep import Window


@pytest.fixture
def where(tiny_weights, tiny_gallery_folder) -> list[str]:
    return ["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder), "--device", "cpu"]


@pytest.fixture
def probe(tiny_engine) -> str:
    return str(tiny_engine.examples[0].path)


def ask(capsys, arguments: list[str]):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_search_may_hide_a_part_and_count_some_parts_only(where, probe, tiny_engine, capsys, tmp_path):
    changed = tiny_engine.occlude(read_image(probe), [Occlusion("lower_half", "black")])
    scoring = Scoring(parts=answers.switches(tiny_engine, ["global", "2"]))
    wanted = answers.with_paths(answers.search(tiny_engine, changed, 3, scoring))
    options = ["--top-k", "3", "--parts", "global", "2"]
    assert ask(capsys, ["search", probe, *where, *options, "--occlude", "lower_half", "--fill", "black"]) == [
        {"probe": probe, **wanted}
    ]
    recipe = tmp_path / "recipe.json"
    recipe.write_text('[{"kind": "lower_half", "fill": "black"}]')
    assert ask(capsys, ["search", probe, *where, *options, "--recipe", str(recipe)])[0]["matches"] == wanted["matches"]


def test_a_search_says_whether_its_first_match_is_confident_as_the_page_does(
    probe, tiny_engine, tiny_gallery_folder, tiny_weights, capsys, monkeypatch
):
    whole, occluded = (Rates(levels=(Level(0.1, mark, 0.08, fnir),)) for mark, fnir in ((2.0, 0.25), (-1.0, None)))
    about = {"gallery": "tiny", "num_images": 18, "scoring": "cosine", "fingerprint": tiny_engine.gallery.fingerprint}
    monkeypatch.setattr(confidence, "read", lambda *_: Calibration(**about, whole=whole, occluded=occluded))
    command = [
        "search",
        probe,
        "--weights",
        str(tiny_weights),
        "--gallery",
        str(tiny_gallery_folder),
        "--device",
        "cpu",
    ]
    told = ask(capsys, command)[0]
    assert told["confidence"] == {
        "confident": False,
        "similarity": told["matches"][0]["similarity"],
        "threshold": 2.0,
        "fpir": 0.08,
        "fnir": 0.25,
        "occluded": False,
        "num_images": 18,
        "words": f"No confident match: the first similarity, {told['matches'][0]['similarity']:.3f}, is below 2.000.",
    }
    assert main(command) == 0
    assert f"{probe}: candidates to verify. No confident match: the first similarity" in capsys.readouterr().out
    hidden = ask(capsys, [*command, "--occlude", "centre"])[0]["confidence"]
    assert (hidden["confident"], hidden["occluded"], hidden["threshold"], hidden["fnir"]) == (True, True, -1.0, None)
    assert ask(capsys, [*command, "--parts", "1"])[0]["confidence"] is None


def test_explain_calls_parts_what_the_page_calls_them(where, probe, capsys, tmp_path, monkeypatch):
    names = ("mostly head", *[""] * 7)
    monkeypatch.setattr(confidence, "read_part_meanings", lambda *_: names)
    assert main(["explain", probe, *where, "--out", str(tmp_path / "why")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  global, whole person +[+-]0\.", said, re.M) and re.search(
        r"^  part 1, head +[+-]0\.", said, re.M
    )
    assert re.search(r"^  part 2 +[+-]0\.", said, re.M)


def test_part_switches_name_what_is_wrong(tiny_engine):
    assert answers.switches(tiny_engine, []) is None
    assert answers.switches(tiny_engine, ["part 1"]) == (False, True, *[False] * 7)
    named = SimpleNamespace(term_names=("global", "part 1", "part 2"), term_labels=("whole person", "arms 1", "arms 2"))
    assert answers.switches(named, ["whole person", "arms 2"]) == (True, False, True)
    with pytest.raises(ConfigError, match="numbers from 1 to 2, or whole person, arms 1, arms 2"):
        answers.switches(named, ["arms"])
    for wrong in ("0", "9", "left leg"):
        with pytest.raises(ConfigError, match=f"parts: there is no part '{wrong}'"):
            answers.switches(tiny_engine, [wrong])


def test_explain_writes_files_and_prints_the_same_numbers(where, probe, capsys, tmp_path):
    printed = ask(capsys, ["explain", probe, *where, "--out", str(tmp_path / "why"), "--rank", "2"])
    files = printed.pop("files")
    assert json.loads((tmp_path / "why" / "explanation.json").read_text()) == printed
    assert printed["match"]["rank"] == 2 and len(files) == 1 + 2 * 8
    assert sum(printed["contributions"]) == pytest.approx(printed["similarity"], abs=1e-5)


def test_sweep_prints_what_the_engine_measures(where, probe, tiny_engine, capsys):
    options = ["--rank", "2", "--size", "0.5", "--stride", "0.5"]
    found = ask(capsys, ["sweep", probe, *where, *options])
    wanted = answers.sweep(tiny_engine, read_image(probe), 2, window=Window(0.5, 0.5))
    assert found == answers.with_paths(wanted) and len(found["boxes"]) == len(found["rank_change"]) > 4
    assert main(["sweep", probe, *where, *options]) == 0
    assert "costliest" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "x.jpg", "--top-k", "0"],
        ["search"],
        ["explain", "x.jpg"],
        ["fly"],
        ["sweep", "x.jpg", "--rank", "b"],
        ["search", "x.jpg", "--occlude", "left_leg"],
        ["what-if", "--occlude", "centre", "--fill", "pink"],
        ["search", "x.jpg", "--occlude", "box"],  # needs more than its name: --recipe
        ["evaluate", "--dataset", "gallery", "--root", "x", "--occlude", "brush"],
    ],
)
def test_wrong_usage_is_two(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "usage:" in capsys.readouterr().err


def test_one_bad_picture_among_many_is_named(where, probe, capsys, tmp_path):
    bad = tmp_path / "0007_c1.jpg"
    bad.write_text("no picture")
    for command in (["search", probe], ["explain", "--out", str(tmp_path / "x")], ["sweep"], ["what-if"]):
        capsys.readouterr()
        assert main([*command, str(bad), *where]) == 1
        told = capsys.readouterr()
        assert f"error: {bad}: This file is not an image" in told.err and not told.out
    assert not (tmp_path / "x").exists()


def test_every_command_takes_json(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    ([a-z][a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert len(listed) >= 18
    for name in listed:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert "--json" in capsys.readouterr().out, name


TRAINS = ["--dataset", "folder", "--root", "x", "--out", "y"]
PAPER = ["--data", "x", "--init", "x", "--out", "y"]
MEASURES = ["--dataset", "folder", "--root", "x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["push", "--weights", "x"], "name the repository with --to OWNER/NAME"),
        (["push", "--space", "me/demo", "--to", "me/other"], "leave out --to"),
        (["push", "--weights", "x", "--gallery", "y"], "not allowed with"),
        (["search", "x.jpg", "--adaptive", "--part-aware"], "not allowed with"),
        (["search", "x.jpg", "--fill", "black"], "shows; add --occlude"),
        (["what-if", "--recipe", "r.json", "--fill", "black"], "shows; add --occlude"),
        (["evaluate", *MEASURES, "--fill", "black"], "shows; add --occlude"),
        (["ablate", *TRAINS, "--max-steps", "1"], "no test split; name what to measure on with --evaluate"),
        (["ablate", *TRAINS, "--max-steps", "1", "--evaluate", "a", "b", "--fill", "black"], "add --occlude"),
        (["ablate", *TRAINS, "--max-steps", "1", "--evaluate", "a", "b", "--init", "x"], "--init takes BACKBONE=PATH"),
        (["ablate", *TRAINS, "--max-steps", "0"], "a whole number of at least 1"),
        (["train", *TRAINS, "--save-every", "0"], "a whole number of at least 1"),
        (["teach", *TRAINS, "--network", "n.xml", "--device", "cuda"], "on the CPU only; leave out --device cuda"),
        (["bench", "--train", "--page"], "not allowed with"),
        (["bench", "--json", "--markdown"], "choose one of --json and --markdown"),
        (["bench", "--set", "epochs=1"], "--set changes the recipe of --train"),
        (["bench", "--train", "--gallery-size", "9"], "do not use --gallery-size"),
        (["bench", "--network", "--gallery-size", "9"], "do not use --gallery-size"),
        (["bench", "--train", "--weights", "x"], "--train measures a recipe"),
        (["reproduce", "--table", "4", *PAPER], "Table 4 has the rows G, G+P, G+T, G+D, G+D+W; name one with --row"),
        (["reproduce", "--table", "5", "--row", "vgg", *PAPER], "Table 5 has the rows resnet50, "),
        (["synthesize", "--assets", "x", "--out", "y", "--ids", "3", "--weights", "z"], "need --gallery"),
    ],
)
def test_options_that_lack_or_contradict_one_another_are_wrong_usage(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.out == "" and words in captured.err.splitlines()[-1]
    assert f"usage: python -m reid_demo {arguments[0]}" in captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "{probe}", "--rank", "99", "--out", "{tmp}/x"], "rank must be"),
        (["explain", "{probe}", "--out", "{tmp}/file/x"], "file"),
        (["sweep", "{probe}", "--size", "0"], "Window size"),
        (["search", "{probe}", "--recipe", "{tmp}/none.json"], "none.json"),
        (["search", "{tmp}/none.jpg"], "none.jpg"),
    ],
)
def test_an_error_is_one_sentence_and_one(arguments, words, where, probe, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    filled = [argument.format(probe=probe, tmp=tmp_path) for argument in arguments]
    assert main([*filled, *where]) == 1
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert captured.out == "" and last.startswith("error: ") and words in last and "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--weights": "opne"}, f"Name a folder, hf://..., or what ships: {', '.join(bundled.names())}."),
        ({"--gallery": "{tmp}/none"}, "There is no gallery '{tmp}/none'. Make one with `python -m reid_demo index"),
        ({"--gallery": "{tmp}"}, "is not a gallery. Describe its pictures with `python -m reid_demo index {tmp} --out"),
    ],
)
def test_a_wrong_name_is_answered_with_what_to_name(changed, words, where, probe, tmp_path, capsys):
    options = {**dict(zip(where[::2], where[1::2], strict=True)), **changed}
    main(["search", probe, *(word.format(tmp=tmp_path) for pair in options.items() for word in pair)])
    assert words.format(tmp=tmp_path) in capsys.readouterr().err


def test_what_cannot_work_is_refused_before_anything_is_shown(where, probe, tmp_path, capsys):
    assert main(["index", str(tmp_path), "--out", str(tmp_path / "out"), *where[:2], *where[4:]]) == 1
    (tmp_path / "wrong.json").write_text('[{"kind": "box"}]')
    assert main(["what-if", probe, *where, "--recipe", str(tmp_path / "wrong.json")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == ["error", "error"]  # no bar, no count


def test_push_knows_the_shipped_weights_by_name(capsys):
    assert main(["push", "--weights", bundled.names()[0], "--dry-run"]) == 0
    assert "person-re-identification" in capsys.readouterr().out


def test_info_tells_the_versions_even_where_nothing_loads(tmp_path, tiny_weights, capsys):
    assert main(["info", "--json", "--weights", str(tiny_weights), "--gallery", str(tmp_path)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["torch"] and report["gradio"] and "index" in report["error"]


def test_help_of_every_command_explains_every_argument(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and "first steps" in text
    (commands,) = (action.choices for action in _parser()._actions if isinstance(action.choices, dict))
    assert len(commands) > 20
    for name, command in commands.items():
        assert f"\n    {name} " in text or f"\n    {name}\n" in text
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0 and len(capsys.readouterr().out) > 200
        assert [action.dest for action in command._actions if not action.help] == [], name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("faithfulness --seed -1", "whole number of at least 0"),
        ("ablate --dataset market1501 --root d --max-steps 1 --out o --seeds -1", "whole number of at least 0"),
        ("ablate --dataset market1501 --root d --max-steps 1 --out o --set seed=3", "name the seed with --seeds"),
        ("reproduce --table 1 --data d --init i --out o --seed -1", "whole number of at least 0"),
        ("reproduce --table 1 --data d --init i --out o --set seed=3", "name the seed with --seed, not"),
    ],
)
def test_a_seed_that_is_none_or_would_be_replaced_is_refused(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_a_folder_of_photos_becomes_a_gallery_beside_it(tmp_path, tiny_weights, capsys):
    photos = tmp_path / "holiday"
    (photos / "day 1").mkdir(parents=True)
    for number in range(3):
        Image.fromarray(draw_person(number + 1, 1)).save(photos / "day 1" / f"IMG {number}.png")
    (photos / "broken.jpg").write_text("no picture")
    made = gallery_of_photos(str(photos), str(tiny_weights), "cpu")
    assert made == str(tmp_path / "holiday.gallery")
    told = capsys.readouterr().err
    assert "3 new" in told and "broken.jpg" in told
    assert gallery_of_photos(str(photos), str(tiny_weights), "cpu") == made
    assert "0 new" in capsys.readouterr().err
    assert gallery_of_photos(made, str(tiny_weights), "cpu") == made, "a gallery is left alone"
    assert capsys.readouterr().err == ""
    for other in (None, str(tmp_path / "none"), "hf://me/people"):
        assert gallery_of_photos(other, str(tiny_weights), "cpu") == other


def test_without_the_extra_synthesize_says_what_to_install(tmp_path):
    hidden = (
        "import sys; sys.modules['scipy'] = None; from reid_demo.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["synthesize", "--assets", str(tmp_path), "--out", str(tmp_path / "out"), "--ids", "2"]
    done = subprocess.run([sys.executable, "-c", hidden, *words], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == f"error: {NEEDS}\n" and "[synthetic]" in NEEDS
