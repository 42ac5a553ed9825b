"""Phantoms on disk as the clinic leaves them, whole or with a named defect.

``catalog`` names phantoms and defects and imports nothing heavy. ``write.write_clinic`` makes each patient
in memory (``anatomies``), writes it as its clinic does (``dicom_layout``, ``volume_layout``) and damages it
where a defect is asked for (``series_defects``, ``structure_defects``, ``png_defects``, ``volume_defects``;
``clinics`` says which belong to which).
"""
