"""People in words."""

import pytest

pytest.importorskip("scipy")


from reid_demo.data import people_file
from reid_demo.errors import SyntheticError
from reid_demo.synthetic import fabrics, people
from reid_demo.synthetic.looks import colour_word, level, row_of


def test_people_are_written_in_words_and_read_back(tmp_path):
    looks = {20001 + index: people.identity(11, index) for index in range(40)}
    path = tmp_path / people_file.PEOPLE
    people_file.write_people(path, (row_of(pid, look) for pid, look in looks.items()))
    rows = people_file.read_people(path)
    assert set(rows) == set(looks)
    for pid, row in rows.items():
        look = looks[pid]
        assert (row["sex"] == "female") == look.woman
        assert row["bag"] == look.bag
        assert (row["bag_colour"] == "") == (look.bag == "none")
        assert row["hair_colour"] in fabrics.HAIR_COLOURS
        assert row["bottom_colour"] in fabrics.PALETTE
    assert people_file.copy_people(path, tmp_path / "some.gz", [20003, 20001, 1]) == 2
    assert list(people_file.read_people(tmp_path / "some.gz")) == [20001, 20003]
    (tmp_path / "damaged.gz").write_bytes(path.read_bytes()[:60])
    for name, words in (("damaged.gz", "damaged"), ("absent.gz", "There is no")):
        with pytest.raises(SyntheticError, match=words):
            people_file.read_people(tmp_path / name)


def test_a_colour_is_named_after_the_nearest_of_the_palette():
    for name, swatch in fabrics.PALETTE.items():
        assert colour_word(tuple((value + 1) / 255 for value in swatch.rgb)) == name
    assert [level("age", value) for value in (0.4, 0.6, 0.9)] == ["under 25", "25 to 50", "over 50"]
