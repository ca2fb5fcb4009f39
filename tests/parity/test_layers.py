"""Activations, linear maps, normalisation, dropout, embeddings, attention and their layers
against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")


def arrays(*shapes, low=-2.0, high=2.0, dtype=np.float64):
    rng = np.random.default_rng(7)
    return [rng.uniform(low, high, shape).astype(dtype) for shape in shapes]


def numpy_of(tensor):
    return (
        None if tensor is None else (tensor.detach() + 0).numpy()
    )  # PyTorch's lazy zeros made real


def run(lib, call, inputs, order):
    """Outputs, gradients, and gradients of the gradients' squares."""
    leaves = [lib.from_numpy(each.copy()).requires_grad_(True) for each in inputs]
    out = call(lib, *leaves)
    outputs = [each for each in (out if isinstance(out, tuple) else (out,)) if each is not None]
    found = [numpy_of(each) for each in outputs]
    if order:
        total = sum((each * lib.cos(each.detach() + 1)).sum() for each in outputs)
        first = lib.autograd.grad(total, leaves, create_graph=order > 1, allow_unused=True)
        found += [numpy_of(each) for each in first]
    if order > 1:
        used = [each for each in first if each is not None and each.requires_grad]
        squares = sum((each * each).sum() for each in used)
        second = (
            lib.autograd.grad(squares, leaves, allow_unused=True) if used else [None] * len(leaves)
        )
        found += [numpy_of(each) for each in second]
    return found


def same(call, *shapes, order=2, tolerance=1e-8, **options):
    inputs = arrays(*shapes, **options)
    expected = run(torch, call, inputs, order)
    given = run(danlu, call, inputs, order)
    assert len(given) == len(expected)
    for mine, theirs in zip(given, expected):
        if mine is None or theirs is None:
            # a gradient that is zero everywhere may be missing on one side
            other = theirs if mine is None else mine
            assert other is None or not np.any(other)
            continue
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def functional(name, *args, **kwargs):
    return lambda lib, *tensors: getattr(lib.nn.functional, name)(*tensors, *args, **kwargs)


ACTIVATIONS = [
    ("relu", (), {}), ("relu6", (), {}), ("leaky_relu", (0.2,), {}), ("elu", (1.3,), {}),
    ("selu", (), {}), ("celu", (0.7,), {}), ("gelu", (), {}), ("gelu", (), {"approximate": "tanh"}),
    ("silu", (), {}), ("mish", (), {}), ("softplus", (), {}), ("softplus", (2.0, 1.5), {}),
    ("hardtanh", (-0.5, 0.8), {}), ("hardsigmoid", (), {}), ("hardswish", (), {}),
    ("logsigmoid", (), {}), ("softsign", (), {}), ("tanhshrink", (), {}),
    ("softshrink", (0.3,), {}),
    ("hardshrink", (0.3,), {}), ("threshold", (0.1, 5.0), {}), ("glu", (), {}), ("glu", (0,), {}),
    ("softmax", (-1,), {}), ("softmax", (0,), {}), ("log_softmax", (1,), {}), ("softmin", (1,), {}),
    ("rrelu", (0.1, 0.3), {}), ("sigmoid", (), {}), ("tanh", (), {}), ("normalize", (), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs"), ACTIVATIONS)
def test_activations_and_two_derivatives(name, args, kwargs):
    order = 1 if name == "hardsigmoid" else 2  # PyTorch has no second derivative of it
    same(functional(name, *args, **kwargs), (4, 6), order=order, tolerance=1e-7)


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "elu", "selu", "hardtanh", "silu", "hardswish"]
)
def test_in_place_activations(name):
    same(lambda lib, x: getattr(lib.nn.functional, name)(x * 1.5, inplace=True), (3, 4), order=1)


@pytest.mark.parametrize("weights", [1, 3])
def test_prelu(weights):
    same(functional("prelu"), (2, 3, 4), (weights,))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
