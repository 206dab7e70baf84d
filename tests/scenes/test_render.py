"""The renderer against a slow, independent ray caster: float64, one pixel at a time, other formulas."""

import dataclasses
import hashlib
import math

import numpy as np
import pytest

from scenes import geometry
from scenes.captions import captions
from scenes.render import _shade, compose, render, view
from scenes.world import CLASSES, MAX_DEPTH, MIN_VISIBLE, SHAPES, Camera, Light, Room, Scene, Thing

INDICES = range(24)


@pytest.fixture(scope="module")
def views():
    return [view(5, i) for i in INDICES]


def pixel_ray(camera, size, row, column):
    """Direction with forward component 1, by rotating the camera's axes instead of scaling basis vectors."""
    reach = math.tan(camera.fov / 2)
    right, up = ((column + 0.5) / size * 2 - 1) * reach, (1 - (row + 0.5) / size * 2) * reach
    pitch, yaw = -camera.pitch, -camera.yaw
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    return about_z @ about_x @ np.array([right, 1.0, up])


def inside(thing, p):
    """Signed measure of a world point: negative inside the solid; plain set definitions of the shapes."""
    a, b = thing.dimensions
    q = np.array(p) - np.array(thing.centre)
    c, s = math.cos(thing.yaw), math.sin(thing.yaw)
    x, y, z = c * q[0] + s * q[1], -s * q[0] + c * q[1], q[2]
    match thing.shape:
        case "sphere":
            return math.sqrt(x * x + y * y + z * z) - a
        case "cube":
            return max(abs(x), abs(y), abs(z)) - a
        case "cylinder":
            return max(math.hypot(x, y) - a, abs(z) - b)
        case "cone":
            return max(math.hypot(x, y) - a * (b - z) / (2 * b), abs(z) - b)
        case "capsule":
            return math.sqrt((x - min(max(x, -b), b)) ** 2 + y * y + z * z) - a
        case "torus":
            x, y, z = (y, z, x) if thing.upright else (x, y, z)
            return math.hypot(math.hypot(x, y) - a, z) - b


def entry(thing, o, d):
    """First t where the ray is inside the solid: dense march through its bounding sphere, then bisection."""
    w = np.array(thing.centre) - o
    middle, half = w @ d / (d @ d), thing.bound / np.linalg.norm(d)
    if np.linalg.norm(w - middle * d) > thing.bound:
        return math.inf
    grid = np.linspace(middle - half, middle + half, 300)
    before = grid[0]
    for t in grid:
        if inside(thing, o + t * d) < 0:
            for _ in range(40):
                mid = (before + t) / 2
                before, t = (before, mid) if inside(thing, o + mid * d) < 0 else (mid, t)
            return t
        before = t
    return math.inf


def slow_pixel(scene, size, row, column):
    """(depth, semantic id, instance id) of one pixel."""
    d = pixel_ray(scene.camera, size, row, column)
    o = np.array([scene.camera.x, scene.camera.y, scene.camera.z])
    planes = [(0, -scene.room.width / 2), (0, scene.room.width / 2), (1, 0.0), (1, scene.room.depth), (2, 0.0)]
    hits = [((value - o[k]) / d[k], 0 if k == 2 else 1, 0) for k, value in planes if d[k] != 0]
    hits = [h for h in hits if h[0] > 0]
    hits += [(entry(t, o, d), CLASSES.index(t.shape), k + 1) for k, t in enumerate(scene.things)]
    return min(hits)


@pytest.mark.parametrize("size", [64, 48])
def test_depth_and_labels_agree_with_a_slow_ray_caster(size):
    rng = np.random.default_rng(0)
    wrong, shapes, compared = 0, set(), 0
    for index in INDICES:
        shot = view(5, index, size)
        spots = [tuple(rng.integers(0, size, 2)) for _ in range(6)]
        for k in range(len(shot.scene.things)):
            rows, columns = np.nonzero(shot.instance == k + 1)
            spots += [(rows[i], columns[i]) for i in rng.integers(0, rows.size, 3)]
        for row, column in spots:
            depth, semantic, instance = slow_pixel(shot.scene, size, row, column)
            compared += 1
            if (semantic, instance) != (shot.semantic[row, column], shot.instance[row, column]):
                wrong += 1  # a ray within rounding of a silhouette
                continue
            assert shot.depth[row, column] == pytest.approx(depth, abs=3e-3), (index, row, column, CLASSES[semantic])
            shapes.add(CLASSES[semantic])
    assert shapes == set(CLASSES)
    assert wrong <= 0.005 * compared


