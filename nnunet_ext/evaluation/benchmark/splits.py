"""A dataset's folds, drawn by nnU-Net before several trainings could draw them at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from nnunet_ext.evaluation.benchmark.inputs import SPLITS
from nnunet_ext.evaluation.benchmark.matrix import Matrix
from nnunet_ext.files import whole_file


def draw_splits(matrix: Matrix, *, preprocessed: Path) -> bool:
    """Let nnU-Net draw the folds of a dataset that has none yet.

    nnU-Net does so in the first training, and writes straight into the file: where trainings run side by
    side, another one reads half of it and fails.

    Args:
        matrix: the benchmark, whose inputs are there.
        preprocessed: nnU-Net's folder of preprocessed datasets.

    Returns:
        Whether there were none.

    Raises:
        ValueError: nnU-Net cannot draw folds from these cases.
        OSError: the file cannot be written.
    """
    dataset = preprocessed / matrix.dataset
    file = dataset / SPLITS
    if file.is_file():
        return False
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    arm = matrix.arms[0]
    plans = PlansManager(str(dataset / f"{arm.plans}.json"))
    data = dataset / plans.get_configuration(arm.configuration).data_identifier
    with whole_file(file) as temporary:
        # What nnU-Net's method looks at. A trainer itself would leave a folder of results.
        trainer = SimpleNamespace(
            fold=0,
            dataset_class=None,
            preprocessed_dataset_folder=str(data),
            preprocessed_dataset_folder_base=str(temporary.parent),
            folder_with_segs_from_previous_stage=None,
            print_to_log_file=lambda *_: None,
        )
        try:
            nnUNetTrainer.do_split(trainer)
        except (ValueError, AssertionError) as error:
            raise ValueError(
                f"expected cases in {data} from which nnU-Net draws its folds, got: {error} Preprocess the "
                f"dataset again, or write {file}"
            ) from error
    return True
