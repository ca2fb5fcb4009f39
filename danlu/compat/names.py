"""Which danlu module a module name of PyTorch, or of one of its companions, stands for."""

from __future__ import annotations

from danlu.version import torch_version

# Root package -> (danlu's package, the release its metadata claims).
ROOTS = {
    "torch": ("danlu", torch_version),
    "torchvision": ("danlu.vision", "0.28.0"),
    "torchkeras": ("danlu.keras", "4.0.6"),
    "torchmetrics": ("danlu.metrics", "1.9.0"),
}

# Packages that programs import and never use, or whose work danlu does in another way: they can be
# imported, and the first use says what to write instead.
STAND_INS = {
    "pytorch_lightning": (
        "danlu has no Lightning: train with danlu.keras.KerasModel, or with a loop of your own"
    ),
}

# Modules that lie elsewhere in danlu. Used only where danlu has no module of the same relative
# name.
MOVED = {
    "torch._tensor": "danlu.tensor",
    "torch.functional": "danlu",
    "torch.random": "danlu.random",
    "torchkeras.metrics": "danlu.metrics",
}

# Modules of PyTorch whose names are all found in their parent package here.
# Used, too, only where danlu has no module of that name.
FOLDED = {
    "torch.autograd": "anomaly_mode function functional grad_mode gradcheck graph variable",
    "torch.distributions": (
        "bernoulli beta binomial categorical cauchy dirichlet distribution exponential gamma "
        "geometric half_normal independent kl laplace log_normal multinomial multivariate_normal "
        "normal one_hot_categorical poisson studentT uniform"
    ),
    "torch.nn": "parameter",
    "torch.nn.modules": (
        "activation adaptive batchnorm channelshuffle container conv distance dropout flatten "
        "fold instancenorm lazy linear loss module normalization padding pixelshuffle pooling rnn "
        "sparse transformer upsampling"
    ),
    "torch.nn.utils": (
        "clip_grad convert_parameters fusion init memory_format parametrizations parametrize rnn "
        "spectral_norm stateless weight_norm"
    ),
    "torch.optim": (
        "adadelta adagrad adam adamax adamw asgd lbfgs nadam optimizer radam rmsprop rprop sgd "
        "sparse_adam"
    ),
    "torch.utils.data": "dataloader dataset distributed sampler",
    "torch.utils.tensorboard": "summary writer",
    "torchkeras": "callbacks kerasmodel model plots summary tools utils vlog",
    "torchmetrics": "aggregation classification collections functional metric regression text",
    "torchmetrics.classification": (
        "accuracy auroc average_precision cohen_kappa confusion_matrix f_beta precision_recall "
        "stat_scores"
    ),
    "torchmetrics.regression": "mae mape mse r2",
}


def candidates(name: str) -> list[str]:
    """The danlu modules that `name` may stand for, best first; the first that exists is taken.

    >>> candidates("torch.nn.functional")
    ['danlu.nn.functional']
    >>> candidates("torch.utils.data.dataset")
    ['danlu.utils.data.dataset', 'danlu.utils.data']
    """
    root, _, rest = name.partition(".")
    own = f"{ROOTS[root][0]}.{rest}" if rest else ROOTS[root][0]
    found = [own]
    if name in MOVED:
        found.append(MOVED[name])
    parent, _, last = name.rpartition(".")
    if last in FOLDED.get(parent, "").split():
        found += candidates(parent)
    return found


def submodules(name: str) -> list[str]:
    """The folded submodules of the package `name`."""
    return [f"{name}.{last}" for last in FOLDED.get(name, "").split()]
