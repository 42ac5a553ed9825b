"""Phantom ``coronary``: contrast CT of the heart, with the coronary arteries to segment.

Stands in for the coronary CT angiographies of paper 000 and for ImageCAS and ASOCA, whose images need a
registration or are not public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms import ct
from nnunet_ext.phantoms.coronary_tree import Vessel, draw_coronary_tree
from nnunet_ext.phantoms.heart import Heart, draw_heart, heart_strokes
from nnunet_ext.phantoms.materials import Appearance, Material, Tone, label_values
from nnunet_ext.phantoms.phantom import Channel, FieldOfView, Patient
from nnunet_ext.phantoms.scene import Paint, Stroke, portray
from nnunet_ext.phantoms.shapes import Triple
from nnunet_ext.phantoms.solids import Ellipsoid, tube
from nnunet_ext.phantoms.thorax import draw_thorax
from nnunet_ext.phantoms.view import Frame

# SPEC D2 (ImageCAS): 512 x 512 x 275 voxels of 0.35 x 0.35 x 0.5 mm.
DEFAULT_SIZE_VOX = (275, 512, 512)
FIELD_OF_VIEW = FieldOfView(
    fewest_vox=(20, 48, 48),
    usual_mm=(137.5, 179.2, 179.2),
    smallest_mm=(120.0, 150.0, 150.0),
    largest_mm=(260.0, 420.0, 420.0),
)
LABELS: Mapping[str, int] = {"background": 0, "coronary_artery": 1}
_MADE_OF = {"coronary_artery": (Material.CORONARY, Material.PLAQUE)}
# Standard deviation of the point spread (z, y, x) of a cardiac scan with a sharp kernel: 0.6 to 0.7 mm FWHM.
CARDIAC_RESOLUTION_MM = (0.3, 0.25, 0.25)
# Half a vessel's least width in voxels: so wide that neighboring voxels of it always touch.
_THINNEST_VOX = 0.75
# HU in the arterial phase, from radiology textbooks: left heart and arteries 370 to 480 (SPEC D2: vessels
# above 150), right heart lower and mixed, myocardium 95 to 125, vertebrae 180 to 700.
CARDIAC_CT: Mapping[Material, Tone] = {
    Material.AIR: Tone(-1000, -1000),
    Material.COUCH: Tone(-130, -90),
    Material.FOAM: Tone(-930, -910),
    Material.FAT: Tone(-108, -88, 8),
    Material.MUSCLE: Tone(48, 62, 8),
    Material.CARTILAGE: Tone(75, 105, 8),
    Material.COMPACT_BONE: Tone(420, 640, 50),
    Material.SPONGY_BONE: Tone(150, 240, 35),
    Material.NERVE: Tone(28, 40),
    Material.LUNG: Tone(-880, -820, 18),
    Material.AIRWAY: Tone(-985, -960),
    Material.VEIN: Tone(140, 330, 10),
    Material.LIVER: Tone(85, 115, 5),
    Material.STOMACH: Tone(10, 60, 8),
    Material.LV_MYOCARDIUM: Tone(95, 122, 7),
    Material.OTHER_MYOCARDIUM: Tone(85, 112, 7),
    Material.LEFT_ATRIUM: Tone(330, 430, 9),
    Material.LEFT_VENTRICLE: Tone(320, 420, 12),
    Material.RIGHT_ATRIUM: Tone(150, 330, 22),
    Material.RIGHT_VENTRICLE: Tone(150, 330, 16),
    Material.ASCENDING_AORTA: Tone(350, 440, 7),
    Material.FURTHER_AORTA: Tone(345, 430, 7),
    Material.PULMONARY_TRUNK: Tone(190, 380, 9),
    Material.PULMONARY_BRANCH: Tone(190, 380, 9),
    Material.CORONARY: Tone(360, 450, 8),
    Material.PLAQUE: Tone(650, 950, 60),
}


def cardiac_tones(rng: np.random.Generator) -> dict[Material, Tone]:
    """Tones of one patient: vessels that hold the same blood have the same mean.

    Args:
        rng: source of randomness.

    Returns:
        A tone for every material of chest and heart.

    Example:
        >>> tones = cardiac_tones(np.random.default_rng(0))
        >>> tones[Material.CORONARY].low - tones[Material.ASCENDING_AORTA].low
        -10.0
    """
    tones = dict(CARDIAC_CT)
    arterial, pulmonary = float(rng.uniform(390, 480)), float(rng.uniform(190, 380))
    same_blood = {
        Material.ASCENDING_AORTA: arterial,
        Material.FURTHER_AORTA: arterial - 5,
        Material.CORONARY: arterial - 10,
        Material.LEFT_VENTRICLE: arterial - 15,
        Material.LEFT_ATRIUM: arterial - 8,
        Material.PULMONARY_TRUNK: pulmonary,
        Material.PULMONARY_BRANCH: pulmonary,
        Material.RIGHT_VENTRICLE: pulmonary - 20,
    }
    for material, mean in same_blood.items():
        tones[material] = Tone(mean, mean, tones[material].texture)
    return tones


def make_coronary(
    *,
    seed: int,
    size_vox: Sequence[int] = DEFAULT_SIZE_VOX,
    spacing_mm: Sequence[float] | None = None,
) -> Patient:
    """Synthetic coronary CT angiography; label 1 is both coronary trees.

    Reference:
        Paper 000 (two-stage coronary segmentation) and ImageCAS (SPEC D2): 512 x 512 x 166 to 277 voxels of
        0.29 to 0.46 x 0.5 mm, vessels above 150 HU.

    Differences from the paper:
        - synthetic anatomy; vessels below 1.5 mm in diameter are not drawn.
        - no cardiac motion, no stents, no pacemaker leads.
        - where voxels are larger than vessels, vessels are drawn 1.5 voxels wide, so that the tree holds
          together.

    Contrast-filled chambers, aorta, pulmonary vessels and bone share the arteries' attenuation, so no
    threshold finds them. The couch lies behind the usual field of view and shows in a larger one.

    Args:
        seed: whole number >= 0 that decides everything random.
        size_vox: voxels along (z, y, x), at least (20, 48, 48).
        spacing_mm: voxel size in mm; None spreads 137.5 x 179.2 x 179.2 mm over the voxels.

    Returns:
        The patient, with one channel ``CT``.

    Raises:
        ValueError: seed, size or spacing is outside its range, or the field of view is.
        TypeError: seed or size is not a whole number.

    Example:
        >>> patient = make_coronary(seed=1, size_vox=(20, 48, 48))
        >>> [c.name for c in patient.channels], patient.label.shape, bool(patient.label.any())
        (['CT'], (20, 48, 48), True)
    """
    size, spacing = FIELD_OF_VIEW.checked(seed=seed, size_vox=size_vox, spacing_mm=spacing_mm)
    chest, organ, vessels, look, noise = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)
    )
    thinnest = tuple(_THINNEST_VOX * s for s in spacing)
    heart = draw_heart(organ)
    strokes = [
        *draw_thorax(chest),
        heart_strokes(heart, organ),
        *coronary_strokes(heart, vessels, thinnest_mm=(thinnest[0], thinnest[1], thinnest[2])),
    ]
    frame = Frame(size_vox=size, spacing_mm=spacing)
    channel = ct_channel(frame, strokes, tones=cardiac_tones(look), look=look, noise=noise)
    label: NDArray[np.uint8] = label_values(LABELS, _MADE_OF)[channel.tissue]
    return Patient(name="coronary", seed=int(seed), channels=(channel,), label=label, labels=LABELS)


def ct_channel(
    frame: Frame,
    strokes: Sequence[Paint],
    *,
    tones: Mapping[Material, Tone],
    look: np.random.Generator,
    noise: np.random.Generator,
) -> Channel:
    """The CT of an anatomy, as the channel ``CT``."""
    tissue, (hu,) = portray(frame, strokes, [Appearance.draw(tones, look)])
    image = ct.scan(hu, noise, spacing_mm=frame.spacing_mm, noise_hu_at_3_mm3=float(noise.uniform(10, 16)))
    return Channel(
        name="CT", image=image, tissue=tissue, spacing_mm=frame.spacing_mm, origin_mm=frame.origin_mm
    )


def coronary_strokes(heart: Heart, rng: np.random.Generator, *, thinnest_mm: Triple) -> list[Paint]:
    """Strokes for coronary veins, arteries and calcified plaques, where the heart's warp put them."""
    strokes: list[Paint] = []
    tree = draw_coronary_tree(heart, rng)
    outside_aorta = frozenset(Material) - {Material.ASCENDING_AORTA, Material.FURTHER_AORTA}
    for vessel in _veins(tree):
        pieces = tube(heart.warp.to_patient(vessel.points), vessel.radii)
        strokes += [Stroke(piece, Material.VEIN, over={Material.FAT}) for piece in pieces]
    for vessel in tree:
        points = heart.warp.to_patient(vessel.points)
        pieces = tube(points[::2], vessel.radii[::2], thinnest_mm=thinnest_mm)
        pieces += tube(points[-2:], vessel.radii[-2:], thinnest_mm=thinnest_mm)
        strokes += [Stroke(piece, Material.CORONARY, over=outside_aorta) for piece in pieces]
    strokes += _plaques(heart, tree, rng)
    return strokes


