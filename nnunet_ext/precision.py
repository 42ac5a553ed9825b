"""What the processor computes in: shared by training and prediction."""

from __future__ import annotations

import torch


def cpu_computes_bfloat16() -> bool:
    """True where the CPU has AMX or AVX512-BF16; others only emulate bfloat16, slowly.

    Example:
        >>> cpu_computes_bfloat16() in (True, False)
        True
    """
    # Both are private in torch and may go: then float32 is the safe answer.
    probes = (
        getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    return any(probe() for probe in probes if probe is not None)
