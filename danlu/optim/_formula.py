"""Optimizers that are a formula on arrays.

Such an optimizer says what it remembers of a parameter (`start`) and how a step changes it
(`update`). Both see arrays only. If there is generated code for the formula, `fused_update` calls
it, which gives the same bits; when that starts is a matter of time alone."""

from __future__ import annotations

from collections import Counter
from operator import is_

from danlu.autograd.grad_mode import enable_grad
from danlu.kernels import optimizers
from danlu.ops.registry import ns
from danlu.optim._bundles import JOINT_SIZE, Bundle, FusedBundle
from danlu.optim.optimizer import Optimizer, hooked
from danlu.tensor import Tensor, wrap

_DIFFERENTIABLE = (
    "{name} was made with differentiable=True and got a gradient that has a history itself, but "
    "its "
    "step is not recorded. Write the update with tensor operations (p - lr * p.grad) to "
    "differentiate through it."
)


def as_number(value) -> float:
    """A hyperparameter as a Python number, also if it is given as a tensor of one element."""
    return value.item() if isinstance(value, Tensor) else value


def zeros_like(array):
    """Zeros for a state, laid out as `array`."""
    return ns(array).zeros_like(array)


def check_rate(lr) -> None:
    """Refuse a learning rate that is negative or a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, but has shape {tuple(lr.shape)}")
    if not 0.0 <= lr:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_betas(betas) -> None:
    """Refuse averaging coefficients outside [0, 1)."""
    for number in (0, 1):
        if not 0.0 <= betas[number] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {number}: {betas[number]}")


def check_not_negative(**values) -> None:
    """Refuse negative hyperparameters, by their names."""
    for name, value in values.items():
        if not 0.0 <= value:
            raise ValueError(f"Invalid {'epsilon' if name == 'eps' else name} value: {value}")


def check_fused(fused, foreach, differentiable) -> None:
    """Refuse contradicting choices of an implementation (danlu has one, whatever is chosen)."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


