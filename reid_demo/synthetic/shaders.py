"""The renderer's GLSL. Patterns and kinds are numbered as in `fabrics`; the alpha channel holds the ids."""

PERSON_VERTEX = """#version 330
in vec3 pos; in vec3 nrm; in vec3 coord; in float sleeve; in float surface; in float part;
uniform mat4 view_projection; uniform mat4 sun_matrix; uniform mat4 sky_matrix;
uniform vec4 place;  // cos and sin of the yaw, x, z
out vec3 world; out vec3 normal; out vec3 cloth_at; out float arm; flat out int m; flat out float body_part;
out vec3 sun_at; out vec3 sky_at;
invariant gl_Position;
vec3 turn(vec3 v) { return vec3(place.x * v.x + place.y * v.z, v.y, -place.y * v.x + place.x * v.z); }
void main() {
  world = turn(pos) + vec3(place.z, 0., place.w);
  normal = turn(nrm); cloth_at = coord; arm = sleeve; m = int(surface + .5); body_part = part;
  sun_at = (sun_matrix * vec4(world, 1.)).xyz * .5 + .5;
  sky_at = (sky_matrix * vec4(world, 1.)).xyz * .5 + .5;
  gl_Position = view_projection * vec4(world, 1.);
}"""

LIGHT = """
uniform vec3 sun; uniform vec3 sun_colour; uniform vec3 sky; uniform vec3 ground; uniform vec3 eye;
uniform vec3 fog; uniform float fog_density; uniform float dapple; uniform float lamp;
uniform vec3 gain; uniform vec4 grade;  // contrast, saturation, lifted blacks, gamma
uniform sampler2DShadow sun_map; uniform sampler2DShadow sky_map; uniform sampler3D noise_map;
vec4 noise(vec3 p) { return texture(noise_map, p); }
float lit(vec3 q, float bias) {
  if (q.x < .01 || q.x > .99 || q.y < .01 || q.y > .99) return 1.;
  float d = 1.1 / 640.; vec3 at = q - vec3(0., 0., bias);
  float s = texture(sun_map, at + vec3(d, d, 0.)) + texture(sun_map, at + vec3(-d, d, 0.));
  return .25 * (s + texture(sun_map, at + vec3(d, -d, 0.)) + texture(sun_map, at + vec3(-d, -d, 0.)));
}
float open_sky(vec3 q) {
  if (q.x < .02 || q.x > .98 || q.y < .02 || q.y > .98) return 1.;
  float d = 4. / 192.; vec3 at = q - vec3(0., 0., .006);
  float s = texture(sky_map, at + vec3(d, .4 * d, 0.)) + texture(sky_map, at + vec3(-d, -.4 * d, 0.));
  return .25 * (s + texture(sky_map, at + vec3(-.5 * d, d, 0.)) + texture(sky_map, at + vec3(.5 * d, -1.6 * d, 0.)));
}
float shade_of_leaves(vec3 at) {
  if (dapple <= 0.) return 1.;
  return mix(1., smoothstep(.44, .56, noise(vec3(at.xz * .11, at.y * .03)).a), dapple);
}
vec3 develop(vec3 c, vec3 at) {
  float away = length(eye - at);
  c = mix(c, fog, 1. - exp(-max(away - 6., 0.) * fog_density));
  c *= gain;
  c = clamp((c * (2.51 * c + .03)) / (c * (2.43 * c + .59) + .14), 0., 1.);
  c = pow(c, vec3(grade.w));
  float grey = dot(c, vec3(.3, .59, .11));
  c = mix(vec3(grey), c, grade.y);
  c = (c - .42) * grade.x + .42;
  return grade.z + (1. - grade.z) * clamp(c, 0., 1.);
}
"""

MATERIALS = """
uniform vec4 mat_a[24]; uniform vec4 mat_b[24]; uniform vec4 mat_c[24];  // colours; kind, waist, scale
uniform vec4 mat_d[24]; uniform vec4 mat_e[24]; uniform vec4 mat_f[24];  // phase, detail, gloss, folds; clip; pattern
"""

