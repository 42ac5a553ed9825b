"""The CT of pairs of CT and MR: SynthRAD 2023 and 2025, Task 1 (paper 001, translation).

    nnunet_ext convert synthrad-ct FOLDER --dataset-id 510 --region pelvis
    nnunet_ext convert synthrad-mr FOLDER --dataset-id 511 --region pelvis

Where to get it: 2023 at https://zenodo.org/records/7260705, 2025 at https://zenodo.org/records/15373853.
License: see these pages (CC BY-NC as far as we know, not verified).

Layout: ``Task1/brain/1BA001/{ct,mr,mask}.nii.gz`` and ``Task1/pelvis/1PA001`` (2023), and
``Task1/AB/1ABA001/{ct,mr,mask}.mha`` with HN and TH (2025). Cases keep their names, which are the same in
both datasets: that is how pairs are found. Folders of Task 2 (CBCT) are passed over.

Quirks and what is done about them:

- There are no organs to learn. The mask, the outline of the body, becomes the label ``body``, because nnU-Net
  wants one; outside of it the CT is -1000 or -1024 HU. Use the datasets for translation, and never for
  segmentation.
- A case without its MR is no pair: it is refused (``missing-channel``). So are the challenge's validation
  cases.
- One mask serves both, so that CT and MR of a case are on one grid, or one of them is refused
  (``label-grid``).
"""

from __future__ import annotations

from nnunet_ext.dataset_conversion import synthrad
from nnunet_ext.dataset_conversion.command import main

CONVERTER = synthrad.converter("CT")

if __name__ == "__main__":
    main(CONVERTER.name)
