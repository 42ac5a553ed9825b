"""Whole heart in CT: MM-WHS 2017 (paper 001).

    nnunet_ext convert mmwhs-ct FOLDER --dataset-id 504

Where to get it: registration and user agreement at https://zmiclab.github.io/zxh/0/mmwhs/. License: that
agreement. Labels of the test set are not public.

Layout: ``ct_train/ct_train_10NN_{image,label}.nii.gz`` (20 cases) and ``ct_test/ct_test_20NN_image.nii.gz``
(40 cases, which go to imagesTs), in any depth; mirrors with ``.nii`` are read as well. The other modality may
lie beside it.

Quirks and what is done about them:

- The values 205, 420, 500, 550, 600, 820, 850 become 1 to 7: Myo, LA, LV, RA, RV, AA, PA. All but one need 16
  bits. Any other value is refused (``label-value``); labels of floating point are read where they are whole.
- Orientations differ from case to case: all come out as LPS, each voxel at its place in the world.
- Axes that are not quite at right angles, which SimpleITK does not read, are straightened (note ``drift``); a
  shear is refused (``sheared``).
- AA is labeled from the aortic valve to the upper end of the atria, PA from its valve to the bifurcation. A
  prediction of the whole vessels scores lower.
"""

from __future__ import annotations

from nnunet_ext.dataset_conversion import mmwhs
from nnunet_ext.dataset_conversion.command import main

CONVERTER = mmwhs.converter("CT")

if __name__ == "__main__":
    main(CONVERTER.name)
