"""Devices: where a tensor's memory lives."""

from __future__ import annotations

__all__ = ["CPU", "check_available", "device", "get_default_device", "set_default_device"]

_TYPES = (
    "cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia",
    "xla", "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone",
)  # fmt: skip
NO_CUDA = (
    "Torch not compiled with CUDA enabled: danlu finds no CUDA device on this machine; "
    "use device='cpu', or device='cuda' if torch.cuda.is_available() else 'cpu'"
)


class device:
    """A device by type and index: `device("cpu")`, `device("cuda:1")`, `device("cuda", 1)`.

    Raises:
        RuntimeError: the string names no device type, or carries a malformed index.

    Example:
        >>> import danlu as torch
        >>> torch.device("cuda:1")
        device(type='cuda', index=1)
    """

    __slots__ = ("index", "type")

    index: int | None
    type: str

    def __init__(self, type, index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        elif not isinstance(type, str):
            raise TypeError(
                f"device() expects a string such as 'cpu' or 'cuda:0', not {type.__class__.__name__}"
            )
        elif ":" in type:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed explicitly: {type}"
                )
            type, _, text = type.partition(":")
            if not text.isdecimal() or (len(text) > 1 and text[0] == "0"):
                raise RuntimeError(f"Invalid device string: '{type}:{text}'")
            index = int(text)
        if type not in _TYPES:
            raise RuntimeError(
                f"Expected one of {', '.join(_TYPES)} device type at start of device string: {type}"
            )
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must not be negative, got {index}")
        self.type = type
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (
            ")" if self.index is None else f", index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self):
        return (device, (self.type, self.index))

    def __enter__(self):
        _default.append(self)
        return self

    def __exit__(self, *exception) -> None:
        _default.pop()


CPU = device("cpu")
_default = [CPU]


def get_default_device() -> device:
    """The device on which new tensors are made."""
    return _default[-1]


def set_default_device(device_) -> None:
    """Set the device on which new tensors are made; None means the CPU."""
    _default[-1] = CPU if device_ is None else device(device_)
    check_available(_default[-1])


def check_available(wanted) -> device:
    """The device for `wanted` (a device, a string or an index), if this machine has it.

    Raises:
        AssertionError: CUDA is asked for where there is none, as PyTorch's CPU build does.
        RuntimeError: another device type that danlu has no backend for.
    """
    found = wanted if wanted.__class__ is device else device(wanted)
    if found.type == "cpu":
        return found
    if found.type == "cuda":
        raise AssertionError(NO_CUDA)
    raise RuntimeError(
        f"danlu has no backend for device type '{found.type}'; use device='cpu' instead"
    )
