"""MR T1 to CT of real patients with soft-tissue sarcoma: error against their own CT, which nobody was shown.

    python benchmarks/translate_sarcoma.py WORK .../sts_sarcoma [--steps 5000] [--anchored]

Every second patient gives an MR, the others a CT: no patient is in both, so the training is unpaired. The MR
become synthetic CT and, for comparison, MR with the histogram of CT. Both are compared with the CT of the
same patients, brought onto the MR's grid, in voxels that are body in both: mean absolute error in HU, of all
and of what is fat, muscle or bone in the CT, and Dice of bone. The patients are those whose MR was trained
on; their CT was not. Patients whose MR lies badly on their CT (the data's README names them) are translated
and not measured.

Beside them stand a gray image (the median HU of the CT that was trained on) and, for anchored generators,
what they are before they learn anything: what is no better than these has learned nothing. The translation is
made at 2.5 mm and judged at the MR's own pixels.

All through commands that a user types; what is finished is not run again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from learned_translation import (
    add_arguments,
    dice,
    gray_of,
    learn,
    print_errors,
    print_run,
    rows_of,
)
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from typed_commands import Work

from nnunet_ext.evaluation.report.overlays import fullest_slice

MR, CT, SYNTHETIC, MATCHED, ANCHOR = 991, 992, 993, 994, 995
NAMES = {SYNTHETIC: "SyntheticCT", MATCHED: "MatchedMR", ANCHOR: "AnchorAlone"}
MADE = {"translation": SYNTHETIC, "match": MATCHED, "anchor": ANCHOR}
MISALIGNED = {"STS_002", "STS_008", "STS_019"}
# The data's own slices, and pixels of a size at which ten patients and an hour are enough to learn something.
SPACING_MM, PATCH_VOX = (3.27, 2.5, 2.5), (24, 32, 32)
WINDOW_HU = (-1000.0, 1000.0)
BONE_HU = 200.0
BODY_HU = -300.0
TISSUES_HU = {"fat": (-150.0, -30.0), "muscle": (0.0, 100.0), "bone": (BONE_HU, 3100.0)}


def convert(work: Work, source: Path) -> None:
    """MR of every second patient and CT of the others, as raw datasets."""
    patients = sorted(p.name for p in source.iterdir() if p.is_dir())
    parts = {MR: (patients[::2], "MR", "MR_T1"), CT: (patients[1::2], "CT", "CT")}
    for number, (names, channel, prefix) in parts.items():
        folder = work.folder / "source" / channel
        for name in names:
            for kind in ("image", "mask"):
                target = folder / name / f"{prefix}_{kind}.nii.gz"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name / target.name, target)
        options = ("--channel", f"{channel}={prefix}_image.nii.gz", "--label-file", f"{prefix}_mask.nii.gz")
        command = ("nnunet_ext", "convert", "volumes", folder, "--dataset-id", number, *options)
        key = work.folder / f"key_{number}.json"
        # A mask that meets the image's edge flipped is refused where it is the CT's contour on an MR.
        work.once(f"convert-{number}", *command, "--label", "GTV=1", "--key", key, "--accept-misplaced")


def aligned_cases(work: Work, source: Path) -> dict[str, Path]:
    """The patients' own CT, by the case of their MR."""
    patients = sorted(p.name for p in source.iterdir() if p.is_dir())[::2]
    raw = work.folder / "raw" / f"Dataset{MR}_Volumes"
    cases = sorted(f.name.removesuffix(".nii.gz") for f in (raw / "labelsTr").glob("*.nii.gz"))
    if len(cases) != len(patients):
        raise SystemExit(f"expected {len(patients)} cases in {raw}, got {len(cases)}")
    return {
        case: source / patient / "CT_image.nii.gz"
        for case, patient in zip(cases, patients, strict=True)
        if patient not in MISALIGNED
    }


