"""The OpenGL pass: people and a place under sun and sky, with shadows, to a picture and a picture of ids.

Off screen, by EGL or OSMesa; a GPU where the driver offers one, else Mesa's software rasteriser. Ids of a picture:
0 the place, 1 to 8 the body parts of the person in question (`body.PART`), `OTHER` further people, `PROP` things.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_demo.errors import SyntheticError
from reid_demo.synthetic import NEEDS, shaders, textures
from reid_demo.synthetic.fabrics import PATTERNS, Clip, Material
from reid_demo.synthetic.people import MAX_MATERIALS, Person, Posed

OTHER, PROP = 16, 15
SUN_SIZE, SKY_SIZE = 640, 192  # px of the shadow maps
REACH = 2.2  # m round the person that the shadow maps cover
KEPT = 48  # people whose buffers stay loaded
NEAR_CENTRE = 1 / 16  # px: OpenGL promises no finer places of vertices than this


@dataclass(frozen=True, eq=False)
class Actor:
    """A posed person at a place."""

    person: Person
    posed: Posed
    yaw: float  # radians; 0 faces +z
    x: float  # m
    z: float  # m


@dataclass(frozen=True)
class Light:
    """Light of a scene, linear RGB."""

    sun: tuple[float, float, float]  # direction to it, unit
    sun_colour: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    fog: tuple[float, float, float]
    fog_density: float = 0.01
    dapple: float = 0.0  # depth of the shade of leaves
    lamp: float = 0.0  # brightness of lit windows


@dataclass(frozen=True)
class Grade:
    """Colour response of a camera."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    saturation: float = 1.0
    lift: float = 0.0
    gamma: float = 0.45


