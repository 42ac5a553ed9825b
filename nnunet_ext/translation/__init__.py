"""MRI becomes CT: a 3D CycleGAN learns it from unpaired datasets; labeled synthetic CT joins real CT."""
