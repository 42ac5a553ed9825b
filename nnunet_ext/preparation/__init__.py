"""What plans cannot say: couch and mask out of a CT, N4 on MR, MR onto CT, another spacing, a window.

Every function takes SimpleITK images and returns new ones, so that geometry always travels with the voxels.
A :class:`Preparation` is an ordered tuple of steps with all their parameters; it runs on one case, is written
beside the dataset as ``preparation.json`` and is read back exactly, so that tomorrow's patients get the same
steps. What cannot be prepared raises :class:`PreparationError` with a code, a reason and a remedy.

Spacings are (z, y, x) in mm; world coordinates are SimpleITK's (LPS, mm). Filters use all cores but for N4
and registration, which run in one thread so that they come out alike on every machine.
"""

from nnunet_ext.preparation.bias_field import BiasCorrection, correct_bias_field
from nnunet_ext.preparation.body import CouchRemoval, remove_couch
from nnunet_ext.preparation.deformation import jacobian_determinants
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import Grid
from nnunet_ext.preparation.intensity import Standardized, foreground, standardize, window
from nnunet_ext.preparation.parts import RemovedPart
from nnunet_ext.preparation.record import (
    FILE_NAME,
    Preparation,
    Prepared,
    preparation_from_json,
    preparation_to_json,
    read_preparation,
    write_preparation,
)
from nnunet_ext.preparation.registration import Registration, register, write_transform
from nnunet_ext.preparation.resampling import grid_for, resample_image, resample_label
from nnunet_ext.preparation.steps import (
    STEPS,
    Case,
    CorrectBiasField,
    MatchGrid,
    Register,
    RemoveCouch,
    Resample,
    Standardize,
    Step,
    Window,
)

__all__ = [
    "FILE_NAME",
    "STEPS",
    "BiasCorrection",
    "Case",
    "CorrectBiasField",
    "CouchRemoval",
    "Grid",
    "MatchGrid",
    "Preparation",
    "PreparationError",
    "Prepared",
    "Register",
    "Registration",
    "RemoveCouch",
    "RemovedPart",
    "Resample",
    "Standardize",
    "Standardized",
    "Step",
    "Window",
    "correct_bias_field",
    "foreground",
    "grid_for",
    "jacobian_determinants",
    "preparation_from_json",
    "preparation_to_json",
    "read_preparation",
    "register",
    "remove_couch",
    "resample_image",
    "resample_label",
    "standardize",
    "window",
    "write_preparation",
    "write_transform",
]
