"""Draw people in a place with OpenGL: an image under sun and sky, with shadows, and an image of ids.

Draws off screen, by EGL or OSMesa, on a GPU if the driver offers one, else with Mesa's software rasteriser. Ids: 0 is
the place, 1 to 8 the body parts of the main person (`body.PART`), `OTHER` any other person, `PROP` a thing.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_demo.errors import SyntheticError
from reid_demo.synthetic import NEEDS, shaders, textures
from reid_demo.synthetic.fabrics import PATTERNS, Clip, Material
from reid_demo.synthetic.people import MAX_MATERIALS, Person, Posed

OTHER, PROP = 16, 15
SUN_SIZE, SKY_SIZE = 640, 192  # px of the shadow maps
REACH = 2.2  # m round the person, the area of the shadow maps
KEPT = 48  # people whose buffers stay loaded
NEAR_CENTRE = 1 / 16  # px: OpenGL guarantees no finer vertex positions


Uniform = tuple[float, float, float, float]  # a vec4 of the shaders
ORIGIN: Uniform = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Actor:
    """A posed person at a position."""

    person: Person
    posed: Posed
    yaw: float  # radians; 0 faces +z
    x: float  # m
    z: float  # m

    @property
    def at(self) -> Uniform:
        """The shaders' `place`: cosine and sine of the yaw, x and z."""
        return np.cos(self.yaw), np.sin(self.yaw), self.x, self.z


@dataclass(frozen=True)
class Light:
    """Light of a scene, linear RGB."""

    sun: tuple[float, float, float]  # unit vector towards it
    sun_colour: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    fog: tuple[float, float, float]
    fog_density: float = 0.01
    dapple: float = 0.0  # depth of the shade of leaves
    lamp: float = 0.0  # brightness of lit windows


@dataclass(frozen=True, eq=False)
class Scenery:
    """The surroundings. Meshes are `(3 k, 12)` float32: position, normal, tint, layer, tiles per metre, gloss."""

    place: np.ndarray  # floor, walls and things
    light: Light
    props: np.ndarray | None = None  # things in front of the person
    focus: tuple[float, float] = (0.0, 0.0)  # x and z, m: the centre of the shadow maps


@dataclass(frozen=True)
class Grade:
    """The colour response of a camera."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    saturation: float = 1.0
    lift: float = 0.0
    gamma: float = 0.45


@dataclass(frozen=True, eq=False)
class View:
    """A camera, and the window of its image to draw."""

    eye: np.ndarray  # (3,) m
    target: np.ndarray  # (3,) m
    window: tuple[float, float, float, float]  # left, right, bottom, top, in tangents

    def matrix(self) -> np.ndarray:
        """Return the `(4, 4)` projection of world points to clip space."""
        left, right, bottom, top = (0.2 * x for x in self.window)
        near, far = 0.2, 90.0
        m = np.zeros((4, 4))
        m[0, 0], m[0, 2] = 2 * near / (right - left), (right + left) / (right - left)
        m[1, 1], m[1, 2] = 2 * near / (top - bottom), (top + bottom) / (top - bottom)
        m[2, 2], m[2, 3], m[3, 2] = -(far + near) / (far - near), -2 * far * near / (far - near), -1
        return m @ look_at(self.eye, self.target)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the `(4, 4)` view matrix of a camera at `eye` that looks at `target`."""
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
        except Exception as error:  # drivers raise many kinds of error
            reasons.append(f"{options}: {error}")
    raise SyntheticError(
        "No off-screen OpenGL 3.3: neither EGL nor OSMesa works. On Debian or Ubuntu install libegl1 and "
        f"libgl1-mesa-dri. ({'; '.join(reasons)})"
    )


