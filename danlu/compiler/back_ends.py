"""Which of the two back ends runs a graph: one native function, or loops and kernels in turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.kernels.graph.nodes import Unsupported

__all__ = ["executable"]

_TABLE = 1 << 14  # elements


def executable(graph, results, arguments, of_any_size: bool = False):
    """The faster of the back ends that can run a graph.

    Args:
        of_any_size: whether the machine code is to serve other sizes as well.

    Raises:
        Unsupported: neither can.
    """
    from danlu.kernels.graph.plan import plan_graph
    from danlu.kernels.graph.single import single

    back_ends: list[Any] = [single, plan_graph]
    if of_any_size or _is_table(graph, arguments):
        back_ends.reverse()
    try:
        return back_ends[0](graph, results, arguments)
    except Unsupported:
        return back_ends[1](graph, results, arguments)


def _is_table(graph, arguments) -> bool:
    """Whether rows of a few numbers, that are no weights, are most of the work: loops over them, which are one or two,
    take 8 us on all threads where the one function takes 12 (2,000 rows of 10)."""
    written = {leaf.info.slot.number for leaf in graph.writes}
    return any(
        isinstance(each, np.ndarray) and each.ndim == 2 and each.shape[1] <= 32
        and each.size >= _TABLE and number not in written
        for number, each in enumerate(arguments)
    )  # fmt: skip
