"""No effect of a compiled function is lost, doubled or made while it is traced."""

from __future__ import annotations

import collections
import contextvars
import functools
import heapq
import itertools
import operator
import queue
import threading

import pytest

import danlu as torch
from danlu import nn
from tests.unit.compiling import copied, differences, outcome

pytest.importorskip("llvmlite")


def nothing(i):
    pass


def by(effect, make, look=list):
    def factory():
        box = make()

        def step(x):
            effect(box, x)
            return x * 2

        return step, nothing, lambda: copied(look(box))

    return factory


EFFECTS = {
    "deque": by(lambda box, x: box.append(1), collections.deque),
    "deque of tensors": by(lambda box, x: box.append(x.sum()), collections.deque),
    "setdefault": by(lambda box, x: box.setdefault(len(box), 1), dict, lambda box: list(box)),
    "defaultdict": by(
        lambda box, x: box[len(box)], lambda: collections.defaultdict(list), lambda box: list(box)
    ),
    "slice": by(lambda box, x: box.__setitem__(slice(0, 0), [1]), list),
    "operator": by(lambda box, x: operator.iadd(box, [1]), list),
    "setitem": by(lambda box, x: operator.setitem(box, "n", box.get("n", 0) + 1), dict, dict.items),
    "heap": by(lambda box, x: heapq.heappush(box, len(box)), list),
    "sort": by(lambda box, x: (box.sort(), box.pop()), lambda: [9, 8, 7, 6, 5, 4, 3]),
    "reverse": by(lambda box, x: box.reverse(), lambda: [1, 2, 3]),
    "delete": by(lambda box, x: box.__delitem__(0), lambda: [1, 2, 3, 4, 5, 6, 7]),
    "clear": by(lambda box, x: box.clear() if len(box) > 3 else box.append(1), list),
    "map": by(lambda box, x: list(map(box.append, [1, 2])), list),
    "sum": by(lambda box, x: sum(box.append(1) or 0 for _ in range(2)), list),
    "key of sorted": by(lambda box, x: sorted([2, 1], key=lambda n: box.append(n) or n), list),
    "count": by(lambda box, x: next(box), itertools.count, lambda box: [next(box)]),
    "queue": by(lambda box, x: box.put(1), queue.SimpleQueue, lambda box: [box.qsize()]),
    "bytes": by(lambda box, x: box.append(1), bytearray),
    "partial": by(lambda box, x: functools.partial(list.append, box)(1), list),
    "unbound": by(lambda box, x: list.append(box, 1), list),
    "exec": by(lambda box, x: exec("box.append(1)", {"box": box}), list),
    "eval": by(lambda box, x: eval("box.append(1)", {"box": box}), list),
    "context variable": by(
        lambda box, x: box.set(box.get() + 1),
        lambda: contextvars.ContextVar("n", default=0),
        lambda box: [box.get()],
    ),
    "local of a thread": by(
        lambda box, x: setattr(box, "n", getattr(box, "n", 0) + 1),
        threading.local,
        lambda box: [box.n],
    ),
    "type": by(
        lambda box, x: setattr(box, "n", getattr(box, "n", 0) + 1),
        lambda: type("Box", (), {}),
        lambda box: [box.n],
    ),
    "namespace": by(
        lambda box, x: box.__dict__.update(n=getattr(box, "n", 0) + 1),
        lambda: type("Box", (), {})(),
        lambda box: [box.n],
    ),
    "module table": by(
        lambda box, x: box._modules.update({str(len(box._modules)): nn.Identity()}),
        nn.Module,
        lambda box: [len(box._modules)],
    ),
    "buffer": by(
        lambda box, x: box.register_buffer("last", x * 2),
        nn.Module,
        lambda box: [box.last],
    ),
    "tensor attribute": by(
        lambda box, x: setattr(box, "calls", getattr(box, "calls", 0) + 1),
        lambda: torch.ones(2),
        lambda box: [box.calls],
    ),
    "flag of a tensor": by(
        lambda box, x: box.requires_grad_(not box.requires_grad),
        lambda: torch.ones(2),
        lambda box: [box.requires_grad],
    ),
    "data of a tensor": by(
        lambda box, x: setattr(box, "data", box.data + x.sum()),
        lambda: torch.ones(2),
        lambda box: [box],
    ),
    "data written": by(
        lambda box, x: box.data.mul_(1.5), lambda: torch.ones(2, requires_grad=True), lambda b: [b]
    ),
    "size of a tensor": by(
        lambda box, x: box.resize_(box.numel() + 1).fill_(2), lambda: torch.ones(2), lambda b: [b]
    ),
    "transposed in place": by(
        lambda box, x: box.t_(), lambda: torch.arange(6.0).reshape(2, 3), lambda box: [box]
    ),
    "squeezed in place": by(
        lambda box, x: box.unsqueeze_(0), lambda: torch.ones(2), lambda box: [box]
    ),
    "item of a tensor": by(
        lambda box, x: box.__setitem__(0, x.sum()), lambda: torch.ones(2), lambda box: [box]
    ),
    "out": by(lambda box, x: torch.add(x, 1, out=box), lambda: torch.ones(4, 3), lambda b: [b]),
    "view of a tensor": by(
        lambda box, x: box[1:].add_(1).mul_(2), lambda: torch.ones(3), lambda box: [box]
    ),
    "view of a view": by(
        lambda box, x: box.view(2, 3).t()[1].sub_(1), lambda: torch.ones(6), lambda box: [box]
    ),
    "numpy memory": by(
        lambda box, x: torch.from_numpy(box).add_(1),
        lambda: torch.ones(3).numpy(),
        lambda box: [box.tolist()],
    ),
    "seed": by(lambda box, x: torch.manual_seed(8), list, lambda box: [torch.get_rng_state()]),
    "random state": by(
        lambda box, x: torch.set_rng_state(box), torch.get_rng_state, lambda b: [torch.rand(2)]
    ),
    "lock": by(
        lambda box, x: box.acquire(blocking=False), threading.Lock, lambda box: [box.locked()]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EFFECTS)
def test_no_effect_is_lost(name):
    expected = outcome(EFFECTS[name], lambda step: step)
    assert not differences(outcome(EFFECTS[name], torch.compile), expected, "float32")
