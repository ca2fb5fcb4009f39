"""Boxes: (N, 4) tensors of left, top, right and bottom edges."""

from __future__ import annotations

import numpy as np

import danlu
from danlu.tensor import Tensor

__all__ = ["box_area", "box_convert", "box_iou", "clip_boxes_to_image", "nms"]


def box_area(boxes) -> Tensor:
    """(N, 4) -> (N): width times height."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_convert(boxes, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes in another notation.

    Args:
        boxes: (..., 4).
        in_fmt, out_fmt: "xyxy" (edges), "xywh" (left, top, width, height) or "cxcywh" (centre,
            width, height).

    Raises:
        ValueError: for another notation.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.ops import box_convert
        >>> box_convert(torch.tensor([[1, 2, 4, 8]]), "xyxy", "xywh")
        tensor([[1, 2, 3, 6]])
    """
    known = ("xyxy", "xywh", "cxcywh")
    for given in (in_fmt, out_fmt):
        if given not in known:
            raise ValueError(f"Unsupported Bounding Box format {given!r}: take one of {known}")
    if in_fmt == out_fmt:
        return boxes.clone()
    first, second = boxes[..., :2], boxes[..., 2:]
    if in_fmt == "xywh":
        second = first + second
    elif in_fmt == "cxcywh":
        first, second = first - 0.5 * second, first + 0.5 * second
    if out_fmt == "xywh":
        second = second - first
    elif out_fmt == "cxcywh":
        first, second = (first + second) / 2, second - first
    return danlu.cat((first, second), -1)


def clip_boxes_to_image(boxes, size) -> Tensor:
    """Boxes cut off at the edges of an image of the size (height, width)."""
    height, width = size
    across, down = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return danlu.stack((across, down), -1).reshape(boxes.shape)


def box_iou(boxes1, boxes2) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): the area that two boxes share, as part of what they cover.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.ops import box_iou
        >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 1.0, 2.0]]))
        tensor([[0.5000]])
    """
    start = danlu.maximum(boxes1[:, None, :2], boxes2[:, :2])
    stop = danlu.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    shared = (stop - start).clamp(min=0).prod(-1)
    return shared / (box_area(boxes1)[:, None] + box_area(boxes2) - shared)


def nms(boxes, scores, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: the numbers of the boxes that remain, best first.

    A box goes if a better one that remains overlaps it by more than the threshold.

    Args:
        boxes: (N, 4).
        scores: (N).
        iou_threshold: the largest `box_iou` that is borne.
    """
    order = np.argsort(-scores.numpy(force=True), kind="stable")
    overlap = box_iou(boxes, boxes).numpy(force=True) > iou_threshold
    gone = np.zeros(len(order), bool)
    kept = []
    for number in order:
        if not gone[number]:
            kept.append(int(number))
            gone |= overlap[number]
    return danlu.tensor(kept, dtype=danlu.int64)
