"""Plans for any network: what a training step needs of memory, and patches and batches that fit."""

from nnunet_ext.planning.fitting import DoesNotFitError, Fit, fit
from nnunet_ext.planning.memory import StepMemory, TrainingStep, trace_step_memory

__all__ = ["DoesNotFitError", "Fit", "StepMemory", "TrainingStep", "fit", "trace_step_memory"]
