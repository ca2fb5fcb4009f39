"""Random numbers: the same seed gives PyTorch's, bit by bit, and so do the errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import danlu  # noqa: E402

FLOATS = ("float32", "float64", "float16", "bfloat16")
SIZES = (0, 1, 2, 15, 16, 17, 31, 32, 33, 1000)


def torch_draws_bernoulli_with_mkl():
    """On Intel CPUs PyTorch takes bernoulli and exponential draws from MKL, a stream of its own."""
    torch.manual_seed(0)
    plain = torch.rand(100, dtype=torch.float64) < 0.5
    torch.manual_seed(0)
    return not torch.equal(torch.empty(100, dtype=torch.bool).bernoulli_(0.5), plain)


not_with_mkl = pytest.mark.skipif(
    torch_draws_bernoulli_with_mkl(),
    reason="this PyTorch draws bernoulli and exponential from Intel MKL, which nothing can equal",
)


def numbers(tensor):
    """The values as an array NumPy can compare, and what else must agree."""
    strides = tuple(tensor.stride()) if tensor.numel() else None  # NumPy forgets those of nothing
    about = tuple(tensor.shape), str(tensor.dtype), strides, tensor.requires_grad
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.to(torch.float32 if isinstance(tensor, torch.Tensor) else danlu.float32)
    return tensor.detach().numpy(), about


def same(draw, exact=True, seed=7):
    """`draw(module)` gives equal tensors from both, and leaves both streams in the same state."""
    drawn = []
    for module in (torch, danlu):
        module.manual_seed(seed)
        result = draw(module)
        result = result if isinstance(result, (list, tuple)) else [result]
        drawn.append(([numbers(each) for each in result], module.get_rng_state().numpy()))
    (expected, state), (given, given_state) = drawn
    assert len(expected) == len(given)
    for (a, about), (b, about_given) in zip(expected, given, strict=True):
        assert about_given == about
        if exact:
            np.testing.assert_array_equal(b, a)
        else:
            np.testing.assert_allclose(b, a, rtol=1e-12 if a.dtype == np.float64 else 1e-6)
    if exact:
        np.testing.assert_array_equal(given_state, state)
    else:  # the waiting normal went through the C library's functions
        np.testing.assert_array_equal(given_state[:5016], state[:5016])


def fails_alike(call, name=None):
    """`call(module)` raises the same exception type from both, with the same words in front."""
    with pytest.raises(Exception) as expected:
        call(torch)
    with pytest.raises(type(expected.value)) as given:
        call(danlu)
    if name is not None:
        assert name in str(expected.value)
        assert name in str(given.value)


# ---------------------------------------------------------------- the table of rules
@pytest.mark.parametrize("kind", FLOATS)
def test_uniform(kind):
    def draw(T, *bounds):
        return [T.empty(n, dtype=getattr(T, kind)).uniform_(*bounds) for n in SIZES]

    same(draw)
    same(lambda T: draw(T, -0.57, 0.31))
    same(lambda T: draw(T, 0, 3.3))
    same(lambda T: draw(T, 2.5, 2.5))


@pytest.mark.parametrize("kind", [*FLOATS, "complex64", "complex128"])
@pytest.mark.parametrize("parameters", [(), (0.7, 2.3), (0, 0.02), (1.0, 0)])
def test_normal_in_place(kind, parameters):
    same(
        lambda T: [T.empty(n, dtype=getattr(T, kind)).normal_(*parameters) for n in SIZES],
        exact=kind not in ("float64", "complex128"),
    )


def test_consecutive_mixed_draws():
    """Short draws leave a second normal waiting, and long ones pass it by."""
    for lengths in ((1, 16, 1), (3, 20, 2, 5), (15, 2, 17, 1)):
        same(lambda T, lengths=lengths: [T.randn(n) for n in lengths])
    same(lambda T: [T.randn(1), T.rand(3), T.randint(10, (2,)), T.randperm(5), T.randn(1)])
    same(lambda T: [T.randn(3), T.empty(3).log_normal_(), T.normal(1.0, 2.0, (3,)), T.randn(17)])


@pytest.mark.parametrize("bounds", [
    (0, 1), (0, 10), (-5, 100), (0, 2**28 - 1), (0, 2**28), (0, 2**32 - 1), (0, 2**32 + 1),
    (-(2**40), 2**61), (-(2**63), 2**63 - 1),
])  # fmt: skip
def test_randint_narrow_and_wide(bounds):
    same(lambda T: [T.randint(*bounds, (n,)) for n in SIZES])


@pytest.mark.parametrize("kind", [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
])  # fmt: skip
def test_random_in_place(kind):
    def empty(T):
        return T.empty(50, dtype=getattr(T, kind))

    same(lambda T: [empty(T).random_(), empty(T).random_(2), empty(T).random_(1, 2)])
    if kind != "bool":
        same(lambda T: [empty(T).random_(3, None), empty(T).random_(to=9)])
        same(lambda T: empty(T).random_(**{"from": 2, "to": 100}))
    if kind in ("int64", "float32", "float64", "bfloat16"):
        same(lambda T: empty(T).random_(-(2**63), None))


@pytest.mark.filterwarnings("ignore:.*out of bounds")
@pytest.mark.parametrize(("kind", "bounds"), [
    ("float16", (0, 65504)), ("float16", (-5001, 4097)), ("bfloat16", (-1001, 515)),
    ("float32", (0, 2**25 + 1)), ("float32", (-(2**30) - 1, 2**30 + 1)),
    ("float64", (0, 2**60 + 1)),
])  # fmt: skip
def test_random_bounds_that_floats_round(kind, bounds):
    same(lambda T: T.empty(200, dtype=getattr(T, kind)).random_(*bounds))


@pytest.mark.parametrize("n", [0, 1, 2, 10, 399, 400, 4000])
def test_randperm(n):
    same(lambda T: [T.randperm(n), T.randperm(n, dtype=T.int32), T.randperm(n, dtype=T.float64)])


@not_with_mkl
@pytest.mark.parametrize("kind", [*FLOATS, "bool", "uint8", "int64"])
def test_bernoulli_of_a_number(kind):
    same(lambda T: [T.empty(n, dtype=getattr(T, kind)).bernoulli_(0.3) for n in SIZES])
    same(lambda T: [T.empty(9, dtype=getattr(T, kind)).bernoulli_(p) for p in (0, 1, 0.5)])


@pytest.mark.parametrize("kind", FLOATS)
def test_bernoulli_of_a_tensor(kind):
    def odds(T, n):
        return (T.arange(n) / max(n, 1)).to(getattr(T, kind))

    same(lambda T: [T.bernoulli(odds(T, n)) for n in SIZES])
    same(lambda T: [odds(T, 40).bernoulli(), T.empty(3, 40).bernoulli_(odds(T, 40))])
    same(lambda T: T.empty(5, 8, dtype=T.int64).t().bernoulli_(odds(T, 40).reshape(8, 5)))
    same(lambda T: T.bernoulli(odds(T, 40).reshape(8, 5).t()))


@not_with_mkl
@pytest.mark.parametrize("kind", FLOATS)
def test_exponential(kind):
    same(
        lambda T: [T.empty(n, dtype=getattr(T, kind)).exponential_(1.7) for n in SIZES], exact=False
    )


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("method", "parameters"), [
    ("cauchy_", (1.5, 0.3)), ("log_normal_", (0.7, 0.3)), ("geometric_", (0.3,)),
])  # fmt: skip
def test_other_distributions(kind, method, parameters):
    same(
        lambda T: [getattr(T.empty(n, dtype=getattr(T, kind)), method)(*parameters) for n in SIZES],
        exact=False,
    )


@pytest.mark.parametrize("kind", ["uint8", "int8", "int32", "int64"])
def test_geometric_integers(kind):
    same(lambda T: T.empty(100, dtype=getattr(T, kind)).geometric_(0.3))


@not_with_mkl
def test_multinomial_without_replacement():
    same(lambda T: [T.multinomial(T.arange(1.0, 9.0), n) for n in (1, 3, 8)])
    same(lambda T: T.multinomial(T.arange(1.0, 13.0).reshape(3, 4), 2))
    same(lambda T: T.arange(1.0, 9.0).double().multinomial(5))


def test_multinomial_with_replacement():
    same(lambda T: T.multinomial(T.arange(9.0), 50, replacement=True))
    same(lambda T: T.multinomial(T.arange(12.0).reshape(3, 4), 20, True))
    same(lambda T: T.multinomial(T.arange(9.0).half(), 20, True))


def test_poisson():
    same(lambda T: T.poisson(T.arange(60.0).reshape(3, 20) / 2))
    same(lambda T: T.poisson(T.arange(20.0).double()))


# ---------------------------------------------------------------- targets that are not in row order
@pytest.mark.parametrize("view", [
    lambda x: x.t(), lambda x: x[:, ::2], lambda x: x[1:3], lambda x: x.t()[1:], lambda x: x[:, :1],
])  # fmt: skip
@pytest.mark.parametrize("method", ["uniform_", "normal_", "random_"])
def test_views_are_filled_in_the_order_of_memory(view, method):
    def draw(T):
        whole = T.zeros(6, 8)
        getattr(view(whole), method)()
        return whole

    same(draw)


def test_permuted_targets():
    same(lambda T: T.empty(2, 3, 4, 5).permute(0, 2, 3, 1).normal_())
    same(lambda T: T.empty(2, 3, 4).permute(2, 0, 1).uniform_())
    same(lambda T: T.empty(4, 5, dtype=T.complex64).t().normal_())


def test_likes_keep_strides_and_dtype():
    same(lambda T: [T.rand_like(T.zeros(3, 8).t()), T.randn_like(T.zeros(3, 8).t())])
    same(lambda T: T.randn_like(T.zeros(2, 3, 4, 5).permute(0, 2, 3, 1)))
    same(lambda T: [T.randn_like(T.zeros(6, 4)[::2, ::2]), T.rand_like(T.zeros(3).expand(4, 3))])
    same(lambda T: T.rand_like(T.zeros(3, 8).t(), memory_format=T.contiguous_format))
    same(lambda T: [T.randint_like(T.zeros(5), 9), T.randint_like(T.zeros(5), 3, 9)])
    same(lambda T: T.randint_like(T.zeros(5).long(), low=3, high=9, dtype=T.float32))
    same(lambda T: T.rand_like(T.zeros(5).long(), dtype=T.float64, requires_grad=True))


# ---------------------------------------------------------------- overloads
def test_sizes():
    same(lambda T: [T.rand(2, 3), T.rand((2, 3)), T.rand([2, 3]), T.rand(T.zeros(2, 3).shape)])
    same(lambda T: [T.rand(size=(2,)), T.rand(()), T.rand(0, 3), T.randn(np.int64(3))])
    same(lambda T: T.randn(2, dtype=T.complex64))
    same(lambda T: [T.randint(9, (2, 3)), T.randint(2, 9, [3]), T.randint(high=9, size=(2,))])
    same(lambda T: [T.randint(low=0, high=9, size=()), T.randint(5, (2,), dtype=T.float32)])
    same(lambda T: T.rand(3, dtype=T.float64, device="cpu", requires_grad=True, pin_memory=False))


def test_normal_overloads():
    same(lambda T: T.normal(T.arange(5.0), 2.0))
    same(lambda T: T.normal(T.arange(20.0), T.arange(20.0)))
    same(lambda T: T.normal(1.5, T.arange(20.0).reshape(4, 5)))
    same(lambda T: T.normal(T.arange(3.0), T.arange(6.0).reshape(2, 3)))
    same(lambda T: T.normal(T.arange(6.0).reshape(2, 3).t(), 1.0))
    same(lambda T: T.normal(T.zeros(3).double(), T.ones(3)), exact=False)
    same(lambda T: T.normal(T.zeros(3), T.ones(3).double()))
    same(lambda T: [T.normal(2, 3, (17,)), T.normal(mean=0.0, std=1.0, size=(2, 3))])
    same(lambda T: [T.normal(T.arange(3.0)), T.normal(T.tensor(1.0), 2.0, (3,))])
    same(lambda T: T.normal(0.0, 1.0, (2,), dtype=T.float16, requires_grad=True))


def test_out():
    same(lambda T: [T.rand(3, out=T.zeros(3)), T.randn(17, out=T.zeros(17))])
    same(lambda T: T.rand(3, out=T.zeros(3, dtype=T.float64)))
    same(lambda T: [T.randint(9, (3,), out=T.zeros(3)), T.randperm(5, out=T.zeros(5))])
    same(lambda T: T.normal(0.0, 1.0, (3,), out=T.zeros(3)))
    same(lambda T: T.bernoulli(T.full((3,), 0.5), out=T.zeros(3)))
    same(lambda T: T.randn(4, 5, out=T.zeros(5, 4).t()))


def test_generators_of_ones_own():
    def draw(T):
        g = T.Generator().manual_seed(3)
        return [
            T.rand(3, generator=g), T.randn(3, generator=g), T.randint(9, (3,), generator=g),
            T.randperm(5, generator=g), T.normal(0.0, 1.0, (3,), generator=g),
            T.normal(T.zeros(3), 1.0, generator=g), T.bernoulli(T.full((5,), 0.5), generator=g),
            T.multinomial(T.ones(4), 3, True, generator=g), T.empty(3).uniform_(generator=g),
            T.empty(3).random_(9, generator=g), T.empty(3).normal_(generator=g),
            T.poisson(T.ones(3), generator=g), T.rand(2),
        ]  # fmt: skip

    same(draw)


def test_a_default_linear_layers_weights():
    same(lambda T: list(T.nn.Linear(2, 3).parameters()), seed=0)


# ---------------------------------------------------------------- states
@pytest.mark.parametrize("drawn", [0, 1, 3, 624, 700])
def test_states_interchange(drawn):
    theirs, ours = torch.Generator().manual_seed(5), danlu.Generator().manual_seed(5)
    for source, target, T, U in ((theirs, ours, torch, danlu), (ours, theirs, danlu, torch)):
        T.rand(drawn, generator=source)
        T.randn(drawn % 16, generator=source)
        state = source.get_state()
        assert tuple(state.shape) == (5056,)
        target.set_state(U.from_numpy(state.numpy().copy()))
        assert target.initial_seed() == source.initial_seed()
        np.testing.assert_array_equal(target.get_state().numpy(), state.numpy())
        np.testing.assert_array_equal(
            T.randn(5, generator=source).numpy(), U.randn(5, generator=target).numpy()
        )


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 - 1, -(2**63), 1.9, True])
def test_seeds(seed):
    assert danlu.manual_seed(seed).initial_seed() == torch.manual_seed(seed).initial_seed()
    assert danlu.initial_seed() == torch.initial_seed()
    np.testing.assert_array_equal(danlu.rand(3).numpy(), torch.rand(3).numpy())


# ---------------------------------------------------------------- gradients
def test_draws_pass_no_gradient():
    for T in (torch, danlu):
        x = T.full((3,), 0.5, requires_grad=True)
        for draw in (T.bernoulli, T.poisson, lambda m, T=T: T.normal(m, 1.0)):
            made = draw(x)
            assert made.requires_grad
            (gradient,) = T.autograd.grad(made.sum(), x)
            assert gradient.tolist() == [0, 0, 0]
        for method in ("normal_", "uniform_", "random_", "bernoulli_", "exponential_"):
            made = getattr(x * 2, method)()
            assert made.requires_grad
            assert T.autograd.grad(made.sum(), x)[0].tolist() == [0, 0, 0]
        assert not T.multinomial(x, 1).requires_grad


# ---------------------------------------------------------------- refusals
REFUSED = [
    (lambda T: T.rand(), "rand"),
    (lambda T: T.rand(2.5), "'size'"),
    (lambda T: T.rand("a"), "'size'"),
    (lambda T: T.rand(True), "'size'"),
    (lambda T: T.rand(-1), "negative dimension -1"),
    (lambda T: T.rand(2, generator=3), "generator"),
    (lambda T: T.rand(2, nonsense=3), "nonsense"),
    (lambda T: T.rand(2, dtype=T.int64), "not implemented for 'Long'"),
    (lambda T: T.rand(2, dtype=T.bool), "not implemented for 'Bool'"),
    (lambda T: T.rand(2, device="cuda"), "not compiled with CUDA"),
    (lambda T: T.rand(2, out=T.zeros(2), dtype=T.float64), "does not match dtype of out"),
    (lambda T: T.rand_like(3), "must be Tensor, not int"),
    (lambda T: T.rand_like(T.zeros(2).long()), "not implemented for 'Long'"),
    (lambda T: T.randn(2, dtype=T.int64), "not implemented for 'Long'"),
    (lambda T: T.randint(5, 5, (2,)), "random_ expects 'from' to be less than 'to'"),
    (lambda T: T.randint(5), "randint"),
    (lambda T: T.randint(5, 2), "size"),
    (lambda T: T.randint(0, 5, 2), "randint"),
    (lambda T: T.randint(0, 5.5, (2,)), "randint"),
    (lambda T: T.randint(2**63, (1,)), "Overflow"),
    (lambda T: T.randint(0, 300, (2,), dtype=T.uint8), "to - 1 is out of bounds"),
    (lambda T: T.randint(-1, 3, (2,), dtype=T.uint8), "from is out of bounds"),
    (lambda T: T.randint(0, 3, (2,), dtype=T.bool), "to - 1 is out of bounds"),
    (lambda T: T.randint(0, 5, (2,), dtype=T.complex64), "handles only integral"),
    (lambda T: T.randint(0, 5, (2,), requires_grad=True), "floating point"),
    (lambda T: T.randperm(-1), "negative dimension -1"),
    (lambda T: T.randperm(5.0), "'n'"),
    (lambda T: T.randperm(5, dtype=T.bool), "not implemented for 'Bool'"),
    (lambda T: T.randperm(300, dtype=T.uint8), "without overflow"),
    (lambda T: T.randperm(3000, dtype=T.float16), "n cannot be greater than 2049 for Half type."),
    (lambda T: T.normal(0.0, 1.0), "normal"),
    (lambda T: T.normal(0.0, 1.0, 2), "normal"),
    (lambda T: T.normal(0.0, -1.0, (2,)), "normal expects std >= 0.0, but found std -1"),
    (lambda T: T.normal(T.zeros(2), -1.0), "normal expects std >= 0.0, but found std -1"),
    (lambda T: T.normal(T.zeros(2), -T.ones(2)), "normal expects all elements of std >= 0.0"),
    (lambda T: T.normal(T.zeros(2, 3), T.ones(4)), "must match"),
    (lambda T: T.normal(T.zeros(2).long(), 1.0), "not implemented for 'Long'"),
    (lambda T: T.normal("a", 1.0, (2,)), "normal"),
    (lambda T: T.normal(T.zeros(2), T.ones(2, dtype=T.complex64)), "non-complex"),
    (lambda T: T.zeros(2).uniform_(2, 1), "uniform_ expects to return a [from, to) range"),
    (lambda T: T.zeros(2).uniform_(0, 1e39), "to is out of bounds for float"),
    (lambda T: T.zeros(2).uniform_(-3e38, 3e38), "result in to-from to exceed the limit"),
    (lambda T: T.zeros(2).uniform_("a"), "'from'"),
    (lambda T: T.zeros(2).uniform_(from_=1), "from_"),
    (lambda T: T.zeros(2).long().uniform_(), "not implemented for 'Long'"),
    (lambda T: T.zeros(2).normal_(0, -1), "normal expects std >= 0.0"),
    (lambda T: T.zeros(2).long().normal_(), "not implemented for 'Long'"),
    (lambda T: T.zeros(1).expand(3).normal_(), "more than one element of the written-to tensor"),
    (lambda T: T.zeros(2, requires_grad=True).uniform_(), "leaf Variable that requires grad"),
    (lambda T: T.zeros(2).random_(5, 3), "from=5 >= to=3"),
    (lambda T: T.zeros(2).random_(0), "from=0 >= to=0"),
    (lambda T: T.zeros(2).random_(None), "random_"),
    (lambda T: T.zeros(2).long().random_(1.5), "random_"),
    (lambda T: T.zeros(2, dtype=T.int8).random_(0, 200), "to - 1 is out of bounds"),
    (lambda T: T.zeros(2, dtype=T.float16).random_(0, 70000), "to - 1 is out of bounds"),
    (lambda T: T.zeros(2, dtype=T.int32).random_(-(2**63), None), "handles only int64"),
    (lambda T: T.zeros(2, dtype=T.uint16).random_(), "random_kernel_cpu"),
    (lambda T: T.zeros(2).bernoulli_(2), "bernoulli_ expects p to be in [0, 1], but got p=2"),
    (lambda T: T.zeros(3).bernoulli_(T.rand(2)), "size"),
    (lambda T: T.zeros(3).bernoulli_(T.ones(3).long()), "not implemented for 'Long'"),
    (lambda T: T.bernoulli(T.tensor([2.0])), "Expected p_in >= 0 && p_in <= 1 to be true"),
    (lambda T: T.bernoulli(T.tensor(float("nan"))), "Expected p_in >= 0"),
    (lambda T: T.bernoulli(T.zeros(2).long()), "bernoulli_tensor_cpu_p_"),
    (lambda T: T.bernoulli(0.3), "must be Tensor, not float"),
    (lambda T: T.zeros(2).exponential_(0), "exponential_ expects lambda > 0.0"),
    (lambda T: T.zeros(2).long().exponential_(), "continuous probability distribution"),
    (lambda T: T.zeros(2).geometric_(1), "geometric_ expects p to be in (0, 1), but got p=1"),
    (lambda T: T.zeros(2).bool().geometric_(0.5), "not implemented for 'Bool'"),
    (lambda T: T.zeros(2).cauchy_(0, 0), "cauchy_ expects sigma > 0.0, but found sigma=0"),
    (lambda T: T.zeros(2).long().cauchy_(), "continuous probability distribution"),
    (lambda T: T.zeros(2).log_normal_(0, 0), "log_normal_ expects std > 0.0, but found std=0"),
    (lambda T: T.zeros(2).long().log_normal_(), "not implemented for 'Long'"),
    (lambda T: T.multinomial(T.ones(2), 3), "without replacement"),
    (lambda T: T.multinomial(T.ones(2), 0), "cannot sample n_sample <= 0 samples"),
    (lambda T: T.multinomial(T.ones(2), 1.5), "num_samples"),
    (lambda T: T.multinomial(T.tensor(0.5), 1), "prob_dist must be 1 or 2 dim"),
    (lambda T: T.multinomial(T.tensor([0.5, -0.5]), 1), "element < 0"),
    (lambda T: T.multinomial(T.tensor([0.5, float("nan")]), 1), "`inf`, `nan`"),
    (lambda T: T.multinomial(T.tensor([0.5, -0.5]), 2, True), "invalid multinomial distribution"),
    (lambda T: T.multinomial(T.zeros(2), 1), "sum of probabilities <= 0"),
    (lambda T: T.multinomial(T.ones(2).long(), 1), "multinomial only supports floating-point"),
    (lambda T: T.poisson(-T.ones(2)), "invalid Poisson rate"),
    (lambda T: T.poisson(T.ones(2).long()), "poisson_cpu"),
    (lambda T: T.Generator().set_state([1]), "expected a torch.ByteTensor, but got list"),
    (lambda T: T.Generator().set_state(T.zeros(5056)), "RNG state must be a torch.ByteTensor"),
    (lambda T: T.set_rng_state(T.zeros(10, dtype=T.uint8)), "size 5056"),
    (lambda T: T.manual_seed(2**64), "Overflow"),
    (lambda T: T.manual_seed("a"), "invalid literal"),
    (lambda T: T.set_num_threads(0), "set_num_threads expects a positive integer"),
    (lambda T: T.set_num_threads(1.5), "set_num_threads expects an int, but got float"),
    (lambda T: T.set_num_interop_threads(0), "set_num_interop_threads expects a positive integer"),
]


@pytest.mark.parametrize(("call", "words"), REFUSED)
def test_refusals(call, words):
    fails_alike(call, words)


def test_random_warns_where_floats_skip_integers():
    for T in (torch, danlu):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            T.zeros(2).random_(0, 2**25)
        assert "to - 1 is out of bounds" in str(seen[0].message)
