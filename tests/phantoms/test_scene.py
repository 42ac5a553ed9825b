"""Frames, motions, bodies and scanners of which the phantoms in millimeters are made."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.phantoms import ct, mr, scene
from nnunet_ext.phantoms.combined import Common, Grown, Union, Without
from nnunet_ext.phantoms.materials import Appearance, Material, Tone, label_values
from nnunet_ext.phantoms.phantom import FieldOfView
from nnunet_ext.phantoms.rigid import RigidMotion, random_motion
from nnunet_ext.phantoms.scene import Coat, Layers, Stroke, Warped, portray
from nnunet_ext.phantoms.shapes import Waves
from nnunet_ext.phantoms.solids import Capsule, Ellipsoid, Half, tube
from nnunet_ext.phantoms.view import Frame, View, Warp

angle = st.floats(-80, 80)
length = st.floats(-30, 30)
FRAME = Frame(size_vox=(20, 24, 28), spacing_mm=(2.0, 1.5, 1.0), center_mm=(3.0, -2.0, 5.0))
PLAIN = {Material.AIR: Tone(0, 0), Material.FAT: Tone(1, 1), Material.MUSCLE: Tone(2, 2)}


def painted(frame: Frame, *strokes: scene.Paint) -> np.ndarray:
    look = Appearance.draw(PLAIN, np.random.default_rng(0))
    return portray(frame, strokes, [look])[0]


def volume_ml(tissue: np.ndarray, frame: Frame) -> float:
    return float((tissue > 0).sum() * np.prod(frame.spacing_mm) / 1000)


@given(turn=st.tuples(angle, angle, angle), shift=st.tuples(length, length, length))
def test_motion_is_simpleitks(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> None:
    motion = RigidMotion(turn_deg=turn, shift_mm=shift, center_mm=(4.0, -7.0, 11.0))
    points = np.random.default_rng(0).uniform(-50, 50, size=(5, 3))
    transform = SimpleITK.Euler3DTransform()
    transform.SetComputeZYX(True)
    transform.SetCenter(motion.center_mm[::-1])
    z, y, x = np.radians(turn)
    transform.SetRotation(x, y, z)
    transform.SetTranslation(shift[::-1])
    expected = [transform.TransformPoint(point[::-1].tolist())[::-1] for point in points]
    np.testing.assert_allclose(motion.move(points), expected, atol=1e-9)
    np.testing.assert_allclose(motion.undo(motion.move(points)), points, atol=1e-9)


def test_random_motion_stays_in_its_bounds() -> None:
    motions = [random_motion(seed=seed, most_turn_deg=2, most_shift_mm=3) for seed in range(50)]
    assert 1.5 < np.abs([m.turn_deg for m in motions]).max() <= 2
    assert 2.5 < np.abs([m.shift_mm for m in motions]).max() <= 3
    assert motions[0] == random_motion(seed=0, most_turn_deg=2, most_shift_mm=3)
    with pytest.raises(ValueError, match="most_turn_deg must be >= 0, got -1"):
        random_motion(seed=0, most_turn_deg=-1)


@pytest.mark.parametrize("turn", [(0, 0, 0), (20, -10, 5)])
def test_fields_are_fixed_in_the_patient(turn: tuple[float, float, float]) -> None:
    """A field seen in a moved frame has the values that it has at the patient's points."""
    motion = RigidMotion(turn_deg=turn, shift_mm=(3, 2, -4) if any(turn) else (0, 0, 0), center_mm=(1, 2, 3))
    view = View.of(FRAME.slices(0, 20), motion)
    waves = Waves.draw(np.random.default_rng(0), wavelength=12)
    z, y, x = np.meshgrid(view.image.z.ravel(), view.image.y.ravel(), view.image.x.ravel(), indexing="ij")
    patient = motion.undo(np.stack([z.ravel(), y.ravel(), x.ravel()], axis=1).astype(float))
    np.testing.assert_allclose(view.field(waves).ravel(), waves.at(patient), atol=2e-3)
    for axis, column in zip((view.grid.z, view.grid.y, view.grid.x), patient.T, strict=True):
        np.testing.assert_allclose(np.broadcast_to(axis, FRAME.size_vox).ravel(), column, atol=1e-4)