def _veins(tree: Sequence[Vessel]) -> list[Vessel]:
    """Veins run beside the anterior descending and the circumflex branch, less bright than the arteries."""
    veins = []
    for vessel in tree:
        if vessel.name in ("LAD", "LCx"):
            course = np.gradient(vessel.points, axis=0)
            beside = np.cross(course, vessel.points - vessel.points.mean(axis=0))
            beside /= np.maximum(np.linalg.norm(beside, axis=1, keepdims=True), 1e-6)
            points = vessel.points + 4.5 * beside
            veins.append(Vessel(name="vein", points=points[6:], radii=np.full(len(points) - 6, 1.6)))
    return veins


def _plaques(heart: Heart, tree: Sequence[Vessel], rng: np.random.Generator) -> list[Paint]:
    """Up to five calcified plaques in the walls of the large branches."""
    large = [vessel for vessel in tree if vessel.name in ("LAD", "LCx", "RCA")]
    strokes: list[Paint] = []
    for _ in range(int(rng.integers(0, 6))):
        vessel = large[rng.integers(len(large))]
        at = int(rng.integers(8, max(9, len(vessel.points) * 2 // 3)))
        aside = 0.7 * vessel.radii[at] * rng.normal(size=3) / 1.7
        center = heart.warp.to_patient((vessel.points[at] + aside)[None])[0]
        plaque = Ellipsoid(center, rng.uniform(0.6, 1.5, size=3))
        strokes.append(Stroke(plaque, Material.PLAQUE, over={Material.CORONARY}))
    return strokes
