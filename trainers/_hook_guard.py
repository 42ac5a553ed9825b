"""Refuses to be imported from this folder as if it were the hook.

nnU-Net imports the modules of the folder that ``nnUNet_extTrainer`` names in alphabetical order; this one is
the first here. Imported that way, our classes would exist twice, under wrong module names, and not pickle.
"""

if __name__ != "nnunet_ext.trainers._hook_guard":
    raise ImportError(
        "nnUNet_extTrainer points at the folder of nnunet_ext's trainers; it has to name the hook folder: "
        'export nnUNet_extTrainer="$(nnunet_ext trainers --path)"'
    )
