"""What the clinic's files mean: DICOM series, RTSTRUCT, slices in PNG, NIfTI and NRRD.

An image is a ``SimpleITK.Image``, world coordinates are DICOM's (mm; x left, y back, z head). What cannot
be used raises :class:`CaseError` with a code, a reason and a remedy; what was put right is a :class:`Note`.
Neither holds a path or anything of the patient.
"""

from nnunet_ext.clinical_io.findings import CaseError, Note
from nnunet_ext.clinical_io.volumes import Volume, read_volume

__all__ = ["CaseError", "Note", "Volume", "read_volume"]
