"""Time and memory of a conversion against just reading and writing the same volumes, each in its own process.

    python benchmarks/convert.py [--cases 3] [--size-vox 120 512 512]

Writes patients as a hospital exports them (CT in DICOM with an RTSTRUCT), then, alternating, converts them
with one worker and reads and writes them with nothing in between: SimpleITK's own reader of series, sorted by
GDCM, to compressed NIfTI of 16 bits, with a label of the same size. Prints the median ratio and the peaks of
memory.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.dicom_writer import SeriesIdentity, save_slices, slices_of_volume
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set

SPACING_MM = (0.8, 0.8, 2.5)


def write_patient(folder: Path, *, seed: int, size: tuple[int, int, int]) -> None:
    """A body with noise, which decides how long compression takes, and a target of 380 ml."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[: size[0], : size[1], : size[2]]
    body = ((y - size[1] / 2) / (0.35 * size[1])) ** 2 + ((x - size[2] / 2) / (0.45 * size[2])) ** 2 < 1
    radius = np.sqrt(((z - size[0] / 2) * 2.5) ** 2 + ((y - 200) * 0.8) ** 2 + ((x - 180) * 0.8) ** 2)
    hu = np.where(body, 50, -1000) + rng.normal(0, 15, size)
    image = SimpleITK.GetImageFromArray(np.clip(hu, -1024, 3071).astype(np.int16))
    image.SetSpacing(SPACING_MM)
    identity = SeriesIdentity.from_seed("bench", modality="CT", patient_id=f"P{seed}", patient_name="P")
    save_slices(slices_of_volume(image, identity, intercept=-1024), folder / "CT")
    volume = read_series(find_dicom(folder / "CT").series[0])
    target = np.broadcast_to(radius < 45, size)
    write_structure_set([NamedMask("GTV", target, (255, 0, 0))], volume, path=folder / "RS.dcm", label="plan")


def read_and_write(source: Path, out: Path) -> None:
    """What has to be done in any case: pixels in, compressed volumes out."""
    for folder in sorted(source.iterdir()):
        files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "CT"))
        image = SimpleITK.Cast(SimpleITK.ReadImage(files), SimpleITK.sitkInt16)
        pydicom.dcmread(folder / "RS.dcm")
        label = SimpleITK.Image(image.GetSize(), SimpleITK.sitkUInt8)
        label.CopyInformation(image)
        for name, volume in (("image", image), ("label", label)):
            SimpleITK.WriteImage(volume, str(out / f"{folder.name}_{name}.nii.gz"), useCompression=True)


def convert(source: Path, out: Path) -> None:
    """The whole way, with one worker."""
    from nnunet_ext.cli.main import main

    arguments = ["--dataset-id", "1", "--out", str(out), "--key", str(out / "key.json"), "--no-pbar"]
    main(["convert", "liver-target", str(source), *arguments])


def in_a_fresh_process(what: str, source: Path) -> tuple[float, float]:
    """Seconds of the work itself, imports left out, and the peak of memory in MiB."""
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        done = subprocess.run(
            [sys.executable, __file__, "--run", what, str(source), out],
            check=True,
            capture_output=True,
            text=True,
        )
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


def run(what: str, source: Path, out: Path) -> None:
    """One measurement, in this process."""
    from nnunet_ext.dataset_conversion import convert as _  # noqa: F401  # imported before the clock starts

    start = time.perf_counter()
    (convert if what == "convert" else read_and_write)(source, out)
    seconds = time.perf_counter() - start
    # Not getrusage: a child process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(seconds, int(peak_kib) / 1024)


def main() -> None:
    """Write the patients, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size-vox", type=int, nargs=3, default=(120, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(args.run[0], Path(args.run[1]), Path(args.run[2]))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        for seed in range(args.cases):
            write_patient(folder / "clinic" / f"p{seed}", seed=seed, size=tuple(args.size_vox))
        results = [
            [in_a_fresh_process(what, folder / "clinic") for what in ("plain", "convert")]
            for _ in range(args.rounds)
        ]
    finally:
        shutil.rmtree(folder)
    ratios = [whole[0] / plain[0] for plain, whole in results]
    volume_mib = np.prod(args.size_vox) * 2 / 2**20
    print(f"{args.cases} cases of {args.size_vox}, {volume_mib:.0f} MiB each; {platform.platform()}")
    print("read and write, seconds:", ", ".join(f"{plain[0]:.1f}" for plain, _ in results))
    print("convert, seconds:       ", ", ".join(f"{whole[0]:.1f}" for _, whole in results))
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    peaks = [max(one[i][1] for one in results) for i in (0, 1)]
    print(f"peak memory, MiB: {peaks[0]:.0f} and {peaks[1]:.0f}")


if __name__ == "__main__":
    main()
