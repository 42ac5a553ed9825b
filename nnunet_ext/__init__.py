"""nnunet_ext: ideas of five segmentation papers as a plugin for an unmodified nnU-Net v2.

The command ``nnunet_ext --help`` lists what the package does. Importing the package imports nothing heavy.
"""

__version__ = "0.1.0"
