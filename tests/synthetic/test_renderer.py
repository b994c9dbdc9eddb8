"""Which triangles are drawn and which are skipped; most tests need the assets and OpenGL."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.errors import SyntheticError
from reid_demo.synthetic import renderer
from reid_demo.synthetic.people import Person, identity


def test_masks_are_where_the_person_is_in_the_picture(studio, person):
    """Compare with the same picture without a person."""
    from reid_demo.synthetic.capture import _bounds
    from reid_demo.synthetic.renderer import Actor, Grade, Scenery, View

    place = studio.place(8)
    posed = person.pose(np.random.default_rng(0), "stand")
    actor = Actor(person, posed, 0.0, 0.0, -6.0)
    eye, target = np.array([0, 1.8, 0]), np.array([0, 0.95, -6.0])
    x0, y0, x1, y1 = _bounds(actor, View(eye, target, (-1, 1, -1, 1)), True)
    view = View(eye, target, (x0 - 0.02, x1 + 0.02, -y1 - 0.02, -y0 + 0.02))
    scenery = Scenery(place.mesh, place.light, focus=(0, -6))
    full, ids = studio.renderer.draw([actor], scenery, view, Grade())
    empty, none = studio.renderer.draw([], scenery, view, Grade())
    assert not none.any()
    changed = np.abs(full.astype(int) - empty).max(2) > 12
    body = (ids > 0) & (ids < 9)
    assert changed[body].mean() > 0.9
    assert body[: body.shape[0] // 50].mean() < 0.2


def test_no_triangle_that_covers_the_middle_of_a_pixel_is_left_out():
    """Compare with testing every pixel against every triangle."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(-1, 1, (600, 1, 3)) + rng.uniform(-0.03, 0.03, (600, 3, 3)) * rng.uniform(0, 3, (600, 1, 1))
    corners[0] = [[-0.9, -0.9, 0], [0.9, -0.9, 0], [0, 0.9, 0]]
    corners[1] = (
        np.array([[0.5, 0.5, 0], [0.501, 0.5, 0], [0.5, 0.501, 0]]) - 0.5 + 1 / 32
    )  # over one corner of a pixel
    width, height = 32, 64
    matrix = np.diag([1.0, 1.0, 1.0, 1.0])
    matrix[3] = 0.1, 0.05, 0.2, 1.3
    vertices = corners.reshape(-1, 3).astype(np.float32)
    triangles = np.arange(1800).reshape(-1, 3)
    clip = np.column_stack([vertices, np.ones(1800)]) @ matrix.T
    seen = ((clip[:, :2] / clip[:, 3:] + 1) / 2 * [width, height])[triangles]  # px
    middles = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2) + 0.5
    a, b, c = (seen[:, k] - middles for k in range(3))
    sides = np.stack([p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0] for p, q in ((a, b), (b, c), (c, a))])
    covered = ((sides >= 0).all(0) | (sides <= 0).all(0)).any(0)
    drawn = renderer.touching(vertices, triangles, matrix, (width, height))
    assert covered.sum() > 50
    assert not (covered & ~drawn).any()
    assert (~drawn).sum() > 0.3 * (~covered).sum()


def test_triangles_behind_the_camera_are_left_to_the_renderer():
    vertices = np.float32([[0, 0, 1], [0.001, 0, 1], [0, 0.001, -1]])
    behind = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, -1, 0]])
    assert renderer.touching(vertices, np.array([[0, 1, 2]]), behind, (8, 8)).all()


def test_leaving_triangles_out_changes_no_pixel(shoot, monkeypatch):
    chosen = shoot(5, hide="person", company=True)
    monkeypatch.setattr(renderer, "touching", lambda vertices, triangles, matrix, size: np.ones(len(triangles), bool))
    every = shoot(5, hide="person", company=True)
    np.testing.assert_array_equal(chosen.image, every.image)
    assert chosen.visible == every.visible


def test_looking_at_hidden_triangles_too_changes_no_pixel(shoot, studio, monkeypatch):
    asked = [(seed, hide) for seed in range(4) for hide in ("", "person")]
    shots = [shoot(seed, hide=hide) for seed, hide in asked]
    monkeypatch.setattr(renderer, "may_be_cut", lambda person: np.ones(len(person.triangles), bool))
    studio.renderer._loaded.clear()
    for shot, (seed, hide) in zip(shots, asked, strict=True):
        np.testing.assert_array_equal(shot.image, shoot(seed, hide=hide).image)
    studio.renderer._loaded.clear()


@pytest.mark.parametrize("coat", ["none", "open jacket", "parka"])
def test_only_triangles_that_may_be_cut_are_cut(body, coat):
    """Apply the shader's rule at many points of all other triangles."""
    dressed = Person(body, replace(identity(5, 3), coat=coat, top="sweater", bottom="trousers"))
    may = renderer.may_be_cut(dressed)
    assert 0.005 < may.mean() < 0.2
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 40)  # of the corners
    rest = dressed.triangles[~may]
    x, y, z = np.einsum("kc,mci->imk", shares, dressed.coords[rest])
    arm = np.einsum("kc,mc->mk", shares, dressed.sleeve[rest])
    for number, material in enumerate(dressed.materials):
        mine, clip = dressed.surface[rest[:, 0]] == number, material.clip
        px, py, pz, sleeve = x[mine], y[mine], z[mine], arm[mine] > 0.5
        gone = np.where(sleeve, py < clip.cuff, (py < clip.hem) | (py > clip.waist))
        if clip.neck < 50:
            low = clip.neck - 0.28 * np.clip(pz, -0.5, 1.2) - 0.3
            vee = (clip.neck_depth > 0) & (pz > 0.2)
            low = low - clip.neck_depth * vee
            wide = clip.neck_radius * np.where(vee, np.clip((py - low) / (clip.neck_depth + 0.55), 0, 1), 1)
            opening = (np.hypot(px, np.where(vee, 0, pz - 0.1)) < wide) & (py > low)
            gone |= (arm[mine] < 0.9) & (opening | ((py > clip.neck + 0.42) & (arm[mine] < 0.3)))
        if clip.open_top >= 0:
            height = np.clip((py + 1) / 5, 0, 1)
            gap = clip.open_hem + (clip.open_top - clip.open_hem) * height + 0.05 * np.sin(py * 1.7 + material.phase)
            gone |= (pz > 0) & ~sleeve & (np.abs(px) < gap)
        assert not gone.any()


def test_too_many_materials_are_told():
    from reid_demo.synthetic.fabrics import CLOTH, Material

    with pytest.raises(SyntheticError, match="25 materials"):
        renderer.pack([Material(CLOTH, (0.1, 0.1, 0.1))] * 25)


def test_a_machine_without_opengl_is_told(monkeypatch):
    moderngl = pytest.importorskip("moderngl")

    def refuse(**options):
        raise RuntimeError("no library")

    monkeypatch.setattr(moderngl, "create_context", refuse)
    with pytest.raises(SyntheticError, match="EGL nor OSMesa"):
        renderer.create_context()


def test_two_renderers_of_one_process_do_not_mix(shoot):
    before = shoot(6).image
    other = renderer.Renderer()
    np.testing.assert_array_equal(shoot(6).image, before)
    other.close()
    np.testing.assert_array_equal(shoot(6).image, before)
