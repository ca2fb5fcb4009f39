"""Random networks and losses, as source text: the parts that `random_programs` puts together.

A layer whose result is normalised has no bias: the gradient of such a bias is rounding alone, and
an optimizer that divides by its size makes steps of it that no two orders of summation share.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

KINDS = ("vector", "signal", "image", "sequence", "tokens")
WORDS = 11  # of the vocabulary that networks over tokens have

ACTIVATIONS = (
    "torch.relu({})", "torch.tanh({})", "torch.sigmoid({})", "F.gelu({})", "F.silu({})",
    'F.gelu({}, approximate="tanh")', "F.elu({}, 0.7)", "F.leaky_relu({}, 0.1)", "F.softplus({})",
    "F.mish({})", "F.hardswish({})", "F.hardtanh({}, -1.5, 1.5)", "F.hardsigmoid({})",
    "F.selu({})", "F.celu({}, 1.3)", "F.logsigmoid({})", "F.softsign({})", "F.tanhshrink({})",
    "F.softshrink({}, 0.1)", "F.hardshrink({}, 0.1)", "F.relu6({})", "F.threshold({}, 0.1, -0.2)",
    "F.softmax({}, dim=-1)", "F.log_softmax({}, dim=-1)", "F.softmin({}, dim=1)",
    "{}.sin()", "{}.clamp(-1, 2)", "({0} * {0}.sigmoid())", "{}.square().add(1).log()",
    "F.rrelu({}, 0.1, 0.3, self.training)",
)  # fmt: skip
SMOOTH_ACTIVATIONS = (
    "torch.tanh({})", "torch.sigmoid({})", "F.gelu({})", "F.silu({})", "F.softplus({})",
    "{}.sin()", "({0} * {0}.sigmoid())", "F.softmax({}, dim=-1)", "{}.square().add(1).log()",
)  # fmt: skip
ACTIVATION_LAYERS = (
    "nn.ReLU(inplace=True)", "nn.PReLU()", "nn.GELU()", "nn.Softplus(beta=2)", "nn.Tanh()",
    "nn.SiLU(inplace=True)", "nn.RReLU()", "nn.ELU()", "nn.Hardtanh()", "nn.Softmax(dim=1)",
    "nn.LeakyReLU(0.2)", "nn.Mish()", "nn.Softsign()", "nn.Identity()",
)  # fmt: skip


class Network(NamedTuple):
    """A module's source, the data that it takes, and how it is called."""

    source: str
    inputs: str  # an expression that draws `n` samples
    width: int  # its result has the shape (n, width)
    result: str = ""  # what picks the result out of what the module returns
    integers: bool = False  # its inputs have no gradients


class Writer:
    """Writes `__init__` and `forward` of a module line by line; `x` is what flows through."""

    def __init__(self, random: Random):
        self.random = random
        self.layers: list[str] = []
        self.lines: list[str] = []

    def one(self, *choices):
        return self.random.choice(choices)

    def new(self, constructor: str) -> str:
        name = f"self.layer{len(self.layers)}"
        self.layers.append(f"{name} = {constructor}")
        return name

    def do(self, *lines: str) -> None:
        self.lines += lines

    def then(self, constructor: str) -> None:
        self.do(f"x = {self.new(constructor)}(x)")

    def activate(self) -> None:
        if self.random.random() < 0.7:
            self.do(f"x = {self.one(*ACTIVATIONS).format('x')}")
        else:
            self.then(self.one(*ACTIVATION_LAYERS))

    def source(self, name: str, first: str = "", last: str = "return x") -> str:
        init = "".join(f"        {line}\n" for line in self.layers)
        body = "".join(f"        {line}\n" for line in [*([first] if first else []), *self.lines])
        return (
            f"class {name}(nn.Module):\n    def __init__(self):\n        super().__init__()\n{init}"
            f"\n    def forward(self, x):\n{body}        {last}\n"
        )


# ---------------------------------------------------------------------- rows of features
def _linear(w, width, new):
    w.then(f"nn.Linear({width}, {new})")
    w.activate()
    return new


def _smooth(w, width, new):
    w.then(f"nn.Linear({width}, {new})")
    w.do(f"x = {w.one(*SMOOTH_ACTIVATIONS).format('x')}")
    return new