OUTLINE_FRAGMENT = (
    """#version 330
in vec3 cloth_at; in float arm; flat in int m;
out vec4 picture; uniform int first;  // number of the first triangle
"""
    + MATERIALS
    + """
// First pass: cuts cloth at its edges (`renderer.may_be_cut` says so of whole triangles) and fills the depth, so that
// the costly pass below shades each pixel once. The picture gets the number of the triangle that is seen.
void main() {
  vec4 e = mat_e[m], f = mat_f[m]; vec3 p = cloth_at; bool sleeve = arm > .5, gone = false;
  gone = sleeve ? p.y < e.y : (p.y < e.x || p.y > mat_b[m].a);
  float low = f.x - .28 * clamp(p.z, -.5, 1.2) - .3, v_low = low - f.z;
  if (f.x < 50. && arm < .9) {
    bool v_neck = f.z > 0. && p.z > .2;
    float wide = v_neck ? f.y * clamp((p.y - v_low) / (f.z + .55), 0., 1.) : f.y;
    gone = gone || (length(vec2(p.x, v_neck ? 0. : p.z - .1)) < wide && p.y > (v_neck ? v_low : low));
    gone = gone || (p.y > f.x + .42 && arm < .3);
  }
  float half_gap = mix(e.w, e.z, clamp((p.y + 1.) / 5., 0., 1.)) + .05 * sin(p.y * 1.7 + mat_d[m].x);
  gone = gone || (e.z >= 0. && p.z > 0. && !sleeve && abs(p.x) < half_gap);
  if (gone && mat_a[m].a < .5) discard;
  int number = first + gl_PrimitiveID;
  picture = vec4(number & 255, (number >> 8) & 255, number >> 16, 255) / 255.;
}"""
)

