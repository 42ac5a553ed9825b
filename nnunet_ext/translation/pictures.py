"""Pictures of a translation while it is trained: the same two patches, there and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nnunet_ext.files import whole_file
from nnunet_ext.translation.objectives import Generators

FOLDER = "pictures"


@torch.no_grad()
def write_picture(generators: Generators, mr: Tensor, ct: Tensor, *, folder: Path, step: int) -> Path:
    """Draw the middle slices of an MR and a CT patch, their translations and the way back.

    Args:
        generators: in any mode: they have no dropout, and their normalization keeps no averages.
        mr: (1, 1, Z, Y, X), from -1 to 1, on the generators' device.
        ct: likewise.
        folder: of the translation.
        step: for the name of the file.
    """
    from matplotlib.figure import Figure

    fake_ct, fake_mr = generators.to_ct(mr), generators.to_mr(ct)
    rows = (
        (("MR", mr), ("as CT", fake_ct), ("and back", generators.to_mr(fake_ct))),
        (("CT", ct), ("as MR", fake_mr), ("and back", generators.to_ct(fake_mr))),
    )
    figure = Figure(figsize=(12, 4.6), dpi=100, layout="constrained")
    figure.suptitle(f"After {step} steps: middle slices across the first and the second axis")
    axes = figure.subplots(2, 6)
    for row, images in zip(axes, rows, strict=True):
        for number, (title, image) in enumerate(images):
            volume = image[0, 0].float().cpu().numpy()
            middle = [n // 2 for n in volume.shape]
            for axis, plane in (
                (row[2 * number], volume[middle[0]]),
                (row[2 * number + 1], volume[:, middle[1]]),
            ):
                axis.imshow(plane, cmap="gray", vmin=-1, vmax=1)
                axis.set_axis_off()
            row[2 * number].set_title(title, fontsize=11)
    path = folder / FOLDER / f"step_{step:07d}.png"
    with whole_file(path) as temporary:
        figure.savefig(temporary)
    return path