@pytest.mark.parametrize(
    "name", ["relu", "gelu", "softmax", "leaky_relu", "softsign", "tanhshrink"]
)
def test_dtypes_of_activations(name, dtype):
    args = (0,) if name == "softmax" else ()

    def outcome(lib):
        x = lib.from_numpy(np.array([-1, 0, 2]).astype(dtype))
        try:
            return str(getattr(lib.nn.functional, name)(x, *args).dtype)
        except Exception as error:
            return type(error).__name__

    assert outcome(danlu) == outcome(torch)


LINEAR = [((5, 3), (4, 3), (4,)), ((3,), (4, 3), (4,)), ((2, 5, 3), (4, 3), (4,)), ((5, 3), (4, 3))]


@pytest.mark.parametrize("shapes", LINEAR)
def test_linear(shapes):
    same(functional("linear"), *shapes)


def test_linear_with_a_vector():
    same(functional("linear"), (5, 3), (3,))


def test_bilinear():
    same(functional("bilinear"), (5, 3), (5, 4), (2, 3, 4), (2,))


NORMALISATION = [
    (lambda lib, x, w, b: lib.nn.functional.layer_norm(x, (3, 4), w, b), ((2, 3, 4), (3, 4), (3,
    4))),
    (lambda lib, x: lib.nn.functional.layer_norm(x, (4,)), ((2, 3, 4),)),
    (lambda lib, x, w: lib.nn.functional.rms_norm(x, (4,), w, 1e-3), ((2, 3, 4), (4,))),
    (lambda lib, x, w, b: lib.nn.functional.group_norm(x, 2, w, b), ((3, 4, 5), (4,), (4,))),
    (lambda lib, x, w, b: lib.nn.functional.instance_norm(x, None, None, w, b), ((3, 4, 5), (4,),
    (4,))),
    (lambda lib, x, w, b: lib.nn.functional.batch_norm(x, None, None, w, b, True), ((5, 3), (3,),
    (3,))),
    (lambda lib, x: lib.nn.functional.batch_norm(x, None, None, training=True), ((4, 3, 2, 2),)),
    (lambda lib, x: lib.nn.functional.local_response_norm(x, 3, 0.5, 0.75, 1.0), ((2, 5, 4),)),
]  # fmt: skip


@pytest.mark.parametrize(("call", "shapes"), NORMALISATION)
def test_normalisation_and_two_derivatives(call, shapes):
    same(call, *shapes, tolerance=1e-7)


def test_batch_norm_outside_training():
    mean, variance = arrays((3,), (3,), low=0.5)

    def call(lib, x, w, b):
        stats = lib.from_numpy(mean), lib.from_numpy(variance)
        return lib.nn.functional.batch_norm(x, *stats, w, b)

    same(call, (4, 3, 2), (3,), (3,))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("kind", ["BatchNorm1d", "InstanceNorm1d"])
def test_running_statistics(kind, momentum):
    (data,) = arrays((6, 3, 4), dtype=np.float32)

    def state(lib):
        layer = getattr(lib.nn, kind)(3, momentum=momentum, track_running_stats=True)
        for batch in (data[:3], data[3:]):
            layer(lib.from_numpy(batch))
        out = layer.eval()(lib.from_numpy(data))
        return [numpy_of(each) for each in (*layer.state_dict().values(), out)]

    for mine, theirs in zip(state(danlu), state(torch)):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("dropout", (5, 7)), ("dropout1d", (4, 6, 3)), ("dropout2d", (4, 6, 3, 3)),
     ("dropout3d", (2, 6, 2, 2, 2)), ("alpha_dropout", (5, 7)),
     ("feature_alpha_dropout", (4, 6, 3))],
)  # fmt: skip
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_draws_pytorchs_masks(name, shape, p):
    torch.manual_seed(3)
    danlu.manual_seed(3)
    same(functional(name, p, True), shape, order=1)


