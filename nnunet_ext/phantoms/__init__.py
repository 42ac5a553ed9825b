"""Synthetic patients: seeded anatomy with exact labels, for tests, for the demo and for trying a pipeline.

``shapes``, ``ct``, ``phantom`` and ``dataset`` are for every phantom; ``abdomen`` and ``liver_target`` hold
the anatomy of one.
"""
