"""Optimizers that are a formula on arrays.

Such an optimizer says what it remembers of a parameter (`start`) and how a step changes it
(`update`). Both see arrays only. Small parameters are updated together: their state lies in one
flat array each, their values and gradients are copied into one, so that a formula of a dozen array
operations costs a dozen calls for the whole network and not for every bias of it (6 small
parameters, Adam: 20 us instead of 55)."""

from __future__ import annotations

from collections import Counter
from operator import is_

from danlu.autograd.grad_mode import enable_grad
from danlu.ops.registry import ns
from danlu.optim.optimizer import Optimizer, hooked
from danlu.tensor import Tensor, wrap

# Above this size the two extra copies of a joint update cost more than the calls that it saves.
JOINT_SIZE = 4096

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


class Bundle:
    """Parameters that are updated in one go, and everything `update` works with.

    Attributes:
        xp: the array namespace.
        param: the values, updated in place.
        grad: the gradient (negated under `maximize`), not to be written to.
        state: what the optimizer remembers, arrays by name. Single numbers of a parameter (`step`)
            are arrays with one number a parameter; these are equal in a bundle.
        step: the number of this step, from 1; 0 for optimizers that do not count.
        work, more: arrays like `param`, free to use.
    """

    __slots__ = (
        "_arrays", "_constants", "_entries", "_gathered", "_grads", "_held", "_named", "_own_grad",
        "_parts", "grad", "more", "param", "params", "scalars", "state", "step", "work", "xp",
    )  # fmt: skip

    def __init__(self, params: list, entries: list[dict], scalars: tuple, joint: bool, scratch):
        first = params[0]._array
        self.xp = xp = ns(first)
        self.params, self._entries, self.scalars = params, entries, scalars
        self._arrays = [param._array for param in params]
        self._constants: dict = {}
        self._parts: list = []
        self.state: dict = {}
        self.step = 0
        if joint:
            size = sum(array.size for array in self._arrays)
            self._gathered = xp.empty(size, first.dtype)
            self._grads = xp.empty(size, first.dtype)
            self._parts = self._split(self._gathered)
            real = first.dtype.char.lower() if first.dtype.kind == "c" else first.dtype
            self.param, self._own_grad = self._gathered.view(real), self._grads.view(real)
            for name in scalars:
                self._adopt(name, xp.empty(len(params), entries[0][name]._array.dtype))
            for name in self._joint_names(entries[0]):
                self._adopt(name, xp.empty(size, first.dtype))
            self.state = {
                name: array if name in scalars else array.view(real)
                for name, array in self.state.items()
            }
        else:
            self._gathered = None
            self.param, self._own_grad = first, scratch(0, first)
            for name, value in entries[0].items():
                if isinstance(value, Tensor):
                    array = value._array
                    self.state[name] = array.reshape(-1) if name in scalars else array
        self.work, self.more = scratch(1, self.param), scratch(2, self.param)
        self._remember_state()

    def _joint_names(self, entry: dict) -> list[str]:
        shape = self._arrays[0].shape
        return [
            name
            for name, value in entry.items()
            if name not in self.scalars
            and isinstance(value, Tensor)
            and value._array.shape == shape
        ]

    def _split(self, flat) -> list:
        """Views of a flat array that have the shapes of the parameters."""
        views, start = [], 0
        for array in self._arrays:
            views.append(flat[start : start + array.size].reshape(array.shape))
            start += array.size
        return views

    def _adopt(self, name: str, flat) -> None:
        """Move the state `name` of all parameters into `flat`; their tensors become views of it."""
        if name in self.scalars:
            views = [flat[number : number + 1].reshape(()) for number in range(len(self.params))]
        else:
            views = self._split(flat)
        for entry, view in zip(self._entries, views):
            view[...] = entry[name]._array
            entry[name]._array = view
        self.state[name] = flat

    def _remember_state(self) -> None:
        self._named = [(entry, name) for entry in self._entries for name in self.state]
        self._held = [entry[name]._array for entry, name in self._named]

    def is_current(self, state) -> bool:
        """Whether parameters and state are still those of the bundle, and its step counts equal."""
        try:
            unchanged = (
                all(map(is_, [param._array for param in self.params], self._arrays))
                and all(map(is_, map(state.get, self.params), self._entries))
                and all(map(is_, [entry[name]._array for entry, name in self._named], self._held))
            )
        except (AttributeError, KeyError):  # an entry was deleted, or is no tensor any more
            return False
        if unchanged:
            for name in self.scalars:
                numbers = self.state[name].tolist()
                unchanged &= numbers.count(numbers[0]) == len(numbers)
        return unchanged

    def begin(self, maximize: bool) -> None:
        """Count the step and fetch values and gradients."""
        if "step" in self.state:
            steps = self.state["step"]
            steps += 1
            self.step = steps.item(0)
        if self._gathered is None:
            self.grad = self.params[0]._grad._array
        else:
            concat = self.xp.concatenate
            concat([param._grad._array for param in self.params], None, self._grads)
            concat(self._arrays, None, self._gathered)
            self.grad = self._own_grad
        if maximize:
            self.grad = self.xp.negative(self.grad, self._own_grad)

    def end(self) -> None:
        """Store the new values, and hand new state to the parameters."""
        if self._gathered is not None:
            for array, part in zip(self._arrays, self._parts):
                array[...] = part
        for param in self.params:
            param._writes[0] += 1
        if len(self._named) != len(self.state) * len(self.params):
            self._publish()

    def _publish(self) -> None:
        for name in self.state.keys() - self._entries[0].keys():
            array = self.state[name]
            if self._gathered is not None:
                array = array.view(self._gathered.dtype)
            views = [array] if self._gathered is None else self._split(array)
            for entry, view in zip(self._entries, views):
                entry[name] = wrap(view)
        self._remember_state()

    # ------------------------------------------------------------ arithmetic in place
    # Each is one of PyTorch's fused operations, in its order of rounding.
    def constant(self, number: float):
        """A number as an array: half the cost of a Python number in a small operation."""
        found = self._constants.get(number)
        if found is None:
            if len(self._constants) > 32:  # a schedule changes the numbers
                self._constants.clear()
            found = self._constants[number] = self.xp.asarray(number, dtype=self.param.dtype)
        return found

    def decayed_grad(self, weight_decay: float):
        """``grad + weight_decay * param``"""
        if not weight_decay:
            return self.grad
        xp = self.xp
        xp.multiply(self.param, self.constant(weight_decay), self.work)
        return xp.add(self.grad, self.work, self._own_grad)

    def lerp_(self, average, value, weight: float) -> None:
        """``average += weight * (value - average)``, from the nearer end."""
        xp, work = self.xp, self.work
        xp.subtract(value, average, work)
        if abs(weight) < 0.5:
            xp.multiply(work, self.constant(weight), work)
            xp.add(average, work, average)
        else:
            xp.multiply(work, self.constant(1 - weight), work)
            xp.subtract(value, work, average)

    def average_square_(self, average, value, decay: float) -> None:
        """``average = decay * average + (1 - decay) * value**2``"""
        xp, work = self.xp, self.work
        xp.multiply(average, self.constant(decay), average)
        xp.multiply(value, self.constant(1 - decay), work)
        xp.multiply(work, value, work)
        xp.add(average, work, average)

    def add_(self, target, other, alpha: float) -> None:
        """``target += alpha * other``"""
        if alpha != 1:
            other = self.xp.multiply(other, alpha, self.work)
        self.xp.add(target, other, target)

    def addcdiv_(self, target, numerator, denominator, value: float) -> None:
        """``target += value * numerator / denominator``"""
        xp, work = self.xp, self.work
        xp.multiply(numerator, value, work)
        xp.divide(work, denominator, work)
        xp.add(target, work, target)


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

    def _prepare(self) -> None:
        super()._prepare()
        self._plans: dict = {}
        self._scratch_pool: dict = {}

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
        maximize = group.get("maximize", False)
        for bundle in self._bundles(number, group):
            bundle.begin(maximize)
            self.update(group, bundle)
            bundle.end()

    def _bundles(self, number: int, group: dict) -> list[Bundle]:
        """The parameters of a group that have gradients, in bundles that last until something
        changes."""
        params = [param for param in group["params"] if param._grad is not None]
        members, bundles = self._plans.get(number, ((), ()))
        if len(members) == len(params) and all(map(is_, members, params)):
            if all(bundle.is_current(self.state) for bundle in bundles):
                return bundles
        bundles = self._bundle(group, params)
        self._plans[number] = params, bundles
        return bundles

    def _bundle(self, group: dict, params: list) -> list[Bundle]:
        """Put small parameters together that have the same dtype, kinds of state and step
        counts."""
        together: dict = {}
        memories = Counter(id(param._writes) for param in params)
        for place, param in enumerate(params):
            entry = self._entry(param, group)
            array = param._array
            # What shares memory with another parameter sees the other's update, so goes in turn.
            own_memory = memories[id(param._writes)] == 1
            small = array.size <= JOINT_SIZE and array.dtype.kind != "c"
            if self._elementwise and small and own_memory:
                numbers = tuple([entry[name].item() for name in self._scalars])
                key: tuple = (array.dtype, *sorted(entry), *numbers)
            else:
                key = (place,)
            together.setdefault(key, []).append((param, entry))
        bundles = []
        for group_members in together.values():
            members, entries = map(list, zip(*group_members))
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

        double = danlu.get_default_dtype() is danlu.float64
        return ns(like).asarray(value, dtype="float64" if double else "float32")