def errors(work: Work, number: int | None, cases: dict[str, Path], *, gray: float) -> dict[str, float]:
    """Means over patients of a dataset's synthetic CT, or of a gray image; HU are clipped to the window."""
    rows = []
    for case, ct_file in cases.items():
        synthetic, true, common = on_one_grid(work, number or MATCHED, case, ct_file)
        synthetic = synthetic.clip(*WINDOW_HU) if number else np.full_like(true, gray)
        true = true.clip(*WINDOW_HU)
        away = np.abs(true - synthetic)
        row = {"MAE (HU)": float(away[common].mean())}
        for name, (low, high) in TISSUES_HU.items():
            row[f"MAE, {name}"] = float(away[common & (true >= low) & (true < high)].mean())
        row["Dice of bone"] = dice(*((image > BONE_HU) & common for image in (true, synthetic)))
        rows.append(row)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    errors_hu = [row["MAE (HU)"] for row in rows]
    return {**means, "lowest": min(errors_hu), "highest": max(errors_hu)}


def on_one_grid(
    work: Work, number: int, case: str, ct_file: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Synthetic CT, the patient's own, and what is body in CT and MR, on the MR's grid."""
    raw = work.folder / "raw"
    image = sitk.ReadImage(str(raw / f"Dataset{number}_{NAMES[number]}" / "imagesTr" / f"{case}_0000.nii.gz"))
    mr = sitk.ReadImage(str(raw / f"Dataset{MR}_Volumes" / "imagesTr" / f"{case}_0000.nii.gz"))
    ct = sitk.Resample(
        sitk.ReadImage(str(ct_file), sitk.sitkFloat32), image, sitk.Transform(), sitk.sitkLinear, -1000.0
    )
    true, magnetic = (sitk.GetArrayFromImage(i).astype(np.float32) for i in (ct, mr))
    common = body_of(true) & (magnetic > 0.5 * threshold_otsu(magnetic))
    return sitk.GetArrayFromImage(image).astype(np.float32), true, common


def body_of(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest thing that is no air, with the lungs in it."""
    parts, _ = ndimage.label(hu > BODY_HU)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    filled: NDArray[np.bool_] = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    return filled


def draw(work: Work, cases: dict[str, Path], file: Path) -> None:
    """MR, synthetic CT, matched MR and the patient's own CT of a few patients."""
    from matplotlib.figure import Figure

    shown = list(cases.items())[:4]
    figure = Figure(figsize=(12, 3 * len(shown)), dpi=100, layout="constrained")
    for row, (case, ct_file) in zip(figure.subplots(len(shown), 4, squeeze=False), shown, strict=True):
        synthetic, true, common = on_one_grid(work, SYNTHETIC, case, ct_file)
        matched, *_ = on_one_grid(work, MATCHED, case, ct_file)
        name = work.folder / "raw" / f"Dataset{MR}_Volumes" / "imagesTr" / f"{case}_0000.nii.gz"
        z = fullest_slice(common, 0)
        images = {
            "MR T1": sitk.GetArrayFromImage(sitk.ReadImage(str(name))),
            "translation": synthetic,
            "histogram matching": matched,
            "own CT": true,
        }
        for axis, (title, image) in zip(row, images.items(), strict=True):
            limits = {} if title == "MR T1" else {"vmin": -300, "vmax": 500}
            axis.imshow(image[z], cmap="gray", **limits)
            axis.set_title(f"{case}: {title}" if axis is row[0] else title, fontsize=11)
            axis.set_axis_off()
    figure.savefig(file)


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("source", type=Path, help="folder of the patients, STS_0xx")
    add_arguments(parser, steps=5000)
    args = parser.parse_args()
    work = Work(args.work.resolve(), MR, f"Dataset{MR}_Volumes")
    work.folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(args).items() if name not in ("work", "source")}
    work.require_same(settings)
    convert(work, args.source)
    planned = ("--spacing-mm", *SPACING_MM, "--patch-size", *PATCH_VOX, "--window", *WINDOW_HU)
    learn(work, args, pair=(MR, CT), made=MADE, names=NAMES, planned=planned)
    cases = aligned_cases(work, args.source)
    draw(work, cases, work.folder / "patients.png")
    print_run(work, settings)
    print(f"{len(cases)} patients")
    shown = (work.folder / "raw" / f"Dataset{CT}_Volumes" / "imagesTr").glob("*.nii.gz")
    gray = gray_of(shown, body_hu=BODY_HU)
    rows = rows_of(args, MADE)
    print_errors({name: errors(work, number, cases, gray=gray) for name, number in rows.items()})


if __name__ == "__main__":
    main()