PERSON_FRAGMENT = (
    """#version 330
in vec3 world; in vec3 normal; in vec3 cloth_at; in float arm; flat in int m; flat in float body_part;
in vec3 sun_at; in vec3 sky_at;
out vec4 picture;
uniform float id_base;
"""
    + MATERIALS
    + LIGHT
    + """
float band(float x, float w) { return smoothstep(.5 - w, .5 + w, abs(fract(x) - .5) * 2.); }
// n: noise at the pattern's own scale
vec3 weave(vec3 p, vec4 n) {
  vec3 a = mat_a[m].rgb, b = mat_b[m].rgb, c = mat_c[m].rgb, k = a;
  int t = int(mat_f[m].w + .5); float s = mat_c[m].a, phase = mat_d[m].x, detail = mat_d[m].y;
  bool front = p.z > .1 && arm < .3;
  if (t == 1) k = mix(a, b, smoothstep(.45, .55, abs(fract(p.y * .9 * s) - .5) * (1.1 + detail)));
  else if (t == 2) k = mix(a, b, smoothstep(.66, .74, fract(p.x * 1.5 * s)));
  else if (t == 3) {
    k = mix(a, b, .5 * band(p.y * .8 * s, .08) + .5 * band(p.x * .8 * s, .08));
    k = mix(k, c, .55 * step(.92, fract(p.y * .8 * s + .3)));
    k = mix(k, c, .55 * step(.92, fract(p.x * .8 * s + .3)));
  }
  else if (t == 4) {
    vec2 q = p.xy * 1.6 * s; q.x += .5 * mod(floor(q.y), 2.);
    k = mix(b, a, smoothstep(.2, .26, length(fract(q) - .5)));
  }
  else if (t == 5) {
    float y = 3.2 + 1.1 * sin(phase);
    k = detail > .5 && abs(p.y - y) < .16 ? c : (p.y > y ? b : a);
  }
  else if (t == 6) k = n.a > .54 ? b : (n.r > .56 ? c : a);
  else if (t == 7) {
    bool here = (sin(phase * 7.) > -.6) ? front : (p.z < 0. && arm < .3);
    vec2 q = vec2(p.x, p.y - 3.7 - .3 * sin(phase * 3.)); float kind = mod(floor(phase * 3.), 5.);
    float d = kind < 1. ? length(q) - .72 : (kind < 2. ? max(abs(q.x) - .95, abs(q.y) - .3) :
      (kind < 3. ? max(abs(q.x) - .62, abs(q.y) - .75) :
      (kind < 4. ? max(abs(q.y - .3 * sin(q.x * 2.5)) - .2, abs(q.x) - 1.1) : length(q - vec2(.55, .3)) - .2)));
    if (here && d < 0.) k = n.a > .5 ? b : mix(b, c, .7);
  }
  else if (t == 8) {
    k = a * (.88 + .24 * n.a);
    float fade = smoothstep(.3, 1., 1. - abs(abs(p.x) - 1.3) * 1.2) * smoothstep(-.2, .8, p.z);
    fade *= smoothstep(.2, -1.8, p.y) * smoothstep(-7.5, -4., p.y);
    k = mix(k, k * 1.6 + .03, fade * detail);
    if (abs(abs(p.x) - 2.1) < .03 && p.z > -.4) k *= .75;
  }
  else if (t == 9) k = arm > .3 || p.y > 5.35 ? b : a;
  else if (t == 11) k = abs(p.z - .1) < .16 && abs(p.x) > .4 ? b : a;
  else if (t == 12) {
    if (front && abs(p.x) < .12) k = a * .84;
    if (front && length(vec2(p.x, (fract(p.y * 1.3) - .5) / 1.3)) < .065) k = mix(a, vec3(.75), .6);
  }
  else if (t == 13) k = mix(a, b, smoothstep(0., 5., p.y));
  else if (t == 14) k = n.a > .57 ? b : (n.g > .6 ? c : a);
  else if (t == 15) {
    if (front && abs(p.x) < .05) k = mix(a * .5, vec3(.4), .25 * detail);
    if (front && abs(abs(p.x) - .85) < .5 && abs(p.y - 1.6 - (abs(p.x) - .85) * .8) < .045) k = a * .62;
  }
  else if (t == 16) k = p.y > 4.1 && arm < .5 ? b : a;
  else if (t == 17) k = p.y < -7.95 ? b : a;
  return k;
}
vec3 face(vec3 p, vec3 k, vec4 n) {
  vec2 brow = vec2(abs(p.x) - .34, p.y - 7.53), socket = vec2(abs(p.x) - .33, p.y - 7.28) / vec2(.3, .16);
  float lips = length(vec2(p.x, p.y - 6.47) / vec2(.30, .10)), beard = mat_d[m].y;
  if (p.z > .8) {
    if (abs(brow.x) < .27 && abs(brow.y + brow.x * brow.x * .8) < .06) k = mix(k, mat_b[m].rgb, .75);
    if (lips < 1.) k = mat_c[m].rgb;
    k *= 1. - .25 * exp(-dot(socket, socket));
    if (length(vec2(abs(p.x) - .11, p.y - 6.78)) < .05) k *= .55;
  }
  if (beard > 0. && p.y < 6.98 && p.y > 5.9 && p.z > .15 && lips > 1. && (abs(p.x) > .45 || p.y < 6.75))
    k = mix(k, mat_b[m].rgb, .8 * beard * smoothstep(7., 6.7, p.y) * (.6 + .6 * n.a));
  return k;
}
void main() {
  vec3 p = cloth_at; int kind = int(mat_a[m].a + .5);
  vec3 n = normalize(normal), v = normalize(eye - world);
  if (dot(n, v) < 0.) n = -n;
  vec3 k = mat_a[m].rgb;
  float gloss = mat_d[m].z, phase = mat_d[m].x, f = mat_d[m].w, s = mat_c[m].a, t = mat_f[m].w, wrap = .12, shine = 24.;
  // the same few look-ups serve every kind of surface: software rasterisers pay for both sides of a branch
  bool hair = kind == 2;
  vec4 big = noise(hair ? vec3(p.x * 1.5, p.y * .16, p.z * 1.5) : p * vec3(.05, .035, .05) + phase * .13);
  vec4 mid = noise(hair ? vec3(p.x * .8, p.y * .1, p.z * .8) : p * vec3(.10, .17, .10) + phase * .31);
  float scale = kind == 1 ? .5 : (t > 7.5 && t < 8.5 ? .7 : (t > 13.5 && t < 14.5 ? .5 : t > 6.5 ? .24 : .12) * s);
  vec4 fine = noise(scale * p + phase);
  float shade = 1.;
  if (kind == 0) {
    k = weave(p, fine);
    vec3 at = p.yyy + (arm > .5 ? vec3(-3., -1., 0.) : vec3(3.7, 7.2, -1.2));
    vec3 bends = exp(-at * at / vec3(1., .6, .8)) * (arm > .5 ? vec3(1., .8, 0.) : vec3(1., 1., .7));
    float bend = bends.x + bends.y + bends.z;
    n = normalize(n + f * ((big.rgb - .5) * 2.1 + (mid.rgb - .5) * (.9 + 1.2 * bend)));
    shade = 1. + f * ((big.a - .5) * .75 + (mid.a - .5) * (.4 + .5 * bend));
  } else if (kind == 1) {
    k *= .95 + .1 * fine.a; wrap = .3;
    k = face(p, mix(k, k * vec3(1.06, .93, .9), smoothstep(.5, .62, mid.a)), fine);
  } else if (hair) {
    k *= .35 + .8 * big.a + .5 * mid.a; shine = 12.;
    n = normalize(n + .9 * (mid.rgb - .5));
  } else if (kind == 3 && length(vec2(abs(p.x) - .31, p.y - 7.28)) < .09 && p.z > 1.) k = vec3(.012, .008, .006);
  float lit_by_sun = lit(sun_at, .004) * shade_of_leaves(world);
  float direct = max((dot(n, sun) + wrap) / (1. + wrap), 0.) * lit_by_sun;
  float sky_seen = mix(.32, 1., open_sky(sky_at)) * mix(.68, 1., smoothstep(0., 1.0, world.y));
  vec3 ambient = mix(ground, sky * mix(1., sky_seen, .9), .5 + .5 * n.y) * mix(.6, 1., sky_seen);
  vec3 c = k * shade * (ambient + sun_colour * direct);
  float rim = 1. - max(dot(n, v), 0.);
  float glint = pow(max(dot(n, normalize(sun + v)), 0.), shine);
  c += gloss * (sun_colour * lit_by_sun * glint + sky * (.04 + .5 * rim * rim * rim) * sky_seen);
  picture = vec4(develop(c, world), (id_base > 0. ? id_base : body_part) / 255.);
}"""
)