def test_every_shape_alone_against_the_slow_ray_caster():
    camera = Camera(0.0, 0.3, 1.6, 0.1, 0.35, 0.9)
    for shape in SHAPES:
        for upright in (False, True):
            thing = Thing(shape, "red", "matte", "large", 0.5, 0.3, 2.6, 0.7, upright, (200, 40, 40))
            scene = Scene(camera, Light(0.5, 1.0, 3.0, 1.0, 0.4, (1, 1, 1)), ROOM, (thing,), 0.0)
            shot = render(scene, 32, np.random.default_rng(0))
            slow = np.array([[slow_pixel(scene, 32, r, c) for c in range(32)] for r in range(8, 28)])
            same = slow[..., 2] == shot.instance[8:28]
            assert (~same).sum() <= 1, shape
            assert np.abs(slow[..., 0] - shot.depth[8:28])[same].max() < 3e-3, shape
            assert shot.instance.sum() > 60


ROOM = Room(5.0, 6.0, "concrete", (140, 140, 140), "plain", (200, 200, 200), 0.0, 1.0, 1)


def test_normals_are_unit_and_point_out_of_the_solid():
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        thing = Thing(shape, "red", "matte", "large", 0.5, 0.0, 0.0, 0.6, False, (1, 1, 1))
        direction = rng.normal(size=(3, 400)).astype(np.float32)
        direction /= np.linalg.norm(direction, axis=0)
        start = tuple(-3 * c for c in direction + rng.uniform(-0.1, 0.1, (3, 1)).astype(np.float32))
        t = geometry.intersect(thing, start, tuple(direction))
        hit = np.isfinite(t)
        assert hit.sum() > 100 or shape == "torus"
        p = tuple((start[k] + t * direction[k])[hit] for k in range(3))
        n = np.stack(geometry.normal(thing, p))
        assert np.allclose(np.linalg.norm(n, axis=0), 1, atol=1e-4)
        assert (np.sum(n * direction[:, hit], axis=0) < 1e-2).all(), shape
        for k in np.flatnonzero(hit[hit])[:60]:
            local = np.array([c[k] for c in p], np.float64)
            world = np.array(geometry.to_world(thing, tuple(local))) + thing.centre
            outward = np.array(geometry.to_world(thing, tuple(n[:, k].astype(np.float64))))
            assert inside(thing, world + 2e-3 * outward) > 0 > inside(thing, world - 2e-3 * outward), shape


def test_same_bits_every_time_and_other_bits_for_other_addresses(views):
    again = view(5, 3)
    assert again.rgb.tobytes() == views[3].rgb.tobytes()
    assert again.depth.tobytes() == views[3].depth.tobytes()
    assert again.scene == views[3].scene
    assert captions(again, 5, 3) == captions(views[3], 5, 3)
    digests = {hashlib.sha256(v.rgb.tobytes()).hexdigest() for v in views} | {
        hashlib.sha256(view(6, 3).rgb.tobytes()).hexdigest()
    }
    assert len(digests) == len(views) + 1


def test_the_scene_does_not_depend_on_the_image_size():
    assert view(5, 3, 32).scene == view(5, 3, 96).scene
    small, large = view(5, 3, 32), view(5, 3, 96)
    assert (small.semantic == large.semantic[1::3, 1::3]).all()  # the same pixel centres
    assert np.abs(small.depth - large.depth[1::3, 1::3]).max() < 2e-3


