"""Steps in their order: run on a case, written down, read back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_ext.preparation import (
    STEPS,
    CorrectBiasField,
    Grid,
    MatchGrid,
    Preparation,
    PreparationError,
    Register,
    RemoveCouch,
    Resample,
    Standardize,
    Step,
    Window,
    preparation_from_json,
    preparation_to_json,
    read_preparation,
    write_preparation,
)

BRAIN = Preparation(
    channels=("CT", "T1w"),
    label_channel="CT",
    steps=(
        RemoveCouch(channel="CT"),
        CorrectBiasField(channel="T1w", shrink_factor=2, iterations=(3,)),
        Register(moving="T1w", fixed="CT", samples=5000, working_spacing_mm=3),
        Resample(spacing_mm=(3, 3, 4)),
        Window(channel="CT", low=-135, high=215),
        Standardize(channel="T1w"),
    ),
)
SHAPE = (16, 44, 48)
SPACING = (4.0, 3.0, 3.0)


def head(shift_vox: int = 0) -> NDArray[np.int_]:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    x = x - shift_vox

    def ball(center: tuple[float, float, float], radii: tuple[float, float, float]) -> NDArray[np.bool_]:
        parts = zip((z, y, x), center, radii, strict=True)
        inside: NDArray[np.bool_] = sum(((g - c) / r) ** 2 for g, c, r in parts) < 1
        return inside

    found = np.zeros(SHAPE, int)
    found[ball((8, 20, 23), (7, 15, 17))] = 1
    found[ball((8, 20, 23), (6, 12, 14))] = 2
    found[ball((9, 15, 16), (3, 4, 4))] = 3
    return found


def scan(values: NDArray[np.generic], kind: str) -> sitk.Image:
    image = sitk.GetImageFromArray(values.astype(kind))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-70.0, -60.0, 900.0))
    return image


def patient() -> tuple[dict[str, sitk.Image], sitk.Image]:
    rng = np.random.default_rng(0)
    ct = np.array([-1000, 600, 40, 10])[head()]
    ct[:, 39:40, 4:44] = 100  # couch
    ct = ct + rng.normal(0, 10, SHAPE)
    mr = np.abs(np.array([3, 40, 500, 800])[head(shift_vox=2)] + rng.normal(0, 5, SHAPE))
    return {"CT": scan(ct, "int16"), "T1w": scan(mr, "float32")}, scan(head() == 3, "uint8")


def test_steps_run_in_order_on_a_patient() -> None:
    channels, label = patient()
    before = {name: sitk.GetArrayFromImage(image) for name, image in channels.items()}
    prepared = BRAIN.run(channels, label)
    case = prepared.case
    grid = Grid.of(case.channels["CT"])
    assert grid.spacing_mm == (4, 3, 3)
    assert case.label is not None
    assert Grid.of(case.channels["T1w"]) == grid
    assert Grid.of(case.label) == grid
    assert Grid.of(case.bodies["CT"]) == grid
    ct, mr = (sitk.GetArrayFromImage(case.channels[name]) for name in ("CT", "T1w"))
    assert ct.min() == -1
    assert ct.max() == 1
    assert (ct[:, 39:] == -1).all()  # no couch
    # The lesion of the MR, 6 mm off before, lies where the CT's label says.
    marked = sitk.GetArrayFromImage(case.label) == 1
    assert mr[marked].mean() > mr[~marked].mean() + 1.5
    assert case.transforms["T1w"].TransformPoint((0.0, 0.0, 932.0))[0] == pytest.approx(6, abs=1)
    for name, image in channels.items():
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), before[name])


def test_report_is_plain_and_repeatable() -> None:
    channels, label = patient()
    report = BRAIN.run(channels, label).report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [step["step"] for step in report["steps"]] == [step.name for step in BRAIN.steps]
    couch, bias, registered, resampled, _, standardized = report["steps"]
    assert couch["kept_parts"] == 1
    assert couch["removed_ml"] > 0
    assert {"variation_before", "variation_after"} <= set(bias)
    assert registered["information_after"] > registered["information_before"]
    assert resampled["lost_labels"] == []
    assert standardized["std"] > 0
    assert couch["opening_radius_mm"] == 4.0  # parameters, too
    assert BRAIN.run(channels, label).report == report


def test_a_patient_without_a_label() -> None:
    channels, label = patient()
    with_label, without = (BRAIN.run(channels, one).case for one in (label, None))
    assert without.label is None
    for name in channels:
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(with_label.channels[name]), sitk.GetArrayFromImage(without.channels[name])
        )


def test_a_lost_label_is_reported() -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[:, 10:20, 10:20] = 1
    values[8, 30, 31] = 7
    channels, _ = patient()
    steps = (Resample(spacing_mm=(16, 12, 12)),)
    prepared = Preparation(channels=("CT",), label_channel="CT", steps=steps).run(
        {"CT": channels["CT"]}, scan(values, "uint8")
    )
    assert prepared.report["steps"][0]["lost_labels"] == [7]


def test_match_grid_and_grids_that_differ() -> None:
    channels, _ = patient()
    channels["T1w"] = sitk.BinShrink(channels["T1w"], [2, 2, 1])
    resample = Resample(spacing_mm=(2, 2, 2))
    with pytest.raises(PreparationError, match=r"grids-differ: step 1 \(resample\): expected channel 'T1w'"):
        Preparation(channels=("CT", "T1w"), label_channel="CT", steps=(resample,)).run(channels)
    match = MatchGrid(channel="T1w", reference="CT", background=0)
    prepared = Preparation(channels=("CT", "T1w"), label_channel="CT", steps=(match, resample)).run(channels)
    one, other = (Grid.of(image) for image in prepared.case.channels.values())
    assert one == other


def test_errors_name_the_step() -> None:
    channels, _ = patient()
    channels["CT"] = channels["CT"] + 1024
    with pytest.raises(PreparationError) as error:
        BRAIN.run(channels)
    assert error.value.code == "threshold-implausible"
    assert error.value.reason.startswith("step 1 (remove_couch): expected Otsu's threshold")


def test_errors_come_back_from_workers() -> None:
    error = PreparationError("folding", "expected this, got that", "do so")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.reason, again.remedy, str(again)) == (
        error.code,
        error.reason,
        error.remedy,
        str(error),
    )


def test_cases_that_do_not_fit_are_refused() -> None:
    channels, label = patient()
    with pytest.raises(PreparationError, match=r"wrong-channels: expected channels \['CT', 'T1w'\]"):
        BRAIN.run({"CT": channels["CT"]})
    label.SetOrigin((0.0, 0.0, 0.0))
    with pytest.raises(
        PreparationError, match="grids-differ: expected the label on the grid of channel 'CT'"
    ):
        BRAIN.run(channels, label)


numbers = st.floats(0.1, 100) | st.integers(1, 50)
one_step = st.one_of(
    st.builds(RemoveCouch, channel=st.just("CT"), opening_radius_mm=numbers, air_hu=st.floats(-1024, -900)),
    st.builds(
        CorrectBiasField,
        channel=st.just("T1w"),
        iterations=st.lists(st.integers(1, 99), min_size=1, max_size=5).map(tuple),
        clip_negative=st.booleans(),
    ),
    st.builds(
        Register,
        moving=st.just("T1w"),
        fixed=st.just("CT"),
        within_body=st.just(False),
        fixed_range=st.tuples(st.floats(-900, -100), numbers),
        elastic=st.booleans(),
    ),
    st.builds(MatchGrid, channel=st.just("T1w"), reference=st.just("CT"), background=numbers),
    st.builds(
        Resample,
        spacing_mm=st.tuples(numbers, numbers, numbers),
        label_method=st.sampled_from(["linear", "nearest"]),
    ),
    st.builds(Window, channel=st.just("CT"), low=st.floats(-900, 0), high=numbers),
    st.builds(Standardize, channel=st.just("T1w"), within=st.sampled_from(["image", "foreground"])),
)


@given(steps=st.lists(one_step, max_size=6).map(tuple))
def test_record_reads_back_exactly(steps: tuple[Step, ...]) -> None:
    preparation = Preparation(channels=("CT", "T1w"), label_channel="CT", steps=steps)
    text = preparation_to_json(preparation)
    again = preparation_from_json(text)
    assert again == preparation
    assert preparation_to_json(again) == text


def test_every_step_can_be_drawn_and_writes_every_parameter() -> None:
    content = json.loads(preparation_to_json(BRAIN))
    assert {step.name for step in BRAIN.steps} | {"match_grid"} == set(STEPS)
    for step, plain in zip(BRAIN.steps, content["steps"], strict=True):
        assert set(plain) == {"step", *vars(step)}


def test_record_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "preparation.json"
    write_preparation(BRAIN, path)
    assert read_preparation(path) == BRAIN
    assert [p.name for p in tmp_path.iterdir()] == ["preparation.json"]


def changed(**change: Any) -> str:
    content = json.loads(preparation_to_json(BRAIN))
    return json.dumps({**content, **change})


def with_step(number: int, **change: Any) -> str:
    steps = json.loads(preparation_to_json(BRAIN))["steps"]
    steps[number] = {k: v for k, v in {**steps[number], **change}.items() if v != "missing"}
    return changed(steps=steps)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "expected JSON"),
        ("[]", 'expected "format"'),
        (changed(format="other"), 'expected "format"'),
        (changed(version=2), "expected version 1, got 2"),
        (changed(version=True), "expected version 1, got True"),
        (changed(extra=1), r"unknown \['extra'\]"),
        (changed(channels="CT"), "channels as a list"),
        (changed(channels=["CT", "CT", "T1w"]), "distinct channels"),
        (changed(label_channel="PET"), "label_channel one of them"),
        (changed(label_channel="T1w"), r"step 3 \(register\): channel 'T1w' would be moved away"),
        (changed(steps={}), "steps as a list"),
        (changed(steps=["window"]), "step 1: expected one of"),
        (with_step(1, step="n5"), "step 2: expected one of .* got 'n5'"),
        (with_step(0, radius=3), r"step 1 \(remove_couch\): .* unknown \['radius'\]"),
        (with_step(0, air_hu="missing"), r"\['air_hu'\] is missing"),
        (with_step(0, air_hu="-1000"), "expected air_hu of type float, got '-1000'"),
        (with_step(0, channel="PET"), r"out of \['CT', 'T1w'\], got \['PET'\]"),
        (with_step(1, iterations=[3.5]), "expected iterations of type"),
        (with_step(1, shrink_factor=True), "expected shrink_factor of type int, got True"),
        (with_step(2, fixed="T1w"), "onto itself"),
        (with_step(2, fixed_range=[1, 2, 3]), "expected fixed_range of type"),
        (with_step(3, label_method="cubic"), "expected label_method of type"),
        (
            with_step(0, step="window", **{k: "missing" for k in vars(BRAIN.steps[0]) if k != "channel"}),
            "is missing",
        ),
    ],
)
def test_records_that_cannot_be_meant_are_refused(text: str, message: str) -> None:
    with pytest.raises(PreparationError, match=message) as error:
        preparation_from_json(text)
    assert error.value.code == "bad-record"


def test_a_body_has_to_be_found_before_it_is_used() -> None:
    with pytest.raises(PreparationError, match="within_body needs the body of 'CT'"):
        Preparation(channels=("CT", "T1w"), label_channel="CT", steps=(BRAIN.steps[2], BRAIN.steps[0]))


def test_numbers_outside_their_range_name_the_step() -> None:
    channels, _ = patient()
    steps = (Window(channel="CT", low=10, high=-10),)
    with pytest.raises(PreparationError, match=r"bad-record: step 1 \(window\): a window needs low < high"):
        Preparation(channels=("CT",), label_channel="CT", steps=steps).run({"CT": channels["CT"]})