PLACE_VERTEX = """#version 330
in vec3 pos; in vec3 nrm; in vec3 tint; in vec3 look;  // layer, tiles a metre, gloss
uniform mat4 view_projection; uniform mat4 sun_matrix; uniform mat4 sky_matrix;
out vec3 world; out vec3 normal; out vec3 colour; flat out vec3 surface; out vec3 sun_at; out vec3 sky_at;
void main() {
  world = pos; normal = nrm; colour = tint; surface = look;
  sun_at = (sun_matrix * vec4(pos, 1.)).xyz * .5 + .5; sky_at = (sky_matrix * vec4(pos, 1.)).xyz * .5 + .5;
  gl_Position = view_projection * vec4(pos, 1.);
}"""

PLACE_FRAGMENT = (
    """#version 330
in vec3 world; in vec3 normal; in vec3 colour; flat in vec3 surface; in vec3 sun_at; in vec3 sky_at;
out vec4 picture;
uniform sampler2DArray layers; uniform float id_base; uniform vec3 feet[4];  // x, z, strength
"""
    + LIGHT
    + """
void main() {
  vec3 n = normalize(normal), v = normalize(eye - world), w = abs(n);
  if (dot(n, v) < 0.) n = -n;
  vec2 q = w.y > .7 ? world.xz : (w.x > w.z ? vec2(world.z, -world.y) : vec2(world.x, -world.y));
  vec4 t = texture(layers, vec3(q * surface.y, surface.x));
  vec3 k = t.rgb * t.rgb * colour;
  k *= .72 + .56 * noise(world * .045).a;
  if (n.y < .5) k *= mix(.7, 1., smoothstep(0., .35, world.y));
  float s = lit(sun_at, .003) * shade_of_leaves(world);
  float sky_seen = mix(.5, 1., open_sky(sky_at));
  if (n.y > .7) for (int i = 0; i < 4; i++) sky_seen *= 1. - feet[i].z * exp(-dot(world.xz - feet[i].xy, world.xz -
      feet[i].xy) / .05);
  vec3 c = k * (mix(ground, sky, .5 + .5 * n.y) * sky_seen + sun_colour * max(dot(n, sun), 0.) * s);
  float rim = pow(1. - max(dot(n, v), 0.), 4.);
  c += surface.z * (sky * (.06 + .9 * rim) + sun_colour * s * pow(max(dot(n, normalize(sun + v)), 0.), 40.));
  c += t.a * lamp * (.3 + t.rgb) * vec3(1.0, .82, .58);
  picture = vec4(develop(c, world), id_base / 255.);
}"""
)

DEPTH_VERTEX = """#version 330
in vec3 pos; uniform mat4 view_projection; uniform vec4 place;
void main() {
  vec3 w = vec3(place.x * pos.x + place.y * pos.z + place.z, pos.y, -place.y * pos.x + place.x * pos.z + place.w);
  gl_Position = view_projection * vec4(w, 1.);
}"""
DEPTH_FRAGMENT = "#version 330\nvoid main() {}"

PARTS_VERTEX = """#version 330
in vec3 pos; in float part; uniform mat4 view_projection; uniform vec4 place; flat out float body_part;
void main() {
  vec3 w = vec3(place.x * pos.x + place.y * pos.z + place.z, pos.y, -place.y * pos.x + place.x * pos.z + place.w);
  body_part = part; gl_Position = view_projection * vec4(w, 1.);
}"""
PARTS_FRAGMENT = """#version 330
flat in float body_part; uniform float id_base; layout(location = 0) out vec4 who;
void main() { who = vec4((id_base > 0. ? id_base : body_part) / 255., 0., 0., 1.); }"""
