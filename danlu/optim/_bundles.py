"""Groups of parameters that an optimizer updates together.

Small parameters are updated together with NumPy: their state lies in one flat array each, their
values and gradients are copied into one, so that a formula of a dozen array operations costs a
dozen calls for the whole network and not for every bias of it (6 small parameters, Adam: 20 us
instead of 55). Generated code takes parameters of all sizes where they are, and the same 6 in less
than half of that."""

from __future__ import annotations

from operator import is_

from danlu.kernels import optimizers
from danlu.ops.registry import ns
from danlu.tensor import Tensor, wrap

# Above this size the two extra copies of a joint update cost more than the calls that it saves.
JOINT_SIZE = 4096


class Members:
    """Parameters with their state, and whether both are still what they were.

    Attributes:
        params: the parameters.
        scalars: names of the state that is one number a parameter.
        state: what the optimizer remembers, arrays by name.
        step: the number of this step, from 1; 0 for optimizers that do not count.
    """

    __slots__ = ("_arrays", "_entries", "_held", "_named", "params", "scalars", "state", "step")

    def __init__(self, params: list, entries: list[dict], scalars: tuple):
        self.params, self._entries, self.scalars = params, entries, scalars
        self._arrays = [param._array for param in params]
        self.state: dict = {}
        self.step = 0

    def _numbers(self, flat) -> list:
        """The elements of a flat array, as 0-d views."""
        return [flat[number : number + 1].reshape(()) for number in range(len(self.params))]

    def _take_over(self, name: str, flat, views: list) -> None:
        """Move the state `name` into `flat`, of which these are the parameters' views."""
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
                and (not self._named or all(map(is_, map(state.get, self.params), self._entries)))
                and all(map(is_, [entry[name]._array for entry, name in self._named], self._held))
            )
        except (AttributeError, KeyError):  # an entry was deleted, or is no tensor any more
            return False
        if unchanged:
            for name in self.scalars:
                numbers = self.state[name].tolist()
                unchanged &= numbers.count(numbers[0]) == len(numbers)
        return unchanged

    def count(self) -> None:
        """Count the step."""
        if "step" in self.state:
            steps = self.state["step"]
            steps.fill(steps.item(0) + 1)  # a third of the time of += 1
            self.step = steps.item(0)


class Bundle(Members):
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
        "_constants", "_gathered", "_grads", "_own_grad", "_parts", "grad", "more", "param", "work",
        "xp",
    )  # fmt: skip

    def __init__(self, params: list, entries: list[dict], scalars: tuple, joint: bool, scratch):
        super().__init__(params, entries, scalars)
        first = params[0]._array
        self.xp = xp = ns(first)
        self._constants: dict = {}
        self._parts: list = []
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
        self._take_over(
            name, flat, self._numbers(flat) if name in self.scalars else self._split(flat)
        )

    def begin(self, maximize: bool) -> None:
        """Count the step and fetch values and gradients."""
        self.count()
        if self._gathered is None:
            self.grad = self.params[0]._grad._array
        else:
            concat = self.xp.concatenate
            concat([param._grad._array for param in self.params], None, self._grads)
            concat(self._arrays, None, self._gathered)
            self.grad = self._own_grad
        if maximize:
            self.grad = self.xp.negative(self.grad, self._own_grad)

    def end(self) -> bool:
        """Store the new values, and hand new state to the parameters; whether there was any."""
        if self._gathered is not None:
            for array, part in zip(self._arrays, self._parts):
                array[...] = part
        for param in self.params:
            param._writes[0] += 1
        begun = len(self._named) != len(self.state) * len(self.params)
        if begun:
            self._publish()
        return begun

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


class FusedBundle(Members):
    """Parameters that one call of generated code updates, each in its own memory.

    Attributes:
        names: of the state that the code works with.
        tables: where everything is, for `danlu.kernels.optimizers`.
    """

    __slots__ = ("names", "tables")

    def __init__(self, params: list, entries: list[dict], scalars: tuple, names: tuple):
        super().__init__(params, entries, scalars)
        self.names = names
        for name in scalars:
            flat = ns(self._arrays[0]).empty(len(params), entries[0][name]._array.dtype)
            self._take_over(name, flat, self._numbers(flat))
        self._join_small()
        states = [[entry[name]._array for name in names] for entry in entries]
        for place, name in enumerate(names):
            self.state[name] = [row[place] for row in states]
        self.tables = optimizers.tables(self._arrays, states)
        self._remember_state()

    def _join_small(self) -> None:
        """Put the state of small parameters into one flat array for each name: a compiled step
        updates them as one."""
        small = [
            entry for array, entry in zip(self._arrays, self._entries) if array.size <= JOINT_SIZE
        ]
        for name in self.names if len(small) > 1 else ():
            arrays = [entry[name]._array for entry in small]
            flat, start = ns(arrays[0]).concatenate([array.reshape(-1) for array in arrays]), 0
            for entry, array in zip(small, arrays):
                stop = start + array.size
                entry[name]._array = flat[start:stop].reshape(array.shape)
                start = stop

    def gradients(self) -> list:
        """The gradients as the code reads them, which checks nothing: C-contiguous, of the
        parameters' dtypes and sizes."""
        xp, found = ns(self._arrays[0]), []
        for param, array in zip(self.params, self._arrays):
            grad = param._grad._array
            fits = grad.flags.c_contiguous and grad.dtype is array.dtype and grad.size == array.size
            if not fits:
                grad = xp.broadcast_to(grad, array.shape)
                grad = xp.ascontiguousarray(grad, array.dtype)
            found.append(grad)
        return found

    def written(self) -> None:
        """The parameters have new values."""
        for param in self.params:
            param._writes[0] += 1