def test_pieces_and_boxes_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same picture whether painted at once or slice by slice, still, turned or warped."""
    rng = np.random.default_rng(1)
    warp = Warp.draw(rng, wavelength_mm=40, amplitude_mm=1.5)
    bodies = [
        Stroke(Ellipsoid(np.array([3.0, -2, 5]), np.array([14.0, 9, 7])), Material.FAT),
        *(Stroke(piece, Material.MUSCLE) for piece in tube(rng.uniform(-9, 9, size=(5, 3)), [2, 3, 1, 2, 3])),
    ]
    for motion in (RigidMotion(), RigidMotion(turn_deg=(15, 8, -20), shift_mm=(1, 2, 3))):
        frame = Frame(FRAME.size_vox, FRAME.spacing_mm, FRAME.center_mm, motion)
        for strokes in (bodies, [Warped(bodies, warp, np.full(3, -40.0), np.full(3, 40.0))]):
            monkeypatch.setattr(scene, "_PIECE_VOX", 10**9)
            whole = painted(frame, *strokes)
            monkeypatch.setattr(scene, "_PIECE_VOX", 1)
            np.testing.assert_array_equal(painted(frame, *strokes), whole)
            # Without the boxes that skip voxels far from a body.
            monkeypatch.setattr(View, "box_of", lambda *_: (slice(None),) * 3)
            np.testing.assert_array_equal(painted(frame, *strokes), whole)
            monkeypatch.undo()
            assert len(np.unique(whole)) == 3


def test_warp_moves_points_where_it_moves_voxels() -> None:
    warp = Warp.draw(np.random.default_rng(0), wavelength_mm=60, amplitude_mm=2)
    center = np.array([2.0, 0, 4])
    frame = Frame(size_vox=(60, 60, 60), spacing_mm=(0.5, 0.5, 0.5), center_mm=(2.0, 0.0, 4.0))
    ball = Stroke(Ellipsoid(center, np.full(3, 2.0)), Material.FAT)
    tissue = painted(frame, Warped([ball], warp, np.full(3, -40.0), np.full(3, 40.0)))
    found = np.argwhere(tissue > 0).mean(axis=0) * 0.5 + frame.origin_mm
    there = warp.to_patient(center[None])[0]
    assert np.linalg.norm(there - center) > 0.5
    assert np.linalg.norm(found - there) < 0.2


def test_volumes_of_bodies() -> None:
    frame = Frame(size_vox=(60, 60, 60), spacing_mm=(1.0, 1.0, 1.0))
    turned = RigidMotion(turn_deg=(30, 20, 10)).matrix
    egg = Ellipsoid(np.zeros(3), np.array([20.0, 12, 8]), turned)
    rod = Capsule(np.array([0.0, 0, -15]), np.array([0.0, 0, 15]), 5, 5)
    ball = Ellipsoid(np.zeros(3), np.full(3, 15.0))
    cases = [
        (egg, 4 / 3 * pi * 20 * 12 * 8),
        (rod, pi * 25 * 30 + 4 / 3 * pi * 125),
        (Grown(ball, 3), 4 / 3 * pi * 18**3),
        (Common([ball, Half(np.zeros(3), np.array([1.0, 0, 0]))]), 2 / 3 * pi * 15**3),
        (Without(ball, Ellipsoid(np.zeros(3), np.full(3, 10.0))), 4 / 3 * pi * (15**3 - 10**3)),
        (Union([ball, Ellipsoid(np.zeros(3), np.full(3, 10.0))]), 4 / 3 * pi * 15**3),
    ]
    for solid, expected_mm3 in cases:
        found = volume_ml(painted(frame, Stroke(solid, Material.FAT)), frame)
        assert found == pytest.approx(expected_mm3 / 1000, rel=0.03)
        low, high = solid.bounds
        corners = np.argwhere(painted(frame, Stroke(solid, Material.FAT))) - 29.5
        assert (corners >= low - 0.01).all()
        assert (corners <= high + 0.01).all()


def test_thin_tubes_stay_connected_on_a_coarse_grid() -> None:
    from scipy import ndimage

    frame = Frame(size_vox=(20, 30, 30), spacing_mm=(6.0, 3.0, 3.0))
    curve = np.array([[-50.0, -40, -40], [-10, 20, 0], [20, 0, 30], [50, 38, 38]])
    for least, connected in (((0.0, 0.0, 0.0), False), ((4.5, 2.25, 2.25), True)):
        pieces = tube(curve, [0.8] * 4, thinnest_mm=least)
        tissue = painted(frame, *(Stroke(piece, Material.FAT) for piece in pieces))
        assert (ndimage.label(tissue, np.ones((3, 3, 3)))[1] == 1) == connected


def test_layers_are_strokes() -> None:
    ball = Ellipsoid(np.array([3.0, -2, 5]), np.full(3, 6.0))
    apart = painted(
        FRAME,
        Stroke(Grown(ball, 2), Material.FAT),
        Stroke(ball, Material.MUSCLE, over={Material.FAT}),
    )
    coats = [
        Coat(lambda level, _: level + np.float32(2), Material.FAT),
        Coat(lambda level, _: level, Material.MUSCLE, over={Material.FAT}),
    ]
    np.testing.assert_array_equal(painted(FRAME, Layers(ball, coats, margin_mm=3)), apart)
    assert len(np.unique(apart)) == 3


def test_a_material_without_a_signal_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"none for \['LIVER'\]"):
        painted(FRAME, Stroke(Ellipsoid(np.zeros(3), np.full(3, 9.0)), Material.LIVER))


def test_labels_must_be_of_distinct_materials() -> None:
    labels = {"background": 0, "a": 1, "b": 2}
    with pytest.raises(ValueError, match="FAT belongs to two labels"):
        label_values(labels, {"a": (Material.FAT,), "b": (Material.FAT,)})
    with pytest.raises(ValueError, match="'b' has no materials"):
        label_values(labels, {"a": (Material.FAT,)})


def test_frame_places_voxels() -> None:
    slices = FRAME.slices(0, 20)
    assert FRAME.origin_mm == (3.0 - 19, -2.0 - 11.5 * 1.5, 5.0 - 13.5)
    np.testing.assert_allclose(slices.z.ravel()[[0, -1]], [-16, 22])
    np.testing.assert_allclose(slices.x.mean(), 5)
    thin = FRAME.slices(4, 6, cuts=3).z.ravel()
    np.testing.assert_allclose(thin[1::3], slices.z.ravel()[4:6], atol=1e-5)
    np.testing.assert_allclose(np.diff(thin), 2 / 3, atol=1e-5)


def test_field_of_view_accepts_what_it_gives() -> None:
    view = FieldOfView((12, 30, 30), (100.0, 210.0, 210.0), (80.0, 150.0, 150.0), (300.0, 400.0, 400.0))
    for size in ((12, 30, 30), (13, 37, 41), (100, 300, 300)):
        found, spacing = view.checked(seed=0, size_vox=size, spacing_mm=None)
        assert found == size
        assert view.checked(seed=0, size_vox=size, spacing_mm=spacing) == (size, spacing)


def test_rician_noise_and_bias() -> None:
    """Flat signal: the mean follows the coil, and noise is added after it."""
    frame = Frame(size_vox=(30, 60, 60), spacing_mm=(3.0, 1.0, 1.0))
    coil = mr.Coil.draw(np.random.default_rng(3), wavelength_mm=150)
    bias = coil.bias(frame)
    assert bias.max() / bias.min() > 1.15
    # Smooth: neighbors differ by under 2 %.
    assert max(np.abs(np.diff(np.log(bias), axis=a)).max() for a in range(3)) < 0.05
    flat = np.full(frame.size_vox, 500, np.float32)
    image = mr.scan(flat, np.random.default_rng(0), frame=frame, coil=coil, noise_at_3_mm3=10)
    residual = image - 500 * bias
    assert abs(residual[3:-3, 3:-3, 3:-3].mean()) < 1
    assert 9 < residual[3:-3, 3:-3, 3:-3].std() < 11
    bright, dim = bias > np.quantile(bias, 0.9), bias < np.quantile(bias, 0.1)
    assert residual[bright].std() == pytest.approx(residual[dim].std(), rel=0.15)
    air = mr.scan(0 * flat, np.random.default_rng(0), frame=frame, coil=coil, noise_at_3_mm3=10)
    assert air.min() >= 0
    # Rayleigh: mean sigma sqrt(pi / 2), deviation sigma sqrt(2 - pi / 2).
    assert air.mean() == pytest.approx(10 * np.sqrt(pi / 2), rel=0.03)
    assert air.std() == pytest.approx(10 * np.sqrt(2 - pi / 2), rel=0.05)


def test_a_sharper_scanner_blurs_less() -> None:
    point = np.zeros((9, 41, 41), np.float32)
    point[4, 20, 20] = 3000
    peaks = [
        ct.scan(
            point,
            np.random.default_rng(0),
            spacing_mm=(0.5, 0.35, 0.35),
            noise_hu_at_3_mm3=0,
            resolution_mm=resolution,
        ).max()
        for resolution in ((0.2, 0.2, 0.2), (0.6, 0.6, 0.6))
    ]
    assert peaks[0] > 3 * peaks[1]
