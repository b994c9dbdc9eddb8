"""Places, cameras and detector boxes; needs neither assets nor OpenGL."""

import hashlib

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic import dataset, scenes


def test_every_scene_has_what_it_names():
    assert len(scenes.SCENES) >= 12
    assert len(scenes.CAMERAS) >= 12
    assert {camera.scene for camera in scenes.CAMERAS} == set(scenes.SCENES)
    for scene in scenes.SCENES.values():
        assert scene.light in scenes.LIGHTS
        assert {*scene.things, *scene.in_front} <= set(scenes.THINGS)
    assert any(scene.indoors for scene in scenes.SCENES.values())
    assert {"sunny", "dusk"} <= {scene.light for scene in scenes.SCENES.values()}


@pytest.mark.parametrize("name", scenes.THINGS)
def test_a_thing_is_a_finite_soup_on_the_ground(name):
    soup = scenes.THINGS[name].build(np.random.default_rng(1))
    assert soup.dtype == np.float32
    assert soup.shape[1] == 12
    assert len(soup) % 3 == 0
    assert np.isfinite(soup).all()
    assert -0.01 <= soup[:, 1].min() < 0.4
    np.testing.assert_allclose(np.linalg.norm(soup[:, 3:6], axis=1), 1, atol=0.01)


def test_a_place_is_always_the_same_and_people_stand_clear_of_its_things():
    first, again = scenes.build_place(1), scenes.build_place(1)
    np.testing.assert_array_equal(first.mesh, again.mesh)
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, z = scenes.stand(first, rng)
        assert -11 < z < -4
        assert (np.hypot(first.clear[:, 0] - x, first.clear[:, 1] - z) > 0.3).all()


def test_old_places_stay_as_they_were():
    meshes = b"".join(scenes.build_place(number).mesh.tobytes() for number in (1, 6, 14))
    assert hashlib.sha256(meshes).hexdigest() == "04969aa10e64b417c2f90345751a80f02abff1fa318da96c7b1fde27324a9232"


def test_cameras_beyond_the_table_follow_from_their_number_and_can_be_used():
    for number in range(len(scenes.CAMERAS) + 1, dataset.HARD.cameras + 1):
        camera = scenes.camera_of(number)
        assert camera == scenes.camera_of(number)
        assert camera.scene in scenes.SCENES
        assert 1.5 < camera.height < 5.5
        assert 72 <= camera.resolution <= 256
        assert 40 <= camera.quality <= 96
    assert len({scenes.camera_of(number) for number in range(1, 43)}) == 42


def test_detector_boxes_hold_most_of_the_person_and_are_off_now_and_then():
    rng = np.random.default_rng(0)
    exact = (0.0, 0.0, 40.0, 100.0)
    boxes = np.array([scenes.detector_box(rng, exact) for _ in range(500)])
    area = (np.minimum(boxes[:, 2:], exact[2:]) - np.maximum(boxes[:, :2], exact[:2])).clip(0).prod(1) / 4000
    assert np.median(area) > 0.95
    assert 0.01 < (area < 0.85).mean() < 0.15
    careful = np.array([scenes.detector_box(rng, exact, careless=0) for _ in range(200)])
    assert (np.abs(careful[:, 3] - careful[:, 1] - 104.5) < 8).all()