def test_scenes_are_sane(views):
    for shot in views:
        count = len(shot.scene.things)
        assert 2 <= count <= 6
        assert shot.rgb.dtype == np.uint8 and shot.rgb.shape == (64, 64, 3)
        assert shot.depth.dtype == np.float32 and shot.depth.min() > 0.2 and shot.depth.max() < MAX_DEPTH
        pixels = np.bincount(shot.instance.ravel(), minlength=count + 1)
        assert pixels.size == count + 1 and pixels[1:].min() >= MIN_VISIBLE
        names = [(t.colour, t.shape) for t in shot.scene.things]
        assert len(set(names)) == count
        for k, thing in enumerate(shot.scene.things):
            assert (shot.semantic[shot.instance == k + 1] == CLASSES.index(thing.shape)).all()
            assert abs(thing.x) + thing.footprint < shot.scene.room.width / 2
            for other in shot.scene.things[:k]:
                gap = math.hypot(thing.x - other.x, thing.y - other.y)
                assert gap > thing.footprint + other.footprint
        assert (shot.semantic[shot.instance == 0] <= 1).all()
        assert 40 < shot.rgb.mean() < 215


def test_the_nearer_solid_hides_the_farther_and_casts_a_shadow():
    near = Thing("sphere", "red", "matte", "medium", 0.4, 0.0, 2.4, 0.0, False, (200, 40, 40))
    far = Thing("cube", "blue", "matte", "large", 0.7, 0.0, 3.8, 0.3, False, (40, 60, 200))
    light = Light(-2.0, 2.4, 2.5, 1.0, 0.35, (1.0, 1.0, 1.0))
    camera = Camera(0.0, 0.3, 1.2, 0.0, 0.3, 1.0)

    def shoot(*things):
        return render(Scene(camera, light, ROOM, things, 0.0), 64, np.random.default_rng(0))

    empty, one, both, swapped = shoot(), shoot(near), shoot(near, far), shoot(far, near)
    assert (both.instance[one.instance == 1] == 1).all()  # nothing covers the near one
    assert (both.semantic == swapped.semantic).all() and (both.depth == swapped.depth).all()
    assert (both.instance == 2).sum() > 100
    changed = (one.rgb.astype(int) - empty.rgb).sum(-1)
    floor = (one.semantic == 0) & (empty.semantic == 0)
    shadow = floor & (changed < -60)
    assert shadow.sum() > 30 and not (floor & (changed > 60)).any()
    assert np.nonzero(shadow)[1].mean() > np.nonzero(one.instance == 1)[1].mean()  # away from a light on the left


def test_shadow_edges_agree_with_slow_shadow_rays():
    scene, _ = compose(5, 1)
    d = geometry.rays(scene.camera, 64)
    depth, surface = geometry.cast(scene, d)
    eye = np.array([scene.camera.x, scene.camera.y, scene.camera.z])
    light = np.array([scene.light.x, scene.light.y, scene.light.z])
    floor = np.flatnonzero(surface == geometry.FLOOR)
    p = tuple((eye[k] + depth * d[k])[floor] for k in range(3))
    n = (np.zeros_like(p[0]), np.zeros_like(p[0]), np.ones_like(p[0]))
    dark = geometry.shadowed(scene, surface[floor], p, n)
    picks = np.random.default_rng(2).integers(0, floor.size, 200)
    slow = []
    for k in picks:
        point = np.array([c[k] for c in p], np.float64)
        slow.append(any(0 < entry(t, point, light - point) < 1 for t in scene.things))
    assert 0 < sum(slow) < 200
    assert (np.array(slow) != dark[picks]).sum() <= 2


def test_edges_are_the_mean_of_2_by_2_rays_and_the_rest_is_close_to_it():
    scene = dataclasses.replace(compose(5, 1)[0], noise=0.0)
    shot = render(scene, 64, np.random.default_rng(0))
    total = np.zeros((3, 64 * 64))
    for shift in ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)):
        shift = [np.full(64 * 64, s, np.float32) for s in shift]
        d = geometry.rays(scene.camera, 64, np.arange(64 * 64), shift)
        total += _shade(scene, d, *geometry.cast(scene, d))
    difference = np.abs((total / 4).T.reshape(64, 64, 3) - shot.rgb).max(-1)  # [3, 64 * 64] -> [64, 64]
    edge = np.zeros((64, 64), bool)
    for row in range(64):
        for column in range(64):
            around = [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
            around = [shot.instance[r, c] for r, c in around if 0 <= r < 64 and 0 <= c < 64]
            edge[row, column] = any(a != shot.instance[row, column] for a in around)
    assert edge.sum() > 100
    assert difference[edge].max() <= 0.51  # rounding to whole numbers
    assert np.percentile(difference[~edge], 90) < 4
