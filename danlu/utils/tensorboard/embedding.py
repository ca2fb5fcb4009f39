"""The files of TensorBoard's projector: one folder per embedding, and a list of all of them."""

from __future__ import annotations

import math
import os
import warnings

import numpy as np

from danlu.utils.tensorboard.arrays import as_array, encode_image, image_grid

__all__ = ["write_config", "write_embedding"]


def write_embedding(log_dir, points, metadata, label_img, global_step, tag, metadata_header):
    """Write one embedding's files into a folder of its own.

    Args:
        points: (N, D), one row per point.
        metadata: N labels, or rows of labels where `metadata_header` names the columns; or None.
        label_img: (N, C, H, W) pictures of the points, or None.

    Returns:
        What the projector's configuration says of it.
    """
    from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo

    where = f"add_embedding(tag={tag!r})"
    points = as_array(points, where)
    if points.ndim != 2:
        raise AssertionError(
            f"{where}: mat must be 2-D, one row per point, got shape {list(points.shape)}"
        )
    images = None if label_img is None else as_array(label_img, where)
    for name, given in (("metadata", metadata), ("label_img", images)):
        if given is not None and len(given) != len(points):
            raise AssertionError(
                f"{where}: mat has {len(points)} points, but {name} has {len(given)} entries"
            )
    step = str(global_step or 0).zfill(5)
    folder = f"{step}/{_as_folder(tag)}"
    path = os.path.join(log_dir, folder)
    if os.path.isdir(path):
        warnings.warn(
            f"{where}: overwrites what was logged at step {int(step)}; give every call its "
            "global_step",
            stacklevel=3,
        )
    os.makedirs(path, exist_ok=True)

    info = EmbeddingInfo(tensor_name=f"{tag}:{step}", tensor_path=f"{folder}/tensors.tsv")
    _write_table(os.path.join(path, "tensors.tsv"), points.tolist())
    if metadata is not None:
        info.metadata_path = f"{folder}/metadata.tsv"
        rows = _labels(metadata, metadata_header, where)
        _write_table(os.path.join(path, "metadata.tsv"), rows)
    if images is not None:
        info.sprite.image_path = f"{folder}/sprite.png"
        info.sprite.single_image_dim.extend([images.shape[3], images.shape[2]])
        with open(os.path.join(path, "sprite.png"), "wb") as file:
            file.write(encode_image(_sprite(images, where)))
    return info


def write_config(log_dir, config) -> None:
    """Write the list of all embeddings, which the projector reads first."""
    from google.protobuf import text_format

    path = os.path.join(log_dir, "projector_config.pbtxt")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text_format.MessageToString(config))


def _as_folder(tag: str) -> str:
    """The tag as the name of one folder."""
    for character in "%/\\":
        tag = tag.replace(character, f"%{ord(character):02x}")
    return tag


def _labels(metadata, header, where) -> list:
    if not header:
        return [[label] for label in metadata]
    if len(header) != len(metadata[0]):
        raise AssertionError(
            f"{where}: metadata_header names {len(header)} columns, but a row of metadata has "
            f"{len(metadata[0])}"
        )
    return [header, *metadata]


def _write_table(path, rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.writelines("\t".join(map(str, row)) + "\n" for row in rows)


def _sprite(images, where) -> np.ndarray:
    """All pictures in one, in as many columns as rows; what the projector cuts its labels from."""
    images = (images.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)
    grid = image_grid(images, math.ceil(math.sqrt(len(images))), where).transpose(1, 2, 0)
    height, width, _ = grid.shape
    square = np.zeros((width, width, 3), np.uint8)
    square[:height] = grid
    return square
