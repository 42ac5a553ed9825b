"""Fair comparison with vanilla nnU-Net: which trainings, run through stock commands, recorded and resumed."""
