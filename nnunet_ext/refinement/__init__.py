"""The SCN refiner: learns from out-of-fold probabilities how structures lie to each other, and corrects."""
