"""Whole heart in MR: MM-WHS 2017 (paper 001).

    nnunet_ext convert mmwhs-mr FOLDER --dataset-id 505

Where to get it: registration and user agreement at https://zmiclab.github.io/zxh/0/mmwhs/. License: that
agreement. Labels of the test set are not public.

Layout: ``mr_train/mr_train_10NN_{image,label}.nii.gz`` (20 cases) and ``mr_test/mr_test_20NN_image.nii.gz``
(40 cases, which go to imagesTs), in any depth; mirrors with ``.nii`` are read as well. The other modality may
lie beside it.

Quirks and what is done about them:

- The values 205, 420, 500, 550, 600, 820, 850 become 1 to 7: Myo, LA, LV, RA, RV, AA, PA. All but one need 16
  bits. Any other value is refused (``label-value``); labels of floating point are read where they are whole.
- mr_train_1010 has voxels of 421, which are left atrium (420): taken as such and noted (``stray-421``).
- One third-party script cuts the first ten voxels off mr_train_1002 on every axis, for no stated reason. The
  case is converted as it is: look at it.
- Orientations differ from case to case: all come out as LPS, each voxel at its place in the world.
- Axes that are not quite at right angles, which SimpleITK does not read, are straightened (note ``drift``); a
  shear is refused (``sheared``).
- AA is labeled from the aortic valve to the upper end of the atria, PA from its valve to the bifurcation. A
  prediction of the whole vessels scores lower.
"""

from __future__ import annotations

from nnunet_ext.dataset_conversion import mmwhs
from nnunet_ext.dataset_conversion.command import main

CONVERTER = mmwhs.converter("MR")

if __name__ == "__main__":
    main(CONVERTER.name)
