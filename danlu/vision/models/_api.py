"""Models by name, and what is said about pretrained weights."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from danlu.vision.transforms._presets import ImageClassification

__all__ = ["WeightsEnum", "get_model", "list_models", "model", "weights_of"]

_MODELS: dict[str, Callable] = {}
_PUBLISHED = "https://download.pytorch.org/models/"


class Weights(NamedTuple):
    """Where weights were published, and a function that gives the preparation of their images."""

    url: str
    transforms: Callable[[], ImageClassification]


class WeightsEnum(Enum):
    """The published weights of a model. danlu has none of them: they tell what to fetch."""

    @property
    def url(self) -> str:
        """The address of the file."""
        return self.value.url

    @property
    def transforms(self) -> Callable[[], ImageClassification]:
        """A function that gives the preparation of images that the weights expect."""
        return self.value.transforms


def weights_of(name: str, **files: str) -> Any:
    """The enumeration `name` of published weights; the best, which come last, are the DEFAULT.

    Each text is a file's name, followed by the edge to which images are resized if it is not 256.
    """
    members: dict[str, Weights] = {}
    for member, text in files.items():
        file, *edge = text.split()
        prepare = functools.partial(
            ImageClassification, crop_size=224, resize_size=int(edge[0]) if edge else 256
        )
        members[member] = Weights(_PUBLISHED + file, prepare)
    members["DEFAULT"] = members[member]
    return WeightsEnum(name, members)  # type: ignore[call-arg]


def model(known: type[WeightsEnum] | None = None) -> Callable[[Callable], Callable]:
    """Register a function that builds a model, and answer `weights=` and the old `pretrained=`."""

    def register(build: Callable) -> Callable:
        name = build.__name__

        @functools.wraps(build)
        def builder(*args, weights=None, progress: bool = True, **kwargs):
            if len(args) > 1:
                raise TypeError(
                    f"{name}() takes keyword arguments alone: {name}(num_classes=10), not {args}"
                )
            if args or "pretrained" in kwargs:
                weights = _old_weights(name, args[0] if args else kwargs.pop("pretrained"))
            if weights is not None:
                _refuse(name, known, weights)
            return build(**kwargs)

        _MODELS[name] = builder
        return builder

    return register


def _old_weights(name: str, pretrained):
    """`weights` from the argument that was first called `pretrained`."""
    if isinstance(pretrained, (bool, type(None))):
        warnings.warn(
            f"The parameter 'pretrained' is deprecated: write {name}(weights=None)",
            UserWarning,
            stacklevel=4,
        )
        return pretrained or None
    return pretrained


def _refuse(name: str, known: type[WeightsEnum] | None, weights) -> None:
    best = None
    if isinstance(weights, WeightsEnum):
        best = weights
    elif known is not None:
        best = known.__members__.get(str(weights).rpartition(".")[2], known["DEFAULT"])
    file = f"{name}.pth" if best is None else best.url.rpartition("/")[2]
    where = "" if best is None else f" (published at {best.url})"
    raise ValueError(
        f"{name}(weights={weights!s}): danlu has no pretrained weights and downloads none. "
        f"Fetch the state dict{where} and write model = {name}(); "
        f"model.load_state_dict(torch.load({file!r}))"
    )


def list_models() -> list[str]:
    """The names of all models, sorted."""
    return sorted(_MODELS)


def get_model(name: str, **config):
    """The model of this name; `config` is passed on to its constructor.

    Raises:
        ValueError: there is none.

    Example:
        >>> from danlu.vision.models import get_model
        >>> get_model("lenet", num_classes=3).classifier[-1]
        Linear(in_features=84, out_features=3, bias=True)
    """
    build = _MODELS.get(name.lower())
    if build is None:
        raise ValueError(f"Unknown model {name}: danlu has {', '.join(list_models())}")
    return build(**config)