def _normalised(w, width, new):
    w.then(f"nn.Linear({width}, {new}, bias=False)")
    w.then(w.one(
        f"nn.BatchNorm1d({new})", f"nn.BatchNorm1d({new}, affine=False)", f"nn.LayerNorm({new})",
        f"nn.BatchNorm1d({new}, momentum=0.3, eps=1e-3)", f"nn.RMSNorm({new}, eps=1e-6)",
        f"nn.BatchNorm1d({new}, track_running_stats=False)", f"nn.GroupNorm(2, {new})",
        f"nn.LayerNorm({new}, elementwise_affine=False)",
    ))  # fmt: skip
    w.activate()
    return new


def _dropped(w, width, new):
    if w.random.random() < 0.7:
        w.then(w.one("nn.Dropout(0.3)", "nn.AlphaDropout(0.2)", "nn.Dropout(0.1)"))
    else:
        w.do(w.one("x = F.dropout(x, 0.25, self.training)", "x = F.alpha_dropout(x, 0.1, True)"))
    return _linear(w, width, new)


def _residual(w, width, new):
    first, second = w.new(f"nn.Linear({width}, {new})"), w.new(f"nn.Linear({new}, {width})")
    w.do(f"x = x + {second}({w.one(*ACTIVATIONS).format(f'{first}(x)')})")
    return width


def _residual_smooth(w, width, new):
    first, second = w.new(f"nn.Linear({width}, {new})"), w.new(f"nn.Linear({new}, {width})")
    w.do(f"x = x + {second}(torch.tanh({first}(x)))")
    return width


def _shared(w, width, new):
    layer = w.new(f"nn.Linear({width}, {width})")
    w.do(f"for _ in range({w.one(2, 3)}):", f"    x = torch.tanh({layer}(x))")
    return width


def _parametrized(w, width, new):
    kind = w.one(
        "torch.nn.utils.parametrizations.weight_norm(nn.Linear({}, {}))",
        "torch.nn.utils.parametrizations.spectral_norm(nn.Linear({}, {}))",
    )
    w.then(kind.format(width, new))
    w.activate()
    return new


def _gated(w, width, new):
    w.then(f"nn.Linear({width}, {2 * new})")
    w.do(w.one(
        "x = F.glu(x, dim=1)",
        "a, b = x.chunk(2, dim=1)\n        x = a * torch.sigmoid(b)",
        f"x = x[:, :{new}] * F.silu(x[:, {new}:])",
        f"a, b = x.split({new}, 1)\n        x = torch.maximum(a, b)",
    ))  # fmt: skip
    return new


def _in_place(w, width, new):
    w.then(f"nn.Linear({width}, {new})")
    w.do(*w.one(
        ("x.mul_(0.5)", "x += 0.1"),
        ("x = x.clone()", "x[:, 0] = 0.5", "x[:, 1:3] *= 2"),
        ("x = x.tanh_()",),
        ("view = x.view(-1)", "view.add_(0.2)"),
        ("x = x.sigmoid_().mul(2).add_(x.detach().mean())",),
        ("x.clamp_(min=-0.5)",),
        ("F.leaky_relu_(x, 0.3)",),
    ))  # fmt: skip
    return new


def _views(w, width, new):
    w.then(f"nn.Linear({width}, 12)")
    w.do(w.one(
        "x = x.view(len(x), 3, 4).transpose(1, 2).reshape(len(x), 12)",
        "x = x.unflatten(1, (2, 6)).flip(1).flatten(1)",
        "x = x.reshape(-1, 2, 2, 3).permute(0, 3, 1, 2).contiguous().view(-1, 12)",
        "x = torch.stack(x.unbind(1)[::-1], dim=1)",
        "x = torch.cat([x[:, ::2], x[:, 1::2].roll(1, 1)], dim=1)",
        "x = x.unfold(1, 4, 2).amax(-1).repeat(1, 3)[:, :12]",
        "x = x.t().contiguous().t() + x.expand(2, *x.shape).mean(0)",
    ))  # fmt: skip
    return 12


