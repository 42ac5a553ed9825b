"""Coarse, where to look, fine: patches proposed from a coarse segmentation (papers 000, 001 and 003)."""
