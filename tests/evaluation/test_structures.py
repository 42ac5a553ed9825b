"""Labels, regions and what is ignored, as nnU-Net reads them."""

from __future__ import annotations

from typing import Any

import pytest
from evaluated import table
from nnunetv2.evaluation.evaluate_predictions import key_to_label_or_region

from nnunet_ext.evaluation import label_table


def test_labels() -> None:
    found = table({"background": 0, "b": 2, "a": 1})
    assert [(s.key, s.name, s.labels) for s in found.structures] == [("1", "a", (1,)), ("2", "b", (2,))]
    assert (found.foreground, found.ignore, found.size) == ((1, 2), None, 3)


def test_regions_have_the_keys_of_nnunet() -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    found = table(labels, regions_class_order=[1, 2, 3])
    assert [s.name for s in found.structures] == ["whole", "core", "enhancing"]
    assert [key_to_label_or_region(s.key) for s in found.structures] == [(1, 2, 3), (2, 3), 3]
    assert (found.foreground, found.ignore, found.size) == ((1, 2, 3), 4, 5)


def test_structures_by_name_or_key() -> None:
    found = table({"background": 0, "artery": 1, "vein": 2})
    assert found.keys_of(["vein", "1"]) == {"1", "2"}
    with pytest.raises(ValueError, match=r"no structure is called bone; .* has artery, vein"):
        found.keys_of(["bone", "vein"])


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "names no labels as nnU-Net v2 does"),
        ({"labels": {"0": "background", "1": "organ"}}, "names no labels as nnU-Net v2 does"),
        ({"labels": {"organ": 1}}, "Background label not declared"),
        ({"labels": {"background": 0, "organ": 1, "ignore": 7}}, "highest"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "regions_class_order"),
        (
            {"labels": {"background": 0, "all": [0, 1], "b": 1}, "regions_class_order": [1, 2]},
            "background, 0",
        ),
    ],
)
def test_labels_that_nnunet_does_not_take(description: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_table(description)