def _statistics(w, width, new):
    name = w.new(f"nn.Parameter(torch.linspace(-1, 1, {width}))")
    buffer = f"buffer{len(w.layers)}"
    w.layers.append(f'self.register_buffer("{buffer}", torch.zeros({width}))')
    update = w.one(
        f"self.{buffer}.mul_(0.9).add_(0.1 * x.mean(0))",
        f"self.{buffer}.lerp_(x.mean(0), 0.2)",
        f"self.{buffer}.copy_(0.5 * self.{buffer} + x.amax(0))",
        f"self.{buffer} += 0.01 * x.sum(0)",
    )
    w.do("if self.training:", "    with torch.no_grad():", f"        {update}")
    w.do(f"x = (x - self.{buffer}) * {name}")
    return _linear(w, width, new)


def _detached(w, width, new):
    w.do(w.one(
        "x = x + 0.1 * x.detach().tanh()",
        "x = x / (x.detach().abs().amax(1, keepdim=True) + 1)",
        "with torch.no_grad():\n            scale = x.abs().mean()\n        x = x / (scale + 1)",
    ))  # fmt: skip
    return _linear(w, width, new)


def _containers(w, width, new):
    kind = w.one("list", "sequential", "dict", "parameters")
    if kind == "list":
        name = w.new(f"nn.ModuleList([nn.Linear({width}, {width}) for _ in range(3)])")
        w.do(f"for i, layer in enumerate({name}):", "    x = torch.tanh(layer(x)) + x / (i + 1)")
        return width
    if kind == "sequential":
        w.then(f"nn.Sequential(nn.Linear({width}, {new}), nn.Tanh(), nn.Linear({new}, {new}))")
        return new
    if kind == "dict":
        name = w.new(f'nn.ModuleDict({{k: nn.Linear({width}, {new}) for k in ("a", "b")}})')
        w.do(f"x = sum(torch.tanh(layer(x)) for layer in {name}.values())")
        return new
    name = w.new(f"nn.ParameterList([torch.ones({width}) / 2, torch.zeros({width})])")
    w.do(f"x = x * {name}[0] + {name}[1]")
    return width


def _custom_function(w, width, new):
    w.then(f"nn.Linear({width}, {new})")
    w.do("x = ScaledTanh.apply(x, 0.7)")
    return new


def _checkpointed(w, width, new):
    layer = w.new(f"nn.Sequential(nn.Linear({width}, {new}), nn.Tanh(), nn.Dropout(0.2))")
    w.do(f"x = torch.utils.checkpoint.checkpoint({layer}, x, use_reentrant=False)")
    return new


def _bilinear(w, width, new):
    w.do(f"x = {w.new(f'nn.Bilinear({width}, {width}, {new})')}(x, x.flip(1))")
    w.activate()
    return new


def _einsum(w, width, new):
    name = w.new(f"nn.Parameter(torch.randn(2, {width}, {new}) / 3)")
    w.do(w.one(
        f'x = torch.einsum("ni,kio->nko", x, {name}).logsumexp(1)',
        f"x = torch.matmul(x, {name}).amax(0)",
        f"x = (x.unsqueeze(0) @ {name}).mean(0)",
        f"x = torch.bmm(x.expand(2, -1, -1), {name}).tanh().sum(0)",
        f"x = torch.baddbmm(torch.ones(1, 1, 1, dtype=dtype), x.repeat(2, 1, 1), {name}).mean(0)",
    ))  # fmt: skip
    return new


VECTOR_BLOCKS = (
    _linear, _linear, _normalised, _normalised, _dropped, _residual, _shared, _parametrized,
    _gated, _in_place, _views, _statistics, _detached, _containers, _custom_function,
    _checkpointed, _bilinear, _einsum,
)  # fmt: skip


SMOOTH_BLOCKS = (_smooth, _smooth, _einsum, _views, _residual_smooth)


def vector_block(w: Writer, width: int, blocks) -> int:
    """One of the things that networks do with (n, width); returns the new width."""
    return w.one(*blocks)(w, width, w.one(4, 6, 8))