def test_dropout_of_a_transposed_tensor():
    torch.manual_seed(3)
    danlu.manual_seed(3)
    same(lambda lib, x: lib.nn.functional.dropout(x.t(), 0.5), (5, 7), order=1)


def test_rrelu_in_training_draws_pytorchs_slopes():
    torch.manual_seed(3)
    danlu.manual_seed(3)
    same(functional("rrelu", 0.1, 0.4, True), (5, 7), order=1)


INDICES = np.array([[1, 0, 1], [4, 1, 2]])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}])
def test_embedding(options):
    same(lambda lib, w: lib.nn.functional.embedding(lib.from_numpy(INDICES), w, **options), (5, 3))


def test_embedding_with_max_norm_changes_the_table():
    (table,) = arrays((5, 3))

    def tables(lib):
        weight = lib.from_numpy(table.copy())
        out = lib.nn.functional.embedding(lib.from_numpy(INDICES), weight, max_norm=0.5)
        return numpy_of(weight), numpy_of(out)

    for mine, theirs in zip(tables(danlu), tables(torch)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_embedding_bag(mode, padding_idx):
    def call(lib, w):
        flat, offsets = lib.from_numpy(INDICES.reshape(-1)), lib.tensor([0, 2, 2, 5])
        return lib.nn.functional.embedding_bag(flat, w, offsets, mode=mode, padding_idx=padding_idx)

    same(call, (5, 3), order=1)


def test_embedding_bag_with_weights():
    def call(lib, w, factors):
        indices = lib.from_numpy(INDICES)
        return lib.nn.functional.embedding_bag(indices, w, mode="sum", per_sample_weights=factors)

    same(call, (5, 3), (2, 3), order=1)


def test_one_hot():
    for classes in (-1, 7):
        mine = danlu.nn.functional.one_hot(danlu.from_numpy(INDICES), classes).numpy()
        theirs = torch.nn.functional.one_hot(torch.from_numpy(INDICES), classes).numpy()
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


DISTANCES = [
    ("cosine_similarity", ((4, 3), (4, 3))), ("cosine_similarity", ((4, 3), (1, 3))),
    ("pairwise_distance", ((4, 3), (4, 3))), ("pdist", ((4, 3),)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shapes"), DISTANCES)
def test_distances(name, shapes):
    same(functional(name), *shapes, order=1 if name == "pdist" else 2)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}])
def test_scaled_dot_product_attention(options):
    call = functional("scaled_dot_product_attention", **options)
    same(call, (2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5), order=1)


def test_attention_that_sees_nothing_is_zero():
    mask = np.array([[True, False], [False, False]])

    def call(lib, q, k, v):
        return lib.nn.functional.scaled_dot_product_attention(q, k, v, lib.from_numpy(mask))

    same(call, (2, 3), (2, 3), (2, 4), order=1)


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_multi_head_attention(kind, need_weights, training):
    def call(lib, x, y):
        lib.manual_seed(0)
        layer = lib.nn.MultiheadAttention(8, 2, dropout=0.3, dtype=lib.float64).train(training)
        mask = lib.ones(3, 4).triu(1).bool()
        if kind == "float":
            mask = mask.double() * -2.0
        return layer(x, y, y, attn_mask=mask, need_weights=need_weights)

    same(call, (3, 2, 8), (4, 2, 8), order=1)


LAYERS = [
    ("Linear", (3, 4)), ("Bilinear", (3, 4, 2)), ("Embedding", (7, 3)), ("EmbeddingBag", (7, 3)),
    ("BatchNorm1d", (3,)), ("LayerNorm", (3,)), ("GroupNorm", (1, 3)), ("RMSNorm", (3,)),
    ("PReLU", (3,)),
    ("MultiheadAttention", (4, 2)), ("TransformerEncoderLayer", (4, 2, 8)),
    ("TransformerDecoderLayer", (4, 2, 8)), ("Transformer", (4, 2, 1, 1, 8)),
    ("AdaptiveLogSoftmaxWithLoss", (8, 12, [4, 8])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), LAYERS)
