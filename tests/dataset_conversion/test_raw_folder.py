"""Which dataset a user means by a number, a name or a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_ext.dataset_conversion.raw_folder import existing_dataset, folder_to_write, raw_folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name in ("Dataset004_Liver", "Dataset040_Heart", "Dataset041_A", "Dataset041_B"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("named", ["4", "004", "Dataset004_Liver"])
def test_a_number_or_a_name_is_looked_for_among_the_raw_datasets(raw: Path, named: str) -> None:
    assert existing_dataset(named, raw=raw) == raw / "Dataset004_Liver"


def test_a_folder_is_itself(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert existing_dataset(str(raw / "Dataset040_Heart"), raw=None) == raw / "Dataset040_Heart"
    (raw / "4").mkdir()
    monkeypatch.chdir(raw)  # a number is always one, whatever lies here
    assert existing_dataset("4", raw=raw) == raw / "Dataset004_Liver"


@pytest.mark.parametrize(("named", "count"), [("5", 0), ("41", 2), ("Dataset00*", 0), ("/no/such/folder", 0)])
def test_what_is_not_one_dataset_is_refused(raw: Path, named: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"expected one dataset .* got {count}"):
        existing_dataset(named, raw=raw)


def test_the_folder_of_raw_datasets_is_given_or_nnunets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert raw_folder(None) == tmp_path
    assert raw_folder(Path("other")) == Path("other")
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(ValueError, match="set nnUNet_raw or give --out"):
        raw_folder(None)


@pytest.mark.parametrize("number", [None, 0, 1000, -1])
def test_a_number_that_nnunet_does_not_take(tmp_path: Path, number: int | None) -> None:
    with pytest.raises(ValueError, match="from 1 to 999"):
        folder_to_write(number, "Liver", raw=tmp_path)