# ---------------------------------------------------------------------- signals and images
def convolutional(w: Writer, dims: int) -> int:
    """From (n, 4, 12) or (n, 4, 8, 8) to rows of features; returns their width."""
    channels, length = 4, (12 if dims == 1 else 8)
    for _ in range(w.one(1, 2)):
        new = w.one(4, 6)
        block = w.one("conv", "normalised", "transposed", "padded", "depthwise", "dilated", "same")
        if block == "conv":
            w.then(f"nn.Conv{dims}d({channels}, {new}, 3, padding=1)")
        elif block == "same":
            w.then(f'nn.Conv{dims}d({channels}, {new}, 3, padding="same", padding_mode="circular")')
        elif block == "dilated":
            w.then(f"nn.Conv{dims}d({channels}, {new}, 3, padding=2, dilation=2, bias=False)")
        elif block == "depthwise":
            new = channels
            w.then(f"nn.Conv{dims}d({channels}, {channels}, 3, padding=1, groups={channels})")
        elif block == "padded":
            kind = w.one("ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")
            w.then(f"nn.{kind}{dims}d(1)")
            w.then(f"nn.Conv{dims}d({channels}, {new}, 3)")
        elif block == "transposed":
            w.then(f"nn.ConvTranspose{dims}d({channels}, {new}, 4, stride=2, padding=1)")
            length *= 2
        else:
            w.then(f"nn.Conv{dims}d({channels}, {new}, 3, padding=1, bias=False)")
            w.then(w.one(
                f"nn.BatchNorm{dims}d({new})", f"nn.InstanceNorm{dims}d({new}, affine=True)",
                f"nn.GroupNorm(2, {new})", f"nn.InstanceNorm{dims}d({new})",
                f"nn.InstanceNorm{dims}d({new}, track_running_stats=True)",
            ))  # fmt: skip
        channels = new
        w.activate()
        if w.random.random() < 0.3:
            w.then(w.one(f"nn.Dropout{dims}d(0.2)", "nn.Dropout(0.2)", "nn.LocalResponseNorm(2)"))
        if w.random.random() < 0.6:
            w.then(w.one(
                f"nn.MaxPool{dims}d(2)", f"nn.AvgPool{dims}d(2)", f"nn.LPPool{dims}d(1, 2)",
                f"nn.MaxPool{dims}d(3, stride=2, padding=1)",
                f"nn.AvgPool{dims}d(3, stride=2, padding=1, count_include_pad=False)",
            ))  # fmt: skip
            length //= 2
        elif w.random.random() < 0.3:
            mode = "linear" if dims == 1 else w.one("bilinear", "bicubic")
            w.do(w.one(
                f'x = F.interpolate(x, size={length}, mode="nearest")',
                f'x = F.interpolate(x, scale_factor=0.5, mode="{mode}", align_corners=False)',
            ))  # fmt: skip
            length = length if "nearest" in w.lines[-1] else length // 2
    if dims == 2 and channels == 4 and w.random.random() < 0.3:
        w.do("x = F.pixel_shuffle(x, 2)")
        channels, length = 1, 2 * length
    rest = ", -1" if dims == 1 else ", -2, -1"
    end = w.one("flatten", "adaptive", "mean", "max")
    if end == "flatten":
        w.do("x = x.flatten(1)")
        return channels * length**dims
    if end == "adaptive":
        w.then(w.one(f"nn.AdaptiveAvgPool{dims}d(2)", f"nn.AdaptiveMaxPool{dims}d(2)"))
        w.then("nn.Flatten()")
        return channels * 2**dims
    w.do(f"x = x.{'mean' if end == 'mean' else 'amax'}(({rest[2:]}{',' if dims == 1 else ''}))")
    return channels