@dataclass(frozen=True, eq=False)
class View:
    """A camera and the window of its picture that is drawn, in tangents: left, right, bottom, top."""

    eye: np.ndarray  # (3,) m
    target: np.ndarray  # (3,) m
    window: tuple[float, float, float, float]

    def matrix(self) -> np.ndarray:
        """Give the `(4, 4)` projection of world points to clip space."""
        left, right, bottom, top = (0.2 * x for x in self.window)
        near, far = 0.2, 90.0
        m = np.zeros((4, 4))
        m[0, 0], m[0, 2] = 2 * near / (right - left), (right + left) / (right - left)
        m[1, 1], m[1, 2] = 2 * near / (top - bottom), (top + bottom) / (top - bottom)
        m[2, 2], m[2, 3], m[3, 2] = -(far + near) / (far - near), -2 * far * near / (far - near), -1
        return m @ look_at(self.eye, self.target)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Give the `(4, 4)` view matrix of a camera at `eye` that looks at `target`."""
    ahead = np.asarray(target, float) - eye
    ahead /= np.linalg.norm(ahead)
    up = (0, 1, 0) if abs(ahead[1]) < 0.99 else (0, 0, -1)
    side = np.cross(ahead, up)
    side /= np.linalg.norm(side)
    m = np.eye(4)
    m[0, :3], m[1, :3], m[2, :3] = side, np.cross(side, ahead), -ahead
    m[:3, 3] = -m[:3, :3] @ eye
    return m


def _ortho(reach: float, near: float, far: float) -> np.ndarray:
    m = np.diag([1 / reach, 1 / reach, -2 / (far - near), 1.0])
    m[2, 3] = -(far + near) / (far - near)
    return m


def create_context():
    """Open an off-screen OpenGL context: EGL first, then OSMesa.

    Raises:
        SyntheticError: `moderngl` is not installed, or neither library is found.
    """
    try:
        import moderngl
    except ImportError as error:
        raise SyntheticError(NEEDS) from error
    reasons = []
    for options in (
        {"backend": "egl"},
        {"backend": "egl", "libgl": "libGL.so.1", "libegl": "libEGL.so.1"},
        {"libgl": "libOSMesa.so"},
    ):
        try:
            return moderngl.create_context(standalone=True, require=330, **options)
        except Exception as error:  # the drivers raise many kinds
            reasons.append(f"{options}: {error}")
    raise SyntheticError(
        "No off-screen OpenGL 3.3: neither EGL nor OSMesa answers. On Debian or Ubuntu install libegl1 and "
        f"libgl1-mesa-dri. ({'; '.join(reasons)})"
    )


class Renderer:
    """One context with its programs, textures and loaded people. Not for sharing between threads."""

    def __init__(self, width: int = 128, height: int = 256, supersample: int = 2):
        """Open a context and load shaders and textures; sizes are px of the finished picture."""
        self.gl = create_context()
        self.size = (width * supersample, height * supersample)
        gl = self.gl
        self._people = gl.program(shaders.PERSON_VERTEX, shaders.PERSON_FRAGMENT)
        self._outline = gl.program(shaders.PERSON_VERTEX, shaders.OUTLINE_FRAGMENT)
        self._place = gl.program(shaders.PLACE_VERTEX, shaders.PLACE_FRAGMENT)
        self._depth = gl.program(shaders.DEPTH_VERTEX, shaders.DEPTH_FRAGMENT)
        self._parts = gl.program(shaders.PARTS_VERTEX, shaders.PARTS_FRAGMENT)
        self._target = gl.framebuffer([gl.texture(self.size, 4)], gl.depth_renderbuffer(self.size))
        self._alone = gl.framebuffer([gl.texture((64, 128), 1)], gl.depth_renderbuffer((64, 128)))
        self._sun, self._sky = self._shadow_map(SUN_SIZE), self._shadow_map(SKY_SIZE)
        self._noise = gl.texture3d((32, 32, 32), 4, textures.noise_volume().tobytes())
        painted = textures.layers()
        self._layers = gl.texture_array((textures.SIZE, textures.SIZE, len(painted)), 4, painted.tobytes())
        self._layers.build_mipmaps()
        import moderngl

        self._noise.filter = moderngl.LINEAR, moderngl.LINEAR
        self._loaded: OrderedDict[int, tuple] = OrderedDict()
        self._scenes: dict[int, tuple] = {}

    def _shadow_map(self, size: int) -> tuple:
        texture = self.gl.depth_texture((size, size))
        texture.compare_func, texture.repeat_x, texture.repeat_y = "<=", False, False
        return texture, self.gl.framebuffer([], texture)

    def _load(self, person: Person) -> tuple:
        key = id(person)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        gl, count = self.gl, len(person.rest)
        fixed = np.empty((count, 6), np.float32)
        fixed[:, :3], fixed[:, 3], fixed[:, 4], fixed[:, 5] = person.coords, person.sleeve, person.surface, person.part
        fixed_buffer, moving = gl.buffer(fixed.tobytes()), gl.buffer(reserve=count * 24, dynamic=True)
        index = gl.buffer(reserve=person.triangles.nbytes, dynamic=True)
        everything = [
            (moving, "3f 3f", "pos", "nrm"),
            (fixed_buffer, "3f 1f 1f 1f", "coord", "sleeve", "surface", "part"),
        ]
        outlined = [(moving, "3f 12x", "pos"), (fixed_buffer, "3f 1f 1f 4x", "coord", "sleeve", "surface")]
        entry = (
            person,
            moving,
            gl.vertex_array(self._people, everything, index),
            gl.vertex_array(self._depth, [(moving, "3f 12x", "pos")], index),
            gl.vertex_array(self._parts, [(moving, "3f 12x", "pos"), (fixed_buffer, "20x 1f", "part")], index),
            pack(person.materials),
            (fixed_buffer, index),
            [None],
            gl.vertex_array(self._outline, outlined, index),
            may_be_cut(person),
        )
        self._loaded[key] = entry
        if len(self._loaded) > KEPT:
            _release(self._loaded.popitem(last=False)[1])
        return entry

    def _load_place(self, mesh: np.ndarray) -> tuple:
        key = id(mesh)
        if key not in self._scenes:
            buffer = self.gl.buffer(mesh.astype(np.float32).tobytes())
            self._scenes[key] = (mesh, *self._place_arrays(buffer))
        return self._scenes[key]

    def _place_arrays(self, buffer) -> tuple:
        full = self.gl.vertex_array(self._place, [(buffer, "3f 3f 3f 3f", "pos", "nrm", "tint", "look")])
        return full, self.gl.vertex_array(self._depth, [(buffer, "3f 36x", "pos")])

    def draw(
        self,
        actors: Sequence[Actor],
        place: np.ndarray,
        props: np.ndarray | None,
        view: View,
        light: Light,
        grade: Grade,
        focus: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw people in a place; the first is the person in question.

        Args:
            actors: people, none for things alone.
            place: `(3 k, 12)` float32 triangle corners: position, normal, tint, layer, tiles a metre, gloss.
            props: things that stand in front, of the same form.
            view: the camera and its window.
            light: of the scene.
            grade: of the camera.
            focus: `(x, z)` round which shadows are drawn.

        Returns:
            `(2 H, 2 W, 3)` uint8 picture and `(2 H, 2 W)` uint8 ids, at twice the finished size.
        """
        import moderngl

        gl = self.gl
        gl.enable(moderngl.DEPTH_TEST)
        loaded = []
        for actor in actors:
            loaded.append((self._stage(actor), (np.cos(actor.yaw), np.sin(actor.yaw), actor.x, actor.z)))
        place_full, place_depth = self._load_place(place)[1:]
        extra = None
        if props is not None and len(props):
            buffer = gl.buffer(props.astype(np.float32).tobytes())
            extra = (buffer, *self._place_arrays(buffer))
        middle = np.array([focus[0], 0.95, focus[1]])
        sun = np.array(light.sun)
        sun_matrix = _ortho(REACH, 1, 17) @ look_at(middle + sun * 9, middle)
        sky_matrix = _ortho(REACH, 1, 17) @ look_at(middle + np.array([0, 9, 0.0]), middle)
        for (_, frame), matrix in ((self._sun, sun_matrix), (self._sky, sky_matrix)):
            frame.use()
            frame.clear(depth=1.0)
            _write(self._depth, view_projection=matrix)
            for entry, at in loaded:
                self._depth["place"].value = at
                _render(entry, 3, _choose(entry, at, matrix, frame.size))
            self._depth["place"].value = (1.0, 0.0, 0.0, 0.0)
            place_depth.render()
            if extra:
                extra[2].render()
        self._target.use()
        self._target.clear(*self._sky_colour(light, grade), 0.0, depth=1.0)
        self._sun[0].use(0)
        self._sky[0].use(1)
        self._noise.use(2)
        self._layers.use(3)
        for program in (self._people, self._place):
            _write(program, view_projection=view.matrix(), sun_matrix=sun_matrix, sky_matrix=sky_matrix)
            for name, unit in (("sun_map", 0), ("sky_map", 1), ("noise_map", 2)):
                program[name].value = unit
            for name in ("sun", "sun_colour", "sky", "ground", "fog", "fog_density", "dapple", "lamp"):
                if name in program:
                    program[name].value = getattr(light, name)
            program["eye"].value = tuple(view.eye)
            program["gain"].value = grade.gain
            program["grade"].value = (grade.contrast, grade.saturation, grade.lift, grade.gamma)
        self._draw_people(loaded, view)
        feet = np.zeros((4, 3), np.float32)
        for i, actor in enumerate(actors[:4]):
            feet[i] = actor.x, actor.z, 0.35
        self._place["layers"].value = 3
        self._place["feet"].write(feet.tobytes())
        if extra:
            self._place["id_base"].value = PROP
            extra[1].render()
        self._place["id_base"].value = 0
        place_full.render()
        width, height = self.size
        rgba = np.frombuffer(self._target.read(components=4), np.uint8).reshape(height, width, 4)[::-1]
        if extra:
            for thing in (extra[1], extra[2], extra[0]):
                thing.release()
        return rgba[..., :3], rgba[..., 3]

    def _draw_people(self, loaded: Sequence[tuple], view: View) -> None:
        """Draw people, entries and places, in two passes: which triangles are seen, then how they look."""
        _write(self._outline, view_projection=view.matrix())
        drawn = [_choose(entry, at, view.matrix(), self.size) for entry, at in loaded]
        starts = np.cumsum([0, *(len(rows) for rows in drawn)])
        # of two triangles as deep as each other the later is seen
        self.gl.depth_func = "<="
        for (entry, at), rows, start in zip(loaded, drawn, starts, strict=False):
            self._outline["first"].value = int(start)
            self._draw_person(self._outline, entry, at, 8, rows)
        pixels = np.frombuffer(self._target.read(components=4), np.dtype("<u4"))
        seen = np.zeros(starts[-1], bool)
        seen[pixels[pixels >= 255 << 24] & 0xFFFFFF] = True  # where nobody is, the last byte is 0
        self.gl.depth_func = "=="
        for number, ((entry, at), rows) in enumerate(zip(loaded, drawn, strict=True)):
            # what is cut off is shown where it lies exactly as deep as what is seen
            shown = seen[starts[number] : starts[number + 1]] | entry[9][rows]
            self._people["id_base"].value = OTHER if number else 0
            self._draw_person(self._people, entry, at, 2, rows[shown])
        self.gl.depth_func = "<"

    def _draw_person(self, program, entry: tuple, at: tuple, array: int, rows: np.ndarray) -> None:
        program["place"].value = at
        for name, values in entry[5].items():
            if name in program:
                program[name].write(values)
        _render(entry, array, rows)

    def parts_alone(
        self, actor: Actor, view: View, others: Sequence[Actor] = (), props: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw the body parts of one person without colours: `(128, 64)` uint8 ids over the view's window.

        Args:
            actor: the person.
            view: the camera and its window.
            others: people who may hide parts.
            props: things that may hide parts, as in `draw`.
        """
        import moderngl

        self.gl.enable(moderngl.DEPTH_TEST)
        self._alone.use()
        self._alone.clear(depth=1.0)
        extra = None
        if props is not None and len(props):
            buffer = self.gl.buffer(props.astype(np.float32).tobytes())
            extra = (*self._place_arrays(buffer), buffer)
            _write(self._depth, view_projection=view.matrix())
            self._depth["place"].value = (1.0, 0.0, 0.0, 0.0)
            extra[1].render()
        _write(self._parts, view_projection=view.matrix())
        for number, one in enumerate((actor, *others)):
            entry = self._stage(one)
            at = (np.cos(one.yaw), np.sin(one.yaw), one.x, one.z)
            self._parts["place"].value = at
            self._parts["id_base"].value = OTHER if number else 0
            _render(entry, 4, _choose(entry, at, view.matrix(), self._alone.size))
        for thing in extra or ():
            thing.release()
        return np.frombuffer(self._alone.read(components=1, alignment=1), np.uint8).reshape(128, 64)[::-1]

    def _stage(self, actor: Actor) -> tuple:
        """Load a person and send the pose."""
        entry = self._load(actor.person)
        if entry[7][0] is not actor.posed:
            moving = np.concatenate([actor.posed.vertices, actor.posed.normals], 1)
            entry[1].write(np.ascontiguousarray(moving, np.float32).tobytes())
            entry[7][0] = actor.posed
        return entry

    def _sky_colour(self, light: Light, grade: Grade) -> tuple[float, float, float]:
        c = np.array(light.fog) * grade.gain
        c = np.clip((c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14), 0, 1) ** grade.gamma
        return tuple(float(x) for x in np.clip(grade.lift + (1 - grade.lift) * c, 0, 1))

    def close(self) -> None:
        """Give the context back."""
        self.gl.release()


def _choose(entry: tuple, at: tuple, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Give the rows of those triangles of a staged person that a picture of `size` needs."""
    triangles, posed = entry[0].triangles, entry[7][0]
    c, s, x, z = at
    world = np.array([[c, 0, s, x], [0, 1, 0, 0], [-s, 0, c, z], [0, 0, 0, 1]])
    return np.flatnonzero(touching(posed.vertices, triangles, matrix @ world, size))


def _render(entry: tuple, array: int, rows: np.ndarray) -> None:
    """Draw some triangles of a person by one of the vertex arrays of its entry."""
    if len(rows):
        entry[6][1].write(entry[0].triangles.take(rows, axis=0).tobytes())
        entry[array].render(vertices=3 * len(rows))


def touching(vertices: np.ndarray, triangles: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Say which triangles may cover the middle of a pixel; on a fine mesh many lie between two and draw nothing.

    Args:
        vertices: `(n, 3)`.
        triangles: `(m, 3)` rows of `vertices`.
        matrix: `(4, 4)`, to clip space.
        size: width and height of the picture, px.

    Returns:
        `(m,)` bool.
    """
    m = matrix[[0, 1, 3]].astype(np.float32)
    x, y, w = m[:, :3] @ vertices.T + m[:, 3:]
    if w.min() < 1e-3:  # behind the camera
        return np.ones(len(triangles), bool)
    between = np.zeros(len(triangles), bool)
    corners = np.ascontiguousarray(triangles.T)
    for along, pixels in ((x, size[0]), (y, size[1])):
        place = (along / w + 1) * (pixels / 2) - 0.5  # whole in the middle of a pixel
        gap = np.floor(place)
        part = place - gap
        gap = gap.astype(np.int32)
        near = np.flatnonzero((part < NEAR_CENTRE) | (part > 1 - NEAR_CENTRE))
        gap[near] = -(2**30) - near  # in no gap: like no other
        a, b, c = (gap.take(rows) for rows in corners)
        between |= (a == b) & (b == c)
    return ~between


def _release(entry: tuple) -> None:
    _, moving, a, b, c, _, (fixed, index), _, d, _ = entry
    for thing in (a, b, c, d, moving, fixed, index):
        thing.release()


def _write(program, **matrices: np.ndarray) -> None:
    for name, matrix in matrices.items():
        program[name].write(np.ascontiguousarray(matrix.T, np.float32).tobytes())


def may_be_cut(person: Person) -> np.ndarray:
    """Say of each triangle whether the shader may cut a part of it off at the edge of a garment: `(m,)` bool."""
    rows = np.array([_cuts(material.clip) for material in person.materials], np.float32)
    hem, cuff, waist, neck, collar, gap = rows[person.surface[person.triangles[:, 0]]].T
    x, y, z = person.coords.T[:, person.triangles]  # (m, 3) each
    arm, lowest, highest = person.sleeve[person.triangles], y.min(1), y.max(1)
    ends = ((arm.max(1) > 0.49) & (lowest < cuff)) | ((arm.min(1) < 0.51) & ((lowest < hem) | (highest > waist)))
    across = np.where(x.min(1) * x.max(1) <= 0, 0, np.abs(x).min(1))
    return ends | ((neck < 50) & (highest > collar)) | ((z.max(1) > 0) & (across < gap))


def _cuts(clip: Clip) -> tuple[float, ...]:
    """Give hem, cuff, waist, neck, the lowest height of its opening, and half the widest gap of an open front."""
    gap = max(clip.open_top, clip.open_hem) + 0.06 if clip.open_top >= 0 else -1.0
    return clip.hem, clip.cuff, clip.waist, clip.neck, clip.neck - 0.64 - clip.neck_depth, gap


def pack(materials: Sequence[Material]) -> dict[str, bytes]:
    """Give the uniforms of a person's materials; colours become linear.

    Raises:
        SyntheticError: more materials than the shader holds.
    """
    if len(materials) > MAX_MATERIALS:
        raise SyntheticError(f"A person has {len(materials)} materials; the shader holds {MAX_MATERIALS}.")
    table = np.zeros((6, MAX_MATERIALS, 4), np.float32)
    for i, m in enumerate(materials):
        clip = m.clip
        for row, rgb, last in ((0, m.a, m.kind), (1, m.b, clip.waist), (2, m.c, m.scale)):
            table[row, i] = (*(np.array(rgb) ** 2.2), last)
        table[3, i] = m.phase, m.detail, m.gloss, m.folds
        table[4, i] = clip.hem, clip.cuff, clip.open_top, clip.open_hem
        table[5, i] = clip.neck, clip.neck_radius, clip.neck_depth, PATTERNS.index(m.pattern)
    return {f"mat_{letter}": table[i].tobytes() for i, letter in enumerate("abcdef")}
