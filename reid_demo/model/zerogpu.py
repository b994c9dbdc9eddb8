"""ZeroGPU of Hugging Face Spaces: the GPU is lent for one decorated call at a time. Elsewhere nothing changes.

The `spaces` package must be imported before torch, and the network must be on `cuda` before the page starts; it then
carries it to the GPU at each decorated call. The call runs in another process, so it must take and return CPU tensors.
"""

import importlib.util
import os
from collections.abc import Callable

CALL_S = 30  # seconds of GPU that one batched forward may take


def prepare() -> bool:
    """Import `spaces` where a Space runs on ZeroGPU; call it before anything imports torch. Say whether it did."""
    if not is_here():
        return False
    import spaces  # noqa: F401

    return True


def is_here() -> bool:
    """Tell whether this process runs on ZeroGPU."""
    asked = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true", "yes")
    return asked and importlib.util.find_spec("spaces") is not None


def on_gpu(function: Callable) -> Callable:
    """Decorate `function` where this runs on ZeroGPU; return it unchanged anywhere else."""
    if not is_here():
        return function
    import spaces

    return spaces.GPU(duration=CALL_S)(function)