# ---------------------------------------------------------------------- sequences
def sequential(w: Writer, width: int) -> int:
    """From (n, 5, width) to rows of features; returns their width."""
    block = w.one("rnn", "rnn", "cell", "attention", "transformer", "dot", "convolution")
    hidden = 6
    if block == "rnn":
        kind = w.one("nn.RNN", "nn.LSTM", "nn.GRU")
        both, layers = w.one("", ", bidirectional=True"), w.one("", ", num_layers=2, dropout=0.2")
        name = w.new(f"{kind}({width}, {hidden}, batch_first=True{both}{layers})")
        w.do(f"x, state = {name}(x)")
        hidden *= 2 if both else 1
    elif block == "cell":
        kind = w.one("nn.RNNCell", "nn.LSTMCell", "nn.GRUCell")
        w.do("state, states = None, []", "for part in x.unbind(1):")
        w.do(f"    state = {w.new(f'{kind}({width}, {hidden})')}(part, state)")
        w.do(f"    states.append(state{'[0]' if kind == 'nn.LSTMCell' else ''})")
        w.do("x = torch.stack(states, 1)")
    elif block == "attention":
        hidden = width
        options = w.one("", ", dropout=0.1", ", add_zero_attn=True")
        name = w.new(f"nn.MultiheadAttention({width}, 2, bias=False, batch_first=True{options})")
        call = w.one("need_weights=False", "average_attn_weights=False")
        w.do(f"x = x + {name}(x, x, x, {call})[0]")
    elif block == "transformer":
        hidden = width
        options = w.one("", ", norm_first=True", ', activation="gelu"')
        layer = f"nn.TransformerEncoderLayer({width}, 2, 8, 0.1, batch_first=True, bias=False"
        w.then(f"{layer}{options})")
    elif block == "dot":
        hidden = width
        query = w.new(f"nn.Linear({width}, {3 * width}, bias=False)")
        w.do(f"q, k, v = {query}(x).chunk(3, -1)")
        causal = w.one("True", "False")
        w.do(f"x = F.scaled_dot_product_attention(q, k, v, is_causal={causal})")
    else:
        w.do(f"x = {w.new(f'nn.Conv1d({width}, {hidden}, 3, padding=1)')}(x.transpose(1, 2)).mT")
    end = w.one("x = x[:, -1]", "x = x.mean(1)", "x = x.amax(dim=1)", "x = x.flatten(1)")
    w.do(end)
    return hidden * 5 if "flatten" in end else hidden


def embedded(w: Writer) -> int:
    """From (n, 5) numbers of words to rows of features; returns their width."""
    if w.random.random() < 0.25:
        mode = w.one("mean", "sum", "max")
        w.then(f'nn.EmbeddingBag({WORDS}, 6, mode="{mode}")')
        return 6
    options = w.one("", "", ", padding_idx=0", ", scale_grad_by_freq=True")
    w.then(f"nn.Embedding({WORDS}, 4{options})")
    if w.random.random() < 0.4:
        w.do("x = x + torch.arange(5, dtype=dtype).div(5).unsqueeze(-1)")
    return sequential(w, 4)


# ---------------------------------------------------------------------- whole networks
def network(
    random: Random, kind: str, width: int, name: str = "Net", plain=False, smooth=False
) -> Network:
    """A random network over data of a kind; gives (n, width).

    `plain` ones take one tensor and return one; `smooth` ones can be differentiated twice and
    called as functions of their parameters.
    """
    w = Writer(random)
    if kind == "vector":
        inputs, reached = "torch.randn(n, 5, dtype=dtype)", 5
        for _ in range(w.one(1, 2, 3)):
            reached = vector_block(w, reached, SMOOTH_BLOCKS if smooth else VECTOR_BLOCKS)
    elif kind == "signal":
        inputs, reached = "torch.randn(n, 4, 12, dtype=dtype)", convolutional(w, 1)
    elif kind == "image":
        inputs, reached = "torch.randn(n, 4, 8, 8, dtype=dtype)", convolutional(w, 2)
    elif kind == "sequence":
        inputs, reached = "torch.randn(n, 5, 4, dtype=dtype)", sequential(w, 4)
    else:
        inputs, reached = f"torch.randint(0, {WORDS}, (n, 5))", embedded(w)
    if not smooth and random.random() < 0.3:
        reached = vector_block(w, reached, VECTOR_BLOCKS)
    first, last, result = "", "return x", ""
    if not plain and random.random() < 0.2:  # several inputs, nested
        side = w.new(f"nn.Linear(3, {reached})")
        w.do(f"x = x + {side}(other)")
        if random.random() < 0.5:
            first = 'x, other = x["main"], x["other"][0]'
            inputs = f'{{"main": {inputs}, "other": [torch.randn(n, 3, dtype=dtype)]}}'
        else:
            first, inputs = "x, other = x", f"({inputs}, torch.randn(n, 3, dtype=dtype))"
    w.then(f"nn.Linear({reached}, {width})")
    if not plain and random.random() < 0.15:  # several outputs
        last, result = w.one(
            ('return {"out": x, "size": x.shape[0], "aux": x.mean()}', '["out"]'),
            ("return x, x.detach().mean(), None", "[0]"),
        )
    return Network(w.source(name, first, last), inputs, width, result, kind == "tokens")


