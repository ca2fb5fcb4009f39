"""Calling a module with other tensors in the place of its parameters and buffers."""

from __future__ import annotations

from contextlib import contextmanager

from danlu.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """What ``module(*args, **kwargs)`` gives with these tensors as its parameters and buffers.

    Gradients flow into the given tensors. The module is afterwards as it was.

    Args:
        module: what is called.
        parameters_and_buffers: tensors by path; or a sequence of such dictionaries.
        args: the positional arguments; one that is no tuple is the only argument. Default: none.
        kwargs: the keyword arguments. Default: none.
        tie_weights: replace a parameter known under several paths everywhere. Default: True.
        strict: raise for paths that are missing or too many. Default: False.

    Raises:
        RuntimeError: under ``strict``, naming the paths.
        ValueError: if tied paths are given different tensors.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> weights = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
        >>> torch.func.functional_call(layer, weights, torch.ones(1, 2))
        tensor([[2.]])
    """
    if not isinstance(parameters_and_buffers, dict):
        dictionaries = list(parameters_and_buffers)
        parameters_and_buffers = {}
        for each in dictionaries:
            repeated = parameters_and_buffers.keys() & each.keys()
            if repeated:
                raise ValueError(f"{sorted(repeated)} appeared in multiple dictionaries")
            parameters_and_buffers.update(each)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextmanager
def _replaced(module, given, tie_weights, strict):
    places = {
        path: (owner, kind, name)
        for prefix, owner in module.named_modules(remove_duplicate=False)
        for kind in ("_parameters", "_buffers")
        for name in getattr(owner, kind)
        for path in [f"{prefix}.{name}" if prefix else name]
    }
    for path, value in given.items():
        if path in places and not isinstance(value, Tensor):
            raise TypeError(f"{value} is not an instance of torch.Tensor")
    if strict:
        _check_paths(module, given, places)
    if tie_weights:
        given = _with_tied_paths(given, places)
    before = []
    try:
        for path, value in given.items():
            if path not in places:
                continue
            owner, kind, name = places[path]
            before.append((owner, kind, name, getattr(owner, kind)[name]))
            getattr(owner, kind)[name] = value
        yield
    finally:
        for owner, kind, name, value in reversed(before):
            getattr(owner, kind)[name] = value


def _check_paths(module, given, places):
    messages = []
    extra = [path for path in given if path not in places]
    missing = [
        path for path, (owner, kind, name) in places.items()
        if path not in given and getattr(owner, kind)[name] is not None
    ]  # fmt: skip
    if extra:
        messages.append(f"Unexpected key(s): {', '.join(map(repr, extra))}.")
    if missing:
        messages.append(f"Missing key(s): {', '.join(map(repr, missing))}.")
    if messages:
        name = type(module).__name__
        raise RuntimeError(f"Error(s) in reparametrizing for {name}:\n\t" + "\n\t".join(messages))


def _with_tied_paths(given, places):
    """``given``, and the same tensor for every other path of each parameter that it names."""
    groups: dict[int, list[str]] = {}
    for path, (owner, kind, name) in places.items():
        original = getattr(owner, kind)[name]
        if original is not None:
            groups.setdefault(id(original), []).append(path)
    tied = dict(given)
    for paths in groups.values():
        values = [given[path] for path in paths if path in given]
        if not values:
            continue
        if any(value is not values[0] for value in values[1:]):
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(paths)}, which are tied. "
                "Consider using tie_weights=False"
            )
        tied.update(dict.fromkeys(paths, values[0]))
    return tied
