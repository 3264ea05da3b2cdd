"""Where a command computes and how precisely: decided once, here."""

from typing import Literal

from sdfkit.errors import MissingError


def choose_device(device: str) -> str:
    """The device that `--device` names, as torch calls it.

    Raises:
        MissingError: A GPU is asked for, and there is none.
    """
    from accelerate import Accelerator

    found = str(Accelerator(cpu=device == "cpu").device)
    if device == "gpu" and found == "cpu":
        raise MissingError("--device gpu: this machine has no GPU that torch can use; choose --device cpu")
    return found


def choose_precision(precision: str, device: str) -> Literal["fp32", "bf16"]:
    """The precision of matrix products; `auto` takes bf16 where the hardware multiplies it faster than fp32."""
    import torch

    if precision == "auto":
        if torch.device(device).type == "cuda":
            units = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            # Without these units bf16 is emulated, and slower: 31 against 165 GF/s on AVX-512 without them.
            units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        precision = "bf16" if units else "fp32"
    return "bf16" if precision == "bf16" else "fp32"
