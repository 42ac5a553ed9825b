"""``python -m nnunet_ext``: the command for environments whose scripts are not on the PATH."""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ == "":
    # Run as `python <path of this folder>`, the way in when a foreign package called nnunet_ext comes first:
    # Python has put this folder on the search path, where only its parent belongs, ahead of the foreign one.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from nnunet_ext.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