# ---------------------------------------------------------------------- losses
class Loss(NamedTuple):
    """A criterion over `out` (n, 4)."""

    setup: str  # what stands before the step
    targets: str  # an expression that draws `n` targets
    value: str  # the expression of the loss


_SCORES, _CLASSES = "torch.randn(n, 4, dtype=dtype)", "torch.randint(0, 4, (n,))"
_SIGNS = "torch.randint(0, 2, (n, 4)).to(dtype) * 2 - 1"
_ZEROS_AND_ONES = "torch.randint(0, 2, (n, 4)).to(dtype)"
_PAIR = "torch.randint(0, 2, (n,)) * 2 - 1"

CRITERIA = (
    ("nn.MSELoss()", _SCORES, "loss_fn(out, y)"),
    ('nn.MSELoss(reduction="sum")', _SCORES, "0.1 * loss_fn(out, y)"),
    ('nn.MSELoss(reduction="none")', _SCORES, "(loss_fn(out, y) * y.abs()).mean()"),
    ("nn.L1Loss()", _SCORES, "loss_fn(out, y)"),
    ("nn.SmoothL1Loss(beta=0.5)", _SCORES, "loss_fn(out, y)"),
    ("nn.HuberLoss(delta=0.7)", _SCORES, "loss_fn(out, y)"),
    ("nn.CrossEntropyLoss()", _CLASSES, "loss_fn(out, y)"),
    ("nn.CrossEntropyLoss(label_smoothing=0.1)", _CLASSES, "loss_fn(out, y)"),
    ("nn.CrossEntropyLoss(ignore_index=2)", _CLASSES, "loss_fn(out, y)"),
    (
        "nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=dtype))",
        _CLASSES,
        "loss_fn(out, y)",
    ),
    ("nn.CrossEntropyLoss()", f"F.softmax({_SCORES}, 1)", "loss_fn(out, y)"),
    ("nn.NLLLoss()", _CLASSES, "loss_fn(F.log_softmax(out, 1), y)"),
    ("nn.BCEWithLogitsLoss()", _ZEROS_AND_ONES, "loss_fn(out, y)"),
    (
        "nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=dtype))",
        _ZEROS_AND_ONES,
        "loss_fn(out, y)",
    ),
    ("nn.BCELoss()", _ZEROS_AND_ONES, "loss_fn(torch.sigmoid(out), y)"),
    (
        'nn.KLDivLoss(reduction="batchmean")',
        f"F.softmax({_SCORES}, 1)",
        "loss_fn(F.log_softmax(out, 1), y)",
    ),
    ("nn.PoissonNLLLoss()", "torch.randint(0, 4, (n, 4)).to(dtype)", "loss_fn(out, y)"),
    ("nn.GaussianNLLLoss()", _SCORES, "loss_fn(out, y, F.softplus(out) + 0.1)"),
    ("nn.HingeEmbeddingLoss()", _SIGNS, "loss_fn(out, y)"),
    ("nn.SoftMarginLoss()", _SIGNS, "loss_fn(out, y)"),
    ("nn.MultiMarginLoss()", _CLASSES, "loss_fn(out, y)"),
    ("nn.MultiLabelMarginLoss()", "torch.tensor([[1, 3, -1, 0]]).repeat(n, 1)", "loss_fn(out, y)"),
    ("nn.MultiLabelSoftMarginLoss()", _ZEROS_AND_ONES, "loss_fn(out, y)"),
    ("nn.CosineEmbeddingLoss(margin=0.1)", _PAIR, "loss_fn(out, out.roll(1, 0).detach(), y)"),
    ("nn.MarginRankingLoss(0.2)", _PAIR, "loss_fn(out[:, 0], out[:, 1], y.to(dtype))"),
    ("nn.TripletMarginLoss()", _SCORES, "loss_fn(out, y, y.flip(0))"),
    (
        "nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance(1.5))",
        _SCORES,
        "loss_fn(out, y, y.flip(0))",
    ),
    (
        "nn.CTCLoss()",
        "torch.randint(1, 4, (1, 2))",
        "loss_fn(out.log_softmax(1).unsqueeze(1), y, (len(out),), (2,))",
    ),
    ("nn.CosineSimilarity(dim=1)", _SCORES, "(1 - loss_fn(out, y)).mean()"),
)