def test_initial_parameters_names_and_text(name, args):
    def built(lib):
        lib.manual_seed(5)
        return getattr(lib.nn, name)(*args), lib.rand(3).numpy()

    (mine, my_next), (theirs, their_next) = built(danlu), built(torch)
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(
            mine.state_dict()[key].numpy(), value.numpy(), rtol=2e-6, atol=1e-7
        )
    np.testing.assert_array_equal(my_next, their_next)


def test_transformer_in_training_follows_the_same_draws():
    def call(lib, src, tgt):
        lib.manual_seed(1)
        model = lib.nn.Transformer(8, 2, 1, 1, 16, dropout=0.2, dtype=lib.float64)
        return model(src, tgt, tgt_mask=model.generate_square_subsequent_mask(4, dtype=lib.float64))

    same(call, (3, 2, 8), (4, 2, 8), order=1, tolerance=1e-6)


def vector(lib, *shape):
    return lib.ones(*shape)


MISTAKES = [
    lambda lib: lib.nn.functional.linear(vector(lib, 2, 144), vector(lib, 2, 100)),
    lambda lib: lib.nn.functional.linear(vector(lib, 2, 3), vector(lib, 4, 3).double()),
    lambda lib: lib.nn.functional.linear(vector(lib, 2, 3), vector(lib, 4, 3), vector(lib, 5)),
    lambda lib: lib.nn.functional.layer_norm(vector(lib, 2, 3), (4,)),
    lambda lib: lib.nn.functional.batch_norm(vector(lib, 1, 3), None, None, training=True),
    lambda lib: lib.nn.functional.batch_norm(vector(lib, 2, 3), vector(lib, 4), vector(lib, 4)),
    lambda lib: lib.nn.functional.group_norm(vector(lib, 2, 3), 2),
    lambda lib: lib.nn.functional.embedding(lib.tensor([0, 9]), vector(lib, 3, 2)),
    lambda lib: lib.nn.functional.embedding(lib.tensor([0, -1]), vector(lib, 3, 2)),
    lambda lib: lib.nn.functional.embedding(vector(lib, 2), vector(lib, 3, 2)),
    lambda lib: lib.nn.functional.one_hot(lib.tensor([0, 4]), 3),
    lambda lib: lib.nn.functional.one_hot(lib.tensor([0, -4])),
    lambda lib: lib.nn.functional.one_hot(vector(lib, 2)),
    lambda lib: lib.nn.functional.softmax(vector(lib, 2), 3),
    lambda lib: lib.nn.functional.glu(vector(lib, 3)),
    lambda lib: lib.nn.functional.prelu(vector(lib, 2, 3), vector(lib, 2)),
    lambda lib: lib.nn.functional.gelu(vector(lib, 2), approximate="exact"),
    lambda lib: lib.nn.functional.dropout(vector(lib, 2), 1.5),
    lambda lib: lib.nn.functional.bilinear(vector(lib, 2, 3), vector(lib, 2, 3), vector(lib, 1, 2,
    3)),
    lambda lib: lib.nn.Dropout(-0.1),
    lambda lib: lib.nn.BatchNorm1d(3)(vector(lib, 3)),
    lambda lib: lib.nn.BatchNorm2d(3)(vector(lib, 2, 3)),
    lambda lib: lib.nn.Embedding(3, 2, padding_idx=3),
    lambda lib: lib.nn.GroupNorm(2, 3),
    lambda lib: lib.nn.Unflatten(1, 3.0),
    lambda lib: lib.nn.MultiheadAttention(5, 2),
    lambda lib: lib.nn.Bilinear(0, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_raise_pytorchs_exceptions(mistake):
    with pytest.raises(Exception) as theirs:
        mistake(torch)
    with pytest.raises(type(theirs.value)) as mine:
        mistake(danlu)
    assert type(mine.value) is type(theirs.value)