@dataclass(eq=False)
class _Loaded:
    """A person's OpenGL buffers and vertex arrays."""

    person: Person
    moving: Any  # buffer: positions and normals of the pose
    fixed: Any  # buffer: attributes that no pose changes
    index: Any  # buffer: the triangles to draw
    dressed: Any  # vertex arrays, one per program
    outline: Any
    depth: Any
    parts: Any
    uniforms: dict[str, bytes]  # of the materials
    cut: np.ndarray  # (m,) bool, see `may_be_cut`
    posed: Posed | None = None  # the pose in `moving`

    def choose(self, at: Uniform, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the rows of the triangles that an image of `size` px, `(width, height)`, needs."""
        c, s, x, z = at
        world = np.array([[c, 0, s, x], [0, 1, 0, 0], [-s, 0, c, z], [0, 0, 0, 1]])
        return np.flatnonzero(touching(self.posed.vertices, self.person.triangles, matrix @ world, size))

    def render(self, array: Any, rows: np.ndarray) -> None:
        """Draw some triangles with one of the vertex arrays."""
        if len(rows):
            self.index.write(self.person.triangles.take(rows, axis=0).tobytes())
            array.render(vertices=3 * len(rows))

    def release(self) -> None:
        """Free the OpenGL objects."""
        for thing in (self.dressed, self.depth, self.parts, self.outline, self.moving, self.fixed, self.index):
            thing.release()


@dataclass(frozen=True, eq=False)
class _Things:
    """The OpenGL objects of a place or props."""

    mesh: np.ndarray  # kept alive, because `Renderer` caches places by its id
    buffer: Any
    full: Any  # vertex arrays
    depth: Any

    def release(self) -> None:
        """Free the OpenGL objects."""
        for thing in (self.full, self.depth, self.buffer):
            thing.release()


class Renderer:
    """One OpenGL context with its programs, textures and loaded people. Not safe to share between threads."""

    def __init__(self, width: int = 128, height: int = 256, supersample: int = 2):
        """Open a context and load shaders and textures; width and height are px of the finished image.

        Raises:
            SyntheticError: there is no off-screen OpenGL.
        """
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
        self._loaded: OrderedDict[int, _Loaded] = OrderedDict()
        self._scenes: dict[int, _Things] = {}

    def _shadow_map(self, size: int) -> tuple:
        texture = self.gl.depth_texture((size, size))
        texture.compare_func, texture.repeat_x, texture.repeat_y = "<=", False, False
        return texture, self.gl.framebuffer([], texture)

    def _load(self, person: Person) -> _Loaded:
        key = id(person)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        gl, count = self.gl, len(person.rest)
        table = np.empty((count, 6), np.float32)
        table[:, :3], table[:, 3], table[:, 4], table[:, 5] = person.coords, person.sleeve, person.surface, person.part
        fixed, moving = gl.buffer(table.tobytes()), gl.buffer(reserve=count * 24, dynamic=True)
        index = gl.buffer(reserve=person.triangles.nbytes, dynamic=True)
        everything = [(moving, "3f 3f", "pos", "nrm"), (fixed, "3f 1f 1f 1f", "coord", "sleeve", "surface", "part")]
        outlined = [(moving, "3f 12x", "pos"), (fixed, "3f 1f 1f 4x", "coord", "sleeve", "surface")]
        loaded = _Loaded(
            person=person,
            moving=moving,
            fixed=fixed,
            index=index,
            dressed=gl.vertex_array(self._people, everything, index),
            outline=gl.vertex_array(self._outline, outlined, index),
            depth=gl.vertex_array(self._depth, [(moving, "3f 12x", "pos")], index),
            parts=gl.vertex_array(self._parts, [(moving, "3f 12x", "pos"), (fixed, "20x 1f", "part")], index),
            uniforms=pack(person.materials),
            cut=may_be_cut(person),
        )
        self._loaded[key] = loaded
        if len(self._loaded) > KEPT:
            self._loaded.popitem(last=False)[1].release()
        return loaded

    def _load_place(self, mesh: np.ndarray) -> _Things:
        key = id(mesh)
        if key not in self._scenes:
            self._scenes[key] = self._load_things(mesh)
        return self._scenes[key]

    def _load_things(self, mesh: np.ndarray) -> _Things:
        buffer = self.gl.buffer(mesh.astype(np.float32).tobytes())
        full = self.gl.vertex_array(self._place, [(buffer, "3f 3f 3f 3f", "pos", "nrm", "tint", "look")])
        return _Things(mesh, buffer, full, self.gl.vertex_array(self._depth, [(buffer, "3f 36x", "pos")]))

    def draw(
        self, actors: Sequence[Actor], scenery: Scenery, view: View, grade: Grade
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw people in a place.

        Args:
            actors: people, the main one first; may be empty.
            scenery: the place, its light and things in front.
            view: the camera and its window.
            grade: of the camera.

        Returns:
            `(2 H, 2 W, 3)` uint8 RGB and `(2 H, 2 W)` uint8 ids, at twice the finished size.
        """
        import moderngl

        with self.gl:  # another renderer's context may be active
            self.gl.enable(moderngl.DEPTH_TEST)
            staged = [(self._stage(actor), actor.at) for actor in actors]
            place, props = self._load_place(scenery.place), None
            if scenery.props is not None and len(scenery.props):
                props = self._load_things(scenery.props)
            shadows = _shadow_matrices(scenery)
            self._draw_shadows(staged, [place, props] if props else [place], shadows)
            self._target.use()
            self._target.clear(*self._sky_colour(scenery.light, grade), 0.0, depth=1.0)
            self._set_light(scenery.light, grade, view, shadows)
            self._draw_people(staged, view)
            self._draw_things(actors, place, props)
            width, height = self.size
            rgba = np.frombuffer(self._target.read(components=4), np.uint8).reshape(height, width, 4)[::-1]
            if props:
                props.release()
        return rgba[..., :3], rgba[..., 3]

    def _draw_shadows(
        self, staged: Sequence[tuple[_Loaded, Uniform]], things: Sequence[_Things], matrices: Sequence[np.ndarray]
    ) -> None:
        """Render the shadow maps of sun and sky."""
        for (_, frame), matrix in zip((self._sun, self._sky), matrices, strict=True):
            frame.use()
            frame.clear(depth=1.0)
            _write(self._depth, view_projection=matrix)
            for loaded, at in staged:
                self._depth["place"].value = at
                loaded.render(loaded.depth, loaded.choose(at, matrix, frame.size))
            self._depth["place"].value = ORIGIN
            for thing in things:
                thing.depth.render()

    def _set_light(self, light: Light, grade: Grade, view: View, shadows: Sequence[np.ndarray]) -> None:
        """Bind the textures and set light, camera and shadows in both programs."""
        for unit, texture in enumerate((self._sun[0], self._sky[0], self._noise, self._layers)):
            texture.use(unit)
        for program in (self._people, self._place):
            _write(program, view_projection=view.matrix(), sun_matrix=shadows[0], sky_matrix=shadows[1])
            for name, unit in (("sun_map", 0), ("sky_map", 1), ("noise_map", 2)):
                program[name].value = unit
            for name in ("sun", "sun_colour", "sky", "ground", "fog", "fog_density", "dapple", "lamp"):
                if name in program:
                    program[name].value = getattr(light, name)
            program["eye"].value = tuple(view.eye)
            program["gain"].value = grade.gain
            program["grade"].value = (grade.contrast, grade.saturation, grade.lift, grade.gamma)
        self._place["layers"].value = 3

    def _draw_things(self, actors: Sequence[Actor], place: _Things, props: _Things | None) -> None:
        """Draw props, then the place, with contact shadows under the feet of the first four people."""
        feet = np.zeros((4, 3), np.float32)
        for i, actor in enumerate(actors[:4]):
            feet[i] = actor.x, actor.z, 0.35
        self._place["feet"].write(feet.tobytes())
        if props:
            self._place["id_base"].value = PROP
            props.full.render()
        self._place["id_base"].value = 0
        place.full.render()

    def _draw_people(self, staged: Sequence[tuple[_Loaded, Uniform]], view: View) -> None:
        """Draw people in two passes: find the visible triangles, then shade only these."""
        _write(self._outline, view_projection=view.matrix())
        drawn = [loaded.choose(at, view.matrix(), self.size) for loaded, at in staged]
        starts = np.cumsum([0, *(len(rows) for rows in drawn)])
        # of two triangles at the same depth, the later one is visible
        self.gl.depth_func = "<="
        for (loaded, at), rows, start in zip(staged, drawn, starts, strict=False):
            self._outline["first"].value = int(start)
            _set_person(self._outline, loaded, at)
            loaded.render(loaded.outline, rows)
        pixels = np.frombuffer(self._target.read(components=4), np.dtype("<u4"))
        seen = np.zeros(starts[-1], bool)
        seen[pixels[pixels >= 255 << 24] & 0xFFFFFF] = True  # the last byte is 0 where there is no person
        self.gl.depth_func = "=="
        for number, ((loaded, at), rows) in enumerate(zip(staged, drawn, strict=True)):
            # a triangle whose edge was cut off can show where its depth equals a visible one's, so keep those
            shown = seen[starts[number] : starts[number + 1]] | loaded.cut[rows]
            self._people["id_base"].value = OTHER if number else 0
            _set_person(self._people, loaded, at)
            loaded.render(loaded.dressed, rows[shown])
        self.gl.depth_func = "<"

    def parts_alone(
        self, actor: Actor, view: View, others: Sequence[Actor] = (), props: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw only the ids of one person's body parts, `(128, 64)` uint8, over the view's window.

        Args:
            actor: the person.
            view: the camera and its window.
            others: people who can hide parts.
            props: things that can hide parts, as in `Scenery`.
        """
        import moderngl

        with self.gl:  # another renderer's context may be active
            self.gl.enable(moderngl.DEPTH_TEST)
            self._alone.use()
            self._alone.clear(depth=1.0)
            if props is not None and len(props):
                things = self._load_things(props)
                _write(self._depth, view_projection=view.matrix())
                self._depth["place"].value = ORIGIN
                things.depth.render()
                things.release()
            _write(self._parts, view_projection=view.matrix())
            for number, one in enumerate((actor, *others)):
                loaded = self._stage(one)
                self._parts["place"].value = one.at
                self._parts["id_base"].value = OTHER if number else 0
                loaded.render(loaded.parts, loaded.choose(one.at, view.matrix(), self._alone.size))
            return np.frombuffer(self._alone.read(components=1, alignment=1), np.uint8).reshape(128, 64)[::-1]

    def _stage(self, actor: Actor) -> _Loaded:
        """Load a person and upload the pose."""
        loaded = self._load(actor.person)
        if loaded.posed is not actor.posed:
            moving = np.concatenate([actor.posed.vertices, actor.posed.normals], 1)
            loaded.moving.write(np.ascontiguousarray(moving, np.float32).tobytes())
            loaded.posed = actor.posed
        return loaded

    def _sky_colour(self, light: Light, grade: Grade) -> tuple[float, float, float]:
        c = np.array(light.fog) * grade.gain
        c = np.clip((c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14), 0, 1) ** grade.gamma
        return tuple(float(x) for x in np.clip(grade.lift + (1 - grade.lift) * c, 0, 1))

    def close(self) -> None:
        """Release the context."""
        self.gl.release()


def _shadow_matrices(scenery: Scenery) -> tuple[np.ndarray, np.ndarray]:
    """Return the `(4, 4)` projections of the sun's and the sky's shadow map."""
    middle = np.array([scenery.focus[0], 0.95, scenery.focus[1]])
    box = _ortho(REACH, 1, 17)
    sun = box @ look_at(middle + np.array(scenery.light.sun) * 9, middle)
    return sun, box @ look_at(middle + np.array([0, 9, 0.0]), middle)


def _set_person(program: Any, loaded: _Loaded, at: Uniform) -> None:
    program["place"].value = at
    for name, values in loaded.uniforms.items():
        if name in program:
            program[name].write(values)


def touching(vertices: np.ndarray, triangles: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which triangles can cover a pixel's centre; on a fine mesh many lie between centres and draw nothing.

    Args:
        vertices: `(n, 3)`.
        triangles: `(m, 3)` rows of `vertices`.
        matrix: `(4, 4)`, to clip space.
        size: width and height of the image, px.

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
        place = (along / w + 1) * (pixels / 2) - 0.5  # an integer at a pixel's centre
        gap = np.floor(place)
        part = place - gap
        gap = gap.astype(np.int32)
        near = np.flatnonzero((part < NEAR_CENTRE) | (part > 1 - NEAR_CENTRE))
        gap[near] = -(2**30) - near  # too close to a centre: a unique value, so that no triangle is skipped
        a, b, c = (gap.take(rows) for rows in corners)
        between |= (a == b) & (b == c)
    return ~between


def _write(program, **matrices: np.ndarray) -> None:
    for name, matrix in matrices.items():
        program[name].write(np.ascontiguousarray(matrix.T, np.float32).tobytes())


def may_be_cut(person: Person) -> np.ndarray:
    """Return for each triangle whether the shader can cut part of it off at a garment's edge, `(m,)` bool."""
    rows = np.array([_cuts(material.clip) for material in person.materials], np.float32)
    hem, cuff, waist, neck, collar, gap = rows[person.surface[person.triangles[:, 0]]].T
    x, y, z = person.coords.T[:, person.triangles]  # (m, 3) each
    arm, lowest, highest = person.sleeve[person.triangles], y.min(1), y.max(1)
    ends = ((arm.max(1) > 0.49) & (lowest < cuff)) | ((arm.min(1) < 0.51) & ((lowest < hem) | (highest > waist)))
    across = np.where(x.min(1) * x.max(1) <= 0, 0, np.abs(x).min(1))
    return ends | ((neck < 50) & (highest > collar)) | ((z.max(1) > 0) & (across < gap))


def _cuts(clip: Clip) -> tuple[float, ...]:
    """Return hem, cuff, waist, neck, the neck opening's lowest height, and half an open front's widest gap."""
    gap = max(clip.open_top, clip.open_hem) + 0.06 if clip.open_top >= 0 else -1.0
    return clip.hem, clip.cuff, clip.waist, clip.neck, clip.neck - 0.64 - clip.neck_depth, gap


def pack(materials: Sequence[Material]) -> dict[str, bytes]:
    """Return the uniforms of a person's materials, with linear colours.

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
