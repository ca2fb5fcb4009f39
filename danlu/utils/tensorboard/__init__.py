"""Logging for TensorBoard: ``SummaryWriter`` and the records that it writes."""

try:
    from danlu.utils.tensorboard.event_file import FileWriter
    from danlu.utils.tensorboard.writer import SummaryWriter
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "tensorboard":
        raise
    raise ImportError(
        "SummaryWriter writes with the package tensorboard, which is not installed: "
        "pip install 'danlu[tensorboard]'"
    ) from error

__all__ = ["FileWriter", "SummaryWriter"]
