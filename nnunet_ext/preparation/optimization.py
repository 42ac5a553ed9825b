"""The two searches of a registration, in SimpleITK's terms."""

from __future__ import annotations

import SimpleITK as sitk

from nnunet_ext.preparation.similarity import BINS, Pair

# From coarse to fine: voxels averaged and smoothing, both in voxels of the working grid.
_SHRINK = (4, 2, 1)
# An axis keeps this many voxels on each level.
_MIN_SIZE = 4


def rigid_stage(pair: Pair, start: sitk.Transform, *, samples: int, seed: int) -> sitk.Transform:
    """Rotation and translation of the most mutual information near ``start``.

    Args:
        pair: images at working resolution.
        start: rigid transform.
        samples: voxels of the mask looked at in each step.
        seed: of the samples, >= 1.

    Raises:
        RuntimeError: from ITK, where the images lose each other.
    """
    found = sitk.Euler3DTransform(start)
    method = _method(pair, samples=samples, seed=seed, shrink=_levels(pair))
    # Steps in mm, since the scales make all six parameters move a voxel alike: from one working voxel down to
    # a micrometer. On the phantom of tests/preparation/test_registration.py, with voxels of 3 mm, a factor of
    # 0.6 down to 5 micrometers ends 2.7 mm off, 0.8 ends 0.9 mm off (measured 2026-11-21).
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0,
        minStep=0.001,
        numberOfIterations=200,
        relaxationFactor=0.8,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(found, inPlace=True)
    method.Execute(pair.fixed, pair.moving)
    return found


def elastic_stage(
    pair: Pair, rigid: sitk.Transform, *, samples: int, seed: int, control_spacing_mm: float
) -> sitk.Transform:
    """A B-spline on top of a rigid transform.

    Returns:
        Composite transform: the spline first, in the fixed image, then ``rigid``.

    Raises:
        RuntimeError: from ITK, where the images lose each other.
    """
    levels = _levels(pair)[-2:]
    mesh = [
        # The mesh doubles from level to level.
        max(1, round(n * s / control_spacing_mm / 2 ** (len(levels) - 1)))
        for n, s in zip(pair.fixed.GetSize(), pair.fixed.GetSpacing(), strict=True)
    ]
    spline = sitk.BSplineTransformInitializer(pair.fixed, mesh, order=3)
    method = _method(pair, samples=samples, seed=seed, shrink=levels)
    method.SetMovingInitialTransform(rigid)
    method.SetInitialTransformAsBSpline(spline, inPlace=True, scaleFactors=[2**i for i in range(len(levels))])
    # LBFGSB keeps the scales of the first level and fails on a finer mesh (SimpleITK's notebook on free-form
    # deformation says so and gives these values).
    method.SetOptimizerAsLBFGS2(solutionAccuracy=1e-4, numberOfIterations=50, deltaConvergenceTolerance=1e-3)
    method.Execute(pair.fixed, pair.moving)
    return sitk.CompositeTransform([rigid, spline])


def _levels(pair: Pair) -> list[int]:
    return [f for f in _SHRINK if f == 1 or min(pair.fixed.GetSize()) >= _MIN_SIZE * f]


def _method(pair: Pair, *, samples: int, seed: int, shrink: list[int]) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    voxels = [max(1.0, pair.fixed.GetNumberOfPixels() / f**3) for f in shrink]
    # ITK draws from the whole image and drops what lies outside the mask.
    wanted = samples / max(float(pair.within.mean()), 1e-3)
    method.SetMetricSamplingPercentagePerLevel([min(1.0, wanted / v) for v in voxels], seed)
    method.SetInterpolator(sitk.sitkLinear)
    # ITK's default smooths the gradient apart from the image, which at the edges of a cropped MR points away
    # from the optimum: with it 4 of 20 sarcoma patients drifted off by centimeters (measured 2026-11-21).
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    if pair.fixed_mask is not None:
        method.SetMetricFixedMask(pair.fixed_mask)
    if pair.moving_mask is not None:
        method.SetMetricMovingMask(pair.moving_mask)
    method.SetShrinkFactorsPerLevel(shrink)
    voxel_mm = min(pair.fixed.GetSpacing())
    method.SetSmoothingSigmasPerLevel([voxel_mm * f / 2 if f > 1 else 0.0 for f in shrink])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method