class FormulaOptimizer(Optimizer):
    """An optimizer given by the two methods `start` and `update`."""

    _scalars: tuple[str, ...] = ("step",)  # state that is one number a parameter
    _elementwise = True  # whether parameters may be joined into one array
    _group_defaults: dict = {}  # options that checkpoints of old versions lack

    def start(self, param, group: dict) -> dict:
        """What is remembered of a parameter before its first step: arrays by name."""
        raise NotImplementedError

    def update(self, group: dict, bundle: Bundle) -> None:
        """Change `bundle.param` and `bundle.state` in place by one step."""
        raise NotImplementedError

    def fused_state(self, group: dict) -> tuple[str, ...]:
        """The names of the state that `fused_update` works with, in the order of its rule."""
        raise NotImplementedError

    def fused_update(self, group: dict, bundle: FusedBundle) -> None:
        """What `update` does, by generated code."""
        raise NotImplementedError

    def _prepare(self) -> None:
        super()._prepare()
        self._plans: dict = {}
        self._scratch_pool: dict = {}
        # The generated code is of no use to a subclass with a formula of its own.
        owner = next(cls for cls in type(self).__mro__ if "update" in vars(cls))
        self._has_fused = owner is not FormulaOptimizer and "fused_update" in vars(owner)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self._group_defaults.items():
                group.setdefault(name, value)

    def add_param_group(self, param_group: dict) -> None:
        super().add_param_group(param_group)
        self._plans.clear()

    add_param_group.__doc__ = Optimizer.add_param_group.__doc__

    @hooked
    def step(self, closure=None):
        """Update every parameter that has a gradient.

        Args:
            closure: a function that computes the loss anew and returns it; gradients are recorded
                in it.

        Returns:
            The closure's loss, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            if group.get("differentiable"):
                self._refuse_history(group)
            self._step_group(number, group)
        return loss

    def _refuse_history(self, group: dict) -> None:
        for param in group["params"]:
            if param._grad is not None and param._grad._requires_grad:
                raise RuntimeError(_DIFFERENTIABLE.format(name=type(self).__name__))

    def _step_group(self, number: int, group: dict) -> None:
        names = self.fused_state(group) if self._fuses() else None
        maximize = group.get("maximize", False)
        for bundle in self._bundles(number, group, names):
            if isinstance(bundle, FusedBundle):
                bundle.count()
                self.fused_update(group, bundle)
                bundle.written()
                continue
            bundle.begin(maximize)
            self.update(group, bundle)
            if bundle.end() and names is not None:
                self._plans.pop(number, None)  # with its new state, generated code can take it over
            optimizers.spend(bundle.param.size)

    def _fuses(self) -> bool:
        """Whether generated code is worth its loading by now."""
        return self._has_fused and optimizers.worth()

    def _bundles(self, number: int, group: dict, names: tuple | None) -> list:
        """The parameters of a group that have gradients, in bundles that last until something
        changes; those with the state `names` for generated code."""
        params = [param for param in group["params"] if param._grad is not None]
        members, bundles, planned = self._plans.get(number, ((), (), None))
        if planned == names and len(members) == len(params) and all(map(is_, members, params)):
            if all(bundle.is_current(self.state) for bundle in bundles):
                return bundles
        bundles = self._bundle(group, params, names)
        self._plans[number] = params, bundles, names
        return bundles

    def _bundle(self, group: dict, params: list, names: tuple | None) -> list:
        """Put parameters together that have the same dtype, kinds of state and step counts: all
        that generated code takes, and else small ones."""
        together: dict = {}
        memories = Counter(id(param._writes) for param in params)
        for place, param in enumerate(params):
            entry = self._entry(param, group)
            array = param._array
            # What shares memory with another parameter sees the other's update, so goes in turn.
            own_memory = memories[id(param._writes)] == 1
            small = array.size <= JOINT_SIZE and array.dtype.kind != "c"
            numbers = tuple([entry[name].item() for name in self._scalars])
            if names is not None and own_memory and _fits(array, entry, names):
                key: tuple = (FusedBundle, *numbers)
            elif self._elementwise and small and own_memory:
                key = (array.dtype, *sorted(entry), *numbers)
            else:
                key = (place,)
            together.setdefault(key, []).append((param, entry))
        bundles: list = []
        for key, group_members in together.items():
            members, entries = map(list, zip(*group_members))
            if names is not None and key[0] is FusedBundle:
                bundles.append(FusedBundle(members, entries, self._scalars, names))
                continue
            # A formula sees a complex parameter as the pairs of real numbers in a flat array.
            joint = len(members) > 1 or (self._elementwise and members[0]._array.dtype.kind == "c")
            bundles.append(Bundle(members, entries, self._scalars, joint, self._scratch))
        return bundles

    def _scratch(self, number: int, like):
        """Memory of the form of an array; all bundles of a dtype share it, for they work in
        turn."""
        flat = self._scratch_pool.get((number, like.dtype))
        if flat is None or flat.size < like.size:
            flat = self._scratch_pool[number, like.dtype] = ns(like).empty(like.size, like.dtype)
        return flat[: like.size].reshape(like.shape)

    def _entry(self, param, group: dict) -> dict:
        """The state of a parameter, begun or brought into the form that bundles expect."""
        entry = self.state[param]
        for name in [name for name, value in entry.items() if value is None]:
            del entry[name]
        if not entry:
            for name, array in self.start(param._array, group).items():
                entry[name] = wrap(array)
        for name in self._scalars:
            if not isinstance(entry[name], Tensor):  # old checkpoints hold plain numbers
                entry[name] = wrap(self._scalar(param._array, float(entry[name])))
        return entry

    @staticmethod
    def _scalar(like, value: float):
        """A number of the state, as an array; float64 only if that is the default dtype."""
        import danlu

        dtype = "float64" if danlu.get_default_dtype() is danlu.float64 else "float32"
        # a number of a compiled step is known at run time alone, and rounds itself then
        rounded = getattr(value, "rounded", None)
        return ns(like).asarray(value, dtype=dtype) if rounded is None else rounded(dtype)


def _fits(array, entry: dict, names: tuple) -> bool:
    """Whether generated code can update this parameter and its state where they are."""
    if not optimizers.fits(array) or not all(name in entry for name in names):
        return False
    states = [entry[name]._array for name in names]
    return all(state.shape == array.shape and optimizers.fits(state) for state in states)
