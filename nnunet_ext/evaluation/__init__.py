"""Metrics with named definitions, in mm, in the space of the reference; missing structures are counted.

A pair of label maps goes through :func:`score_case`, folders through :func:`evaluate_cases`; what comes out
is a superset of nnU-Net's ``summary.json``. The definitions stand in
:mod:`nnunet_ext.evaluation.definitions` and in every file of results.
"""

from nnunet_ext.evaluation.cases import Case, find_cases, find_dataset_json, read_dataset_json
from nnunet_ext.evaluation.compare import score_case
from nnunet_ext.evaluation.folder import CaseResult, evaluate_cases
from nnunet_ext.evaluation.scores import CaseScores, Settings, StructureScores
from nnunet_ext.evaluation.structures import LabelTable, Structure, label_table
from nnunet_ext.evaluation.summary import Evaluation, summary, summary_text

__all__ = [
    "Case",
    "CaseResult",
    "CaseScores",
    "Evaluation",
    "LabelTable",
    "Settings",
    "Structure",
    "StructureScores",
    "evaluate_cases",
    "find_cases",
    "find_dataset_json",
    "label_table",
    "read_dataset_json",
    "score_case",
    "summary",
    "summary_text",
]
