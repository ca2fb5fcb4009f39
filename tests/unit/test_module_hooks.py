"""Hooks of modules: order, what they may return, and how they are taken away."""

from __future__ import annotations

import pickle

import pytest

import danlu
from danlu import nn
from danlu.nn.modules import module as module_file


class Scale(nn.Module):
    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = nn.Parameter(danlu.tensor(factor))

    def forward(self, x, shift=0.0):
        return x * self.factor + shift


def test_forward_hooks_see_and_replace():
    layer, calls = Scale(), []

    def pre(module, args):
        calls.append("pre")
        return args[0] + 1

    def post(module, args, output):
        calls.append("post")
        return output * 10

    layer.register_forward_pre_hook(pre)
    handle = layer.register_forward_hook(post)
    assert layer(danlu.tensor(1.0)).item() == 40.0
    handle.remove()
    handle.remove()
    assert layer(danlu.tensor(1.0)).item() == 4.0
    assert calls == ["pre", "post", "pre"]


def test_prepend_and_kwargs():
    layer, calls = Scale(), []
    layer.register_forward_pre_hook(lambda m, a: calls.append("first"))
    layer.register_forward_pre_hook(lambda m, a: calls.append("before"), prepend=True)
    layer.register_forward_pre_hook(
        lambda m, a, k: (a, {"shift": k["shift"] + 1}), with_kwargs=True
    )
    seen = []
    layer.register_forward_hook(lambda m, a, k, out: seen.append(k), with_kwargs=True)
    assert layer(danlu.tensor(1.0), shift=1.0).item() == 4.0
    assert calls == ["before", "first"]
    assert seen == [{"shift": 2.0}]
    layer.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or a tuple of"):
        layer(danlu.tensor(1.0), shift=1.0)


def test_hook_always_called():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError("broken")

    layer, seen = Fails(), []
    layer.register_forward_hook(lambda m, a, out: seen.append("never"))
    layer.register_forward_hook(lambda m, a, out: seen.append(out), always_call=True)
    with pytest.raises(ValueError, match="broken"):
        layer(1)
    assert seen == [None]

    def fails_too(module, args, output):
        raise RuntimeError("too")

    layer.register_forward_hook(fails_too, always_call=True)
    with pytest.warns(UserWarning, match="silenced"), pytest.raises(ValueError, match="broken"):
        layer(1)


def test_direct_writes_into_hook_tables_count():
    layer = Scale()
    layer._forward_hooks[12345] = lambda m, a, out: out + 1
    assert layer(danlu.tensor(1.0)).item() == 3.0


def test_handle_as_context_manager_and_pickled():
    layer, seen = Scale(), []
    with layer.register_forward_hook(lambda m, a, out: seen.append(1)) as handle:
        layer(danlu.tensor(1.0))
    layer(danlu.tensor(1.0))
    assert seen == [1]
    assert pickle.loads(pickle.dumps(handle)).id == handle.id


def test_global_hooks():
    seen = []
    handles = [
        module_file.register_module_forward_pre_hook(lambda m, a: seen.append("pre")),
        module_file.register_module_forward_hook(lambda m, a, out: seen.append("post")),
        module_file.register_module_full_backward_hook(lambda m, gi, go: seen.append("back")),
    ]
    try:
        Scale()(danlu.ones(1, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["pre", "post", "back"]
    Scale()(danlu.tensor(1.0))
    assert len(seen) == 3


def test_registration_hooks():
    seen = []
    handles = [
        module_file.register_module_parameter_registration_hook(lambda m, n, p: seen.append(n)),
        module_file.register_module_buffer_registration_hook(lambda m, n, b: seen.append(n)),
        module_file.register_module_module_registration_hook(lambda m, n, c: seen.append(n)),
    ]
    try:
        holder = nn.Module()
        holder.child = Scale()
        holder.register_buffer("count", danlu.zeros(1))
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["factor", "child", "count"]


def test_full_backward_hook_gets_and_replaces_gradients():
    layer, seen = Scale(3.0), []

    def hook(module, grad_input, grad_output):
        seen.append((grad_input[0].item(), grad_output[0].item()))
        return (grad_input[0] * 10,)

    handle = layer.register_full_backward_hook(hook)
    x = danlu.tensor(1.0, requires_grad=True)
    (layer(x) * 2).backward()
    assert seen == [(6.0, 2.0)]
    assert x.grad.item() == 60.0
    assert layer.factor.grad.item() == 2.0
    handle.remove()
    x.grad = None
    layer(x).backward()
    assert x.grad.item() == 3.0


def test_full_backward_pre_hook_replaces_the_outputs_gradient():
    layer = Scale(3.0)
    layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 5,))
    x = danlu.tensor(1.0, requires_grad=True)
    layer(x).backward()
    assert x.grad.item() == 15.0
    assert layer.factor.grad.item() == 5.0


def test_backward_hook_without_inputs_on_the_tape():
    layer, seen = Scale(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].item())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        layer(danlu.tensor(1.0)).backward()
    assert seen == [((None,), 1.0)]


def test_backward_hook_must_keep_the_number_of_gradients():
    layer = Scale()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="got 2, but expected 1"):
        layer(danlu.tensor(1.0, requires_grad=True)).backward()


def test_backward_hooks_with_several_inputs_and_outputs():
    class Swap(nn.Module):
        def forward(self, a, b, c):
            return b * 2, a * 3

    layer, seen = Swap(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    a = danlu.tensor(1.0, requires_grad=True)
    b = danlu.tensor(1.0)
    first, second = layer(a, b, "text")
    assert not first.requires_grad
    second.backward()
    (grad_input, grad_output) = seen[0]
    assert grad_input[0].item() == 3.0
    assert grad_input[1:] == (None, None)
    assert grad_output[0] is None
    assert grad_output[1].item() == 1.0


def test_kinds_of_backward_hooks_do_not_mix():
    layer = Scale()
    layer.register_full_backward_hook(lambda *a: None)
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        layer.register_backward_hook(lambda *a: None)


def test_module_without_hooks_is_not_marked():
    layer = Scale()
    layer.state_dict()
    assert not layer._hooked
    layer.register_forward_hook(lambda *a: None)
    assert layer._hooked
