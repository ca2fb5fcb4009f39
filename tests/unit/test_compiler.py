"""`danlu.compile` as an interface: what it takes, what it returns, `danlu.compiler`."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest

import danlu as torch
from danlu import nn
from danlu.compiler import CompileWarning

pytest.importorskip("llvmlite")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def stats(function):
    return torch.compiler.stats(function)


# ------------------------------------------------------------------------------ ways to call it
def test_a_decorator_with_and_without_arguments():
    @torch.compile
    def double(x):
        return x * 2

    @torch.compile(fullgraph=True, dynamic=True, mode="max-autotune", backend="inductor")
    def treble(x):
        return x * 3

    for _ in range(3):
        assert double(torch.ones(2)).tolist() == [2.0, 2.0]
        assert treble(torch.ones(2)).tolist() == [3.0, 3.0]
    assert stats(double).compiled_calls == stats(treble).compiled_calls == 2
    assert double.__name__ == "double"


def test_what_is_disabled_or_compiled_already_comes_back():
    def function(x):
        return x

    assert torch.compile(function, disable=True) is function
    compiled = torch.compile(function)
    assert torch.compile(compiled) is compiled


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="takes a function or an nn.Module, not int"):
        torch.compile(3)
    with pytest.raises(TypeError, match=r"was not made by danlu\.compile"):
        torch.compiler.stats(len)


def test_methods_are_compiled_in_their_class():
    class Scaler:
        def __init__(self, factor):
            self.factor = factor

        @torch.compile
        def scaled(self, x):
            return x * self.factor

    two, three = Scaler(2.0), Scaler(3.0)
    for _ in range(3):
        assert two.scaled(torch.ones(1)).item() == 2.0
        assert three.scaled(torch.ones(1)).item() == 3.0
    assert stats(Scaler.scaled).compiled_calls == 4


# ------------------------------------------------------------------------------ modules
def test_a_compiled_module_is_the_module_in_all_but_speed():
    net = network()
    compiled = torch.compile(net)
    x = torch.randn(5, 3)
    for _ in range(3):
        assert torch.allclose(compiled(x), net(x))
    assert isinstance(compiled, nn.Module)
    assert next(iter(compiled.state_dict())) == "_orig_mod.0.weight"
    assert [*compiled.parameters()] == [*net.parameters()]
    compiled.eval()
    assert not net.training
    compiled.anything = 3
    assert net.anything == 3
    assert stats(compiled).compiled_calls == 2


def test_module_compile_compiles_in_place():
    net = network()
    x = torch.randn(5, 3)
    expected = net(x)
    names = list(net.state_dict())
    assert net.compile() is None
    for _ in range(3):
        assert torch.allclose(net(x), expected)
    assert list(net.state_dict()) == names
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.zero_()
    assert torch.allclose(net(x), expected) and not torch.allclose(other(x), expected)


# ------------------------------------------------------------------------------ derivatives
def gradients(function, net, x):
    net.zero_grad()
    x.grad = None
    function(x).square().sum().backward()
    return [x.grad, *[p.grad for p in net.parameters()]]


def test_results_are_differentiated_outside():
    net, x = network(), torch.randn(5, 3, requires_grad=True)
    expected = [each.clone() for each in gradients(net, net, x)]
    compiled = torch.compile(net)
    for _ in range(3):
        for found, known in zip(gradients(compiled, net, x), expected):
            assert torch.allclose(found, known, atol=1e-6)
    assert stats(compiled).compiled_calls == 2


def test_of_several_results_only_some_may_be_used():
    weight = torch.randn(3, requires_grad=True)
    compiled = torch.compile(lambda x: {"sum": (x * weight).sum(), "all": [x * weight, x]})
    x = torch.randn(3)
    for _ in range(3):
        weight.grad = None
        found = compiled(x)
        (2 * found["sum"]).backward()
        assert torch.allclose(weight.grad, 2 * x)
        weight.grad = None
        found = compiled(x)
        (found["all"][0].sum() + found["sum"]).backward()
        assert torch.allclose(weight.grad, 2 * x)
    assert stats(compiled).compiled_calls == 5


def test_weights_that_change_before_the_backward_pass_are_noticed():
    net, x = network(), torch.randn(5, 3)
    compiled = torch.compile(net)
    for _ in range(2):
        result = compiled(x)
    with torch.no_grad():
        net[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_a_graph_is_used_once():
    net, x = network(), torch.randn(5, 3)
    compiled = torch.compile(net)
    for _ in range(2):
        loss = compiled(x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    loss = compiled(x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(compiled(x).square().sum(), net[0].weight, create_graph=True)


def test_the_loss_of_a_whole_step_has_used_up_its_graph():
    net = network()

    @torch.compile
    def step(x):
        net.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        loss = step(torch.ones(2, 3))
    assert loss.requires_grad and type(loss.grad_fn).__name__ == "MeanBackward0"
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


# ------------------------------------------------------------------------------ torch.compiler
def test_is_compiling_tells_a_trace():
    seen = []
    compiled = torch.compile(lambda x: x * (2 if torch.compiler.is_compiling() else 3))
    compiled.seen = seen
    with pytest.warns(CompileWarning, match="its compiled form gave"):
        assert compiled(torch.ones(1)).item() == 3.0
    assert not torch.compiler.is_compiling()


def test_disable_keeps_a_function_out():
    @torch.compiler.disable(reason="it talks to a camera")
    def helper(x):
        return x + 1

    compiled = torch.compile(lambda x: helper(x) * 2)
    with pytest.warns(CompileWarning, match="helper is not to be compiled: it talks to a camera"):
        assert compiled(torch.ones(1)).item() == 4.0
    assert helper(torch.ones(1)).item() == 2.0


def test_fullgraph_raises():
    compiled = torch.compile(lambda x: x.sum().item(), fullgraph=True)
    with pytest.raises(RuntimeError, match=r"fullgraph=True, but .* asks for the value"):
        compiled(torch.ones(2))


def test_reset_forgets():
    compiled = torch.compile(lambda x: x + 1)
    for _ in range(2):
        compiled(torch.ones(2))
    torch.compiler.reset()
    assert stats(compiled).programs == []
    assert compiled(torch.ones(2)).tolist() == [2.0, 2.0]
    assert stats(compiled).traces == 2


def test_explain_shows_guards_and_code():
    compiled = torch.compile(lambda x: torch.sin(x) * 2)
    for _ in range(2):
        compiled(torch.ones(2))
    text = torch.compiler.explain(compiled)
    assert "1 traces, 1 compiled calls, 1 eager calls" in text
    assert "(2,)" in text and "run by Single" in text


def test_the_names_of_torch_compiler():
    assert torch.compiler.list_backends() == ["danlu"]
    assert torch.compiler.allow_in_graph(len) is torch.compiler.assume_constant_result(len) is len
    assert torch.compiler.cudagraph_mark_step_begin() is None
    assert not torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting()


# ------------------------------------------------------------------------------ robustness
def test_threads_share_a_compiled_function():
    net = network()
    compiled = torch.compile(net)
    x = torch.randn(6, 3)
    expected = net(x).detach()
    wrong = []

    def work():
        for rows in (1, 2, 3, 4, 5, 6) * 5:
            with torch.no_grad():
                if not torch.allclose(compiled(x[:rows]), expected[:rows], atol=1e-6):
                    wrong.append(rows)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def test_without_generated_code_everything_is_eager():
    from danlu.kernels.runtime import road

    compiled = torch.compile(lambda x: x * 2)
    with road.forced("numpy"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert compiled(torch.ones(1)).item() == 2.0
    assert stats(compiled).compiled_calls == 0


def test_a_trace_leaves_no_trace():
    """A refused call has changed nothing: not weights, gradients, versions nor random numbers."""
    net = network()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    versions = [p._version for p in net.parameters()]

    def step(x):
        net.zero_grad()
        net(torch.dropout(x, 0.5, True)).sum().backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= p.grad
        raise ValueError("after all that")

    from danlu.compiler.function import Refusal, trace

    with pytest.raises(Refusal, match="ValueError while tracing: after all that"):
        trace(step, (torch.ones(2, 3),), {})
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [p._version for p in net.parameters()] == versions
    assert all(p.grad is None and p.is_leaf for p in net.parameters())


def test_a_trace_within_a_profile_leaves_it_running():
    import cProfile
    import pstats

    compiled = torch.compile(lambda x: x * 2)
    profile = cProfile.Profile()
    profile.enable()
    compiled(torch.ones(2))
    sorted([3, 1, 2])
    profile.disable()
    assert any("sorted" in name for _, _, name in pstats.Stats(profile).stats)


def test_hooks_of_optimizers_are_part_of_the_step():
    def trained(transform):
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def halve(optimizer, args, kwargs):
            for p in net.parameters():
                p.grad.mul_(0.5)

        def clamp(optimizer, args, kwargs):
            with torch.no_grad():
                net[0].bias.clamp_(-0.1, 0.1)

        optimizer.register_step_pre_hook(halve)
        optimizer.register_step_post_hook(clamp)

        @transform
        def step(x):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        torch.manual_seed(1)
        seen = [step(torch.randn(4, 3)).item() for _ in range(6)]
        return seen, step, net.state_dict()

    expected, _, state = trained(lambda step: step)
    found, step, other = trained(torch.compile)
    assert found == pytest.approx(expected, rel=1e-5)
    assert all(torch.allclose(state[name], other[name], atol=1e-6) for name in state)
    assert stats(step).compiled_calls >= 3 and not stats(step).refusals


@pytest.mark.parametrize("dynamic", [None, True])
def test_new_batch_sizes_need_no_new_machine_code(dynamic):
    from danlu.kernels.runtime import machine

    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    @torch.compile(dynamic=dynamic)
    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    made = []
    for rows in (40, 41, 42, 43, 44, 45):
        for _ in range(3):
            step(torch.ones(rows, 3))
        made.append(machine._libraries)
    assert stats(step).traces == 6
    assert made[-1] == made[-3]  # the first two have their own, the third what serves all
    if dynamic:
        assert made[-1] == made[0]