TERMS = (
    "(out - y).abs().add(0.1).pow(1.5).mean()",
    "torch.where(out > y, 2 * (out - y), y - out).mean()",
    "(out.cumsum(1) - y.cumsum(1)).square().mean()",
    "(out.logsumexp(1) - (out * F.softmax(y, 1)).sum(1)).mean()",
    "out.sort(1).values[:, -2:].mean()",
    "out.sort(dim=1, descending=True)[0][:, 0].sum() / len(out)",
    "out.topk(2, dim=1).values.mean()",
    'torch.einsum("ij,kj->ik", out, y).tanh().mean()',
    "torch.stack([out, y]).var(0).mean()",
    "torch.cat([out, y], 1).norm(dim=1).mean()",
    "out.gather(1, y.argmax(1, keepdim=True)).mean()",
    "out[:, ::2].tanh().prod(1).mean()",
    "out[torch.arange(len(out)), y.argmax(1)].mean()",
    "(out.T @ y).diagonal().tanh().exp().mean()",
    "out.std()",
    "(torch.maximum(out, y) - torch.minimum(out, y)).mean()",
    "out.max(1).values.sum() / len(out)",
    "out.amin()",
    "out.median(1).values.mean()",
    "torch.tril(out @ out.T, -1).tanh().sum() / 9",
    "out.index_select(1, torch.tensor([2, 0])).mean()",
    "out.masked_fill(y > 0, 0.0).mean()",
    "torch.zeros_like(out).scatter_add(1, y.argsort(1), out)[:, 0].mean()",
    "(out.roll(1, 0) * y.flip(1)).mean()",
    "out.unfold(1, 2, 1).amax(-1).mean()",
    "torch.cdist(out, y + 5).mean()",
    "out.logcumsumexp(1).mean()",
    "out.tanh().cumprod(1).mean()",
    "torch.lerp(out, y, 0.3).square().mean()",
    "torch.addcmul(out, out, y, value=0.5).mean()",
    "(out.unsqueeze(1) - out.unsqueeze(0)).square().mean()",
    "out.kthvalue(2, dim=1).values.mean()",
    "torch.outer(out[:, 0], y[:, 1]).mean()",
    "torch.erf(out).mean() + torch.atan2(out, y.abs() + 1).mean()",
    "torch.log1p(out.abs()).mean() + torch.expm1(out.clamp(-2, 2)).mean()",
    "(out.square() + 1).rsqrt().mean()",
    "out.repeat_interleave(2, 0).mean(0).sum()",
    "F.pad(out, (1, 1), value=0.5).prod(1).mean()",
    "torch.tensordot(out, y, dims=([0], [0])).tanh().mean()",
    "torch.linalg.norm(out)",
    "(out @ torch.eye(4, dtype=dtype)).square().sum().sqrt()",
    "out.softmax(1).mul(out.log_softmax(1)).sum(1).mean()",
    "F.one_hot(y.argmax(1), 4).to(out.dtype).mul(out).sum()",
    "torch.clamp(out, min=-0.5, max=0.5).mean()",
    "out.triu().sum() * 0.05",
    "torch.special.expit(out).mean()",
    "torch.hypot(out, y + 3).mean()",
    "out.nan_to_num().mean()",
    "torch.addmm(y.T @ y, out.T, out).mean() * 0.01",
    "out.swapaxes(0, 1).contiguous().view(-1)[:3].sum()",
    "torch.cumsum(torch.linspace(0, 1, 4, dtype=dtype) * out, -1)[:, -1].mean()",
    "(out > 0).to(out.dtype).mul(out).mean()",
    "out.squeeze().unsqueeze(0).expand(3, -1, -1).mean()",
    "sum(part.square().mean() for part in out.split(1, dim=1))",
)


def loss(random: Random, smooth=False) -> Loss:
    """A criterion of `torch.nn`, or an expression of one's own."""
    if smooth:
        return Loss("loss_fn = nn.MSELoss()\n", _SCORES, "loss_fn(torch.sinh(out), y)")
    if random.random() < 0.6:
        constructor, targets, value = random.choice(CRITERIA)
        return Loss(f"loss_fn = {constructor}\n", targets, value)
    terms = " + ".join(f"0.3 * {term}" for term in random.sample(TERMS, random.randint(2, 4)))
    anchor = "(out - y).square().mean()"
    return Loss("", _SCORES, f"{anchor} + {terms}")
