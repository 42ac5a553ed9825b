"""Converters from clinical datasets to nnU-Net raw: one script per dataset over one shared core."""

if __name__ != "nnunet_ext.dataset_conversion":
    raise ImportError(f"import 'nnunet_ext.dataset_conversion', not {__name__!r}: install the package first")
