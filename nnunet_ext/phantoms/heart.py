"""Heart and great vessels of a random patient, in mm around the middle of the heart.

Positions follow cross-sectional anatomy textbooks: the long axis points to the left, to the front and down;
the right ventricle wraps around the front and right of the left one; the left atrium lies behind, the right
one to the right; the pulmonary trunk leaves in front of and to the left of the aorta. Sizes are those of an
adult (left ventricle 48 mm wide and about 85 mm long with a wall of 10 mm, ascending aorta 29 mm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.combined import Common, Grown, Rough, Union, Without
from nnunet_ext.phantoms.curves import smooth_curve
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.phantoms.scene import Paint, Solid, Stroke, Warped
from nnunet_ext.phantoms.shapes import Waves
from nnunet_ext.phantoms.solids import Capsule, Ellipsoid, Half, tube, unit
from nnunet_ext.phantoms.view import Vector, Warp

_BASE = (8.0, 5.0, 5.0)
_LONG_AXIS = (-0.52, -0.52, 0.68)
_TO_RIGHT_VENTRICLE = (-0.2, -0.7, -0.7)
_AORTA = ((13, -2, -2), (28, -10, -8), (48, -16, -12), (70, -12, -8), (85, 4, 2), (86, 26, 12))
_AORTA_RADII = (15.0, 16.5, 14.5, 14.5, 13.5, 13)
# The descending aorta belongs to the spine and does not turn with the heart.
_DESCENDING = ((66, 46, 18), (25, 50, 17), (-60, 50, 13), (-220, 50, 6))
_DESCENDING_RADII = (12.5, 12, 11.5, 10.5)
_TRUNK = ((26, -32, 12), (42, -23, 16), (56, -6, 18))


@dataclass(frozen=True)
class Heart:
    """A drawn heart. Vectors are (z, y, x), lengths in mm, before the warp.

    Attributes:
        base: middle of the mitral and aortic plane.
        long_axis: unit vector from base to apex.
        to_right: unit vector, square to the axis, towards the right ventricle.
        down: unit vector, square to both, towards the diaphragm.
        scale: size against an adult of textbook size.
        left_ventricle: the cavity, open at the base.
        left_muscle: cavity and wall.
        left_atrium: the left atrium.
        right_atrium: the right atrium.
        right_ventricle: the cavity with its outflow tract, before the left ventricle dents it.
        tricuspid: plane between right atrium and ventricle; its inside is the ventricle's.
        aorta: pieces of the aorta from the valve to the abdomen.
        trunk: pieces of the pulmonary trunk from the valve to its bifurcation.
        warp: the displacement of the whole heart.
    """

    base: Vector
    long_axis: Vector
    to_right: Vector
    down: Vector
    scale: float
    left_ventricle: Ellipsoid
    left_muscle: Ellipsoid
    left_atrium: Ellipsoid
    right_atrium: Ellipsoid
    right_ventricle: Union
    tricuspid: Half
    aorta: list[Capsule]
    trunk: list[Capsule]
    warp: Warp

    @property
    def surface(self) -> Solid:
        """The outside of chambers and vessel roots, on which the coronary arteries run."""
        return Union(
            [
                self.left_muscle,
                Grown(self.left_atrium, 2),
                Grown(self.right_atrium, 2.5),
                Grown(self.right_ventricle, 3),
                *(Grown(piece, 1.5) for piece in (*self.aorta[:6], *self.trunk)),
            ]
        )

    def wall_point(self, angle_deg: float, along_mm: float) -> Vector:
        """Point beside the left ventricle's outer wall.

        Args:
            angle_deg: 0 at the septum, 90 in front and above, 180 at the free wall, 270 at the diaphragm.
            along_mm: distance from the base towards the apex, for a heart of scale 1.
        """
        angle = np.radians(angle_deg)
        radius = 37 * np.sqrt(max(1 - ((along_mm - 38) / 56) ** 2, 0.02))
        across = np.cos(angle) * self.to_right - np.sin(angle) * self.down
        point: Vector = self.base + self.scale * (along_mm * self.long_axis + radius * across)
        return point


def draw_heart(rng: np.random.Generator) -> Heart:
    """A random heart: size, orientation, chambers and a smooth warp vary.

    Args:
        rng: source of randomness.

    Returns:
        The heart.

    Example:
        >>> heart = draw_heart(np.random.default_rng(0))
        >>> bool(heart.long_axis[2] > 0.3), bool(heart.long_axis[0] < -0.2)  # to the left and down
        (True, True)
    """
    scale = rng.uniform(0.9, 1.1)
    turn = rng.uniform(-9, 9, size=3)
    turned = RigidMotion(turn_deg=(float(turn[0]), float(turn[1]), float(turn[2]))).matrix

    def place(points: object) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = scale * np.asarray(points, dtype=np.float64) @ turned.T
        return moved

    axis = unit(turned @ unit(_LONG_AXIS))
    right = turned @ np.asarray(_TO_RIGHT_VENTRICLE)
    right = unit(right - (right @ axis) * axis)
    # Square to both; (z, y, x) triples turn the sign of a cross product.
    down = -np.cross(axis, right)
    base = place(_BASE)

    def swell() -> Vector:
        return scale * rng.uniform(0.92, 1.08, size=3)

    ventricle_axes = np.stack([axis, right, down])
    middle = base + scale * 38 * axis
    cavity = np.array([44.0, 24, 24]) * swell()
    wall = scale * np.array([9.0, 10, 10]) * rng.uniform(0.85, 1.2)
    atrium_axes = turned.T
    left_atrium = Ellipsoid(place((16, 23, -6)), np.array([23.0, 19, 30]) * swell(), atrium_axes)
    right_atrium = Ellipsoid(place((-4, -3, -42)), np.array([29.0, 24, 22]) * swell(), atrium_axes)
    body = Ellipsoid(
        base + scale * (30 * axis + 29 * right + 2 * down), np.array([46.0, 31, 37]) * swell(), ventricle_axes
    )
    outflow = tube(place(((-6, -42, 2), _TRUNK[0])), np.array([17.0, 13.5]) * scale)
    aorta_points = np.concatenate([place(_AORTA), _DESCENDING])
    aorta_radii = np.concatenate(
        [scale * rng.uniform(0.92, 1.08) * np.array(_AORTA_RADII), _DESCENDING_RADII]
    )
    curve = smooth_curve(aorta_points, step_mm=6)
    nearest = np.linspace(0, 1, len(curve))
    trunk = smooth_curve(place(_TRUNK), step_mm=5)
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(aorta_points, axis=0), axis=1))])
    to_ventricle = unit(body.center - right_atrium.center)
    return Heart(
        base=base,
        long_axis=axis,
        to_right=right,
        down=down,
        scale=scale,
        left_ventricle=Ellipsoid(middle, cavity, ventricle_axes),
        left_muscle=Ellipsoid(middle, cavity + wall, ventricle_axes),
        left_atrium=left_atrium,
        right_atrium=right_atrium,
        right_ventricle=Union([body, *outflow], blend_mm=8),
        tricuspid=Half(right_atrium.center + scale * 23 * to_ventricle, to_ventricle),
        aorta=tube(curve, np.interp(nearest, chord / chord[-1], aorta_radii)),
        trunk=tube(trunk, np.full(len(trunk), scale * rng.uniform(12.3, 14.3))),
        warp=Warp.draw(rng, wavelength_mm=95, amplitude_mm=2.2),
    )


def heart_strokes(heart: Heart, rng: np.random.Generator) -> Warped:
    """Strokes for pericardial fat, walls, chambers and great vessels.

    Args:
        heart: the drawn heart.
        rng: source of randomness (fat, and how far the labels of the great vessels reach).

    Returns:
        One paint that holds the heart's strokes and its warp.
    """
    fat_mm = rng.uniform(7, 10)
    # SPEC D1 (f): MM-WHS labels the aorta from its valve to about the top of the atria.
    top = heart.left_atrium.center[0] + heart.left_atrium.radii[0] + rng.uniform(4, 12)
    labeled = Half(np.array([top, 0.0, 0.0]), np.array([-1.0, 0, 0]))
    # Ventricle, atrium and aorta meet in one plane.
    above_valve = Half(heart.base + 7.0 * heart.long_axis, -heart.long_axis)
    in_ventricle = Half(heart.base + 6.0 * heart.long_axis, heart.long_axis)
    in_ring = Half(heart.base - 5.0 * heart.long_axis, heart.long_axis)
    in_muscle = Half(heart.base + 6.0 * heart.long_axis, heart.long_axis)
    in_atrium = Half(heart.tricuspid.point, -heart.tricuspid.inward)
    # Only the root meets the plane of the valve again.
    upper: list[Solid] = [Common([piece, above_valve]) for piece in heart.aorta[:6]]
    upper += heart.aorta[6:]
    roots: list[Solid] = [*upper, *heart.trunk]
    right_side = Common([heart.right_ventricle, heart.tricuspid])
    # Trabeculae make the ventricles' inside uneven.
    left_inside = Rough(heart.left_ventricle, Waves.draw(rng, wavelength=14), 0.9)
    right_inside = Rough(right_side, Waves.draw(rng, wavelength=13), 0.9)
    chambers = Grown(
        Union([heart.left_muscle, heart.left_atrium, heart.right_atrium, heart.right_ventricle], 30), fat_mm
    )
    # The atrium reaches the ventricle through the mitral valve, 30 mm wide, behind the aortic root.
    valve = heart.base + heart.scale * (8 * heart.long_axis - 7 * heart.to_right + 4 * heart.down)
    mitral = Capsule(heart.left_atrium.center, valve, 17 * heart.scale, 13.5 * heart.scale)
    vessels = [*_pulmonary_branches(heart), *_veins(heart)]
    wall = Material.OTHER_MYOCARDIUM
    strokes: list[Paint] = [
        Stroke(chambers, Material.FAT),
        *(Stroke(Grown(piece, 5), Material.FAT, over={Material.LUNG}) for piece in roots),
        *(Stroke(piece, material) for piece, material in vessels),
        Stroke(Grown(heart.right_atrium, 2), wall),
        *(Stroke(Grown(solid, 2), wall) for solid in (heart.left_atrium, mitral)),
        Stroke(Grown(right_side, 3), wall),
        Stroke(Common([heart.right_atrium, in_atrium]), Material.RIGHT_ATRIUM),
        *(Stroke(solid, Material.LEFT_ATRIUM) for solid in (heart.left_atrium, mitral)),
        Stroke(right_inside, Material.RIGHT_VENTRICLE),
        *(Stroke(Grown(piece, 1.2), wall) for piece in heart.trunk),
        *(Stroke(piece, Material.PULMONARY_TRUNK) for piece in heart.trunk),
        # The fibrous ring around both valves.
        Stroke(Common([heart.left_muscle, in_ring]), wall, over={Material.FAT, Material.RIGHT_VENTRICLE}),
        Stroke(Common([heart.left_muscle, in_muscle]), Material.LV_MYOCARDIUM),
        Stroke(
            Common([Without(heart.left_muscle, heart.left_ventricle), in_ventricle]),
            wall,
            over={Material.RIGHT_VENTRICLE, Material.RIGHT_ATRIUM},
        ),
        Stroke(Common([left_inside, in_ventricle]), Material.LEFT_VENTRICLE),
        *(Stroke(Grown(piece, 1.3), wall, over=_NOT_LV) for piece in upper),
        *(Stroke(piece, Material.FURTHER_AORTA) for piece in upper),
        *(Stroke(Common([piece, labeled]), Material.ASCENDING_AORTA) for piece in upper[:6]),
    ]
    far = np.full(3, 260.0)
    return Warped(strokes=strokes, warp=heart.warp, low=-far, high=far)


_NOT_LV = frozenset(Material) - {Material.LEFT_VENTRICLE, Material.LV_MYOCARDIUM}


def _pulmonary_branches(heart: Heart) -> list[tuple[Capsule, Material]]:
    """Left and right pulmonary artery; the right one runs behind the ascending aorta."""
    start = heart.trunk[-1].stop
    left = start + np.array([[0.0, 0, 0], [3, 16, 16], [-4, 32, 42]])
    right = start + np.array([[0.0, 0, 0], [-1, 15, -16], [-5, 21, -42], [-10, 24, -72]])
    curves = [smooth_curve(left, step_mm=6), smooth_curve(right, step_mm=6)]
    return [
        (piece, Material.PULMONARY_BRANCH)
        for curve, radius in zip(curves, (9.5, 9.0), strict=True)
        for piece in tube(curve, np.linspace(radius, 0.8 * radius, len(curve)) * heart.scale)
    ]


def _veins(heart: Heart) -> list[tuple[Capsule, Material]]:
    """Both caval veins into the right atrium, four pulmonary veins into the left one."""
    into_right, into_left = heart.right_atrium.center, heart.left_atrium.center
    pieces: list[tuple[Capsule, Material]] = []
    upper = np.concatenate([into_right + np.array([[8.0, 3, 2], [40, 6, 5]]), [[120, -4, -36]]])
    lower = np.concatenate([into_right + np.array([[-8.0, 6, 2], [-38, 14, 6]]), [[-160, 24, -34]]])
    for points, radius in ((upper, 9.5), (lower, 11.5)):
        curve = smooth_curve(points, step_mm=8)
        pieces += [(p, Material.VEIN) for p in tube(curve, np.full(len(curve), radius * heart.scale))]
    for dz, side in ((9, 1), (-9, 1), (9, -1), (-9, -1)):
        points = into_left + heart.scale * np.array([[dz, 6, 18 * side], [1.6 * dz, 16, 46 * side]])
        pieces += [(p, Material.VEIN) for p in tube(points, [6.5, 5.5])]
    return pieces
