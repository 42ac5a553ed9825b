"""Synthetic patients: seeded anatomy with exact labels, for tests, for the demo and for trying a pipeline.

``phantom``, ``shapes``, ``ct`` and ``dataset`` are for every phantom. ``liver_target`` is one image in
normalized coordinates, with ``abdomen`` and ``liver`` as its anatomy. The others are in millimeters:
``coronary``, ``whole_heart``, ``lower_limb`` and ``brain_oar`` make a patient; ``thorax``, ``heart``,
``coronary_tree``, ``leg``, ``head`` and ``orbits`` draw the anatomy as strokes of ``solids``, which ``scene``
paints on any grid of ``view``; ``materials``, ``head_tones`` and ``mr`` say how a scanner shows it.
``clinic`` writes them as the clinic does, with named defects.
"""
