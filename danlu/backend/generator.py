"""The random generator: PyTorch's CPU stream over NumPy's Mersenne Twister."""

from __future__ import annotations

import os
import sys

import numpy as np

from danlu.backend.device import CPU, check_available

__all__ = ["STATE_BYTES", "Generator", "default_generator"]

STATE_BYTES = 5056
_DEFAULT_SEED = 67280421310721
_WORDS = 624

# PyTorch's CPUGeneratorImplState, byte for byte
_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "key", "normal", "has_normal"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<i4"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040],
        "itemsize": STATE_BYTES,
    }
)


def _new_bit_generator():
    # numpy.random costs a quarter of NumPy's own import time: loaded at the first draw
    from numpy.random import MT19937
    from numpy.random.bit_generator import ISeedSequence

    class Zeros(ISeedSequence):
        """Spares a new MT19937 the collection of entropy that the seeding throws away."""

        def generate_state(self, n_words, dtype=np.uint32):
            return [0] * n_words

    global _new_bit_generator

    def _new_bit_generator():
        return MT19937(Zeros())

    return _new_bit_generator()


class Generator:
    """A stream of random numbers that equals PyTorch's CPU stream for the same seed.

    The stream is MT19937; `words(n)` yields its next n 32-bit words as a uint64 array, `words()`
    one word as an int.

    Args:
        device: where the drawn tensors live; only the CPU has a stream.
    """

    __slots__ = ("__weakref__", "_bits", "_seed", "cached_normal", "device", "words")

    def __init__(self, device=None):
        self.device = CPU if device is None else check_available(device)
        self._bits = None
        self._seed = _DEFAULT_SEED
        self.cached_normal: float | None = None
        self.words = self._first_words

    def _first_words(self, size=None):
        self._restart()
        return self.words(size)

    def _restart(self):
        if self._bits is None:
            self._bits = _new_bit_generator()
            self.words = self._bits.random_raw
        self._bits._legacy_seeding(self._seed & 0xFFFFFFFF)
        self.cached_normal = None

    def manual_seed(self, seed: int) -> Generator:
        """Restart the stream at a seed in [-2**63, 2**64) and return the generator; negative seeds
        count from 2**64.

        Raises:
            RuntimeError: the seed is not an int.
            ValueError: the seed is out of range.
        """
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise RuntimeError(
                f"manual_seed expected a long, but got {type(seed).__name__}; "
                "write manual_seed(int(seed))"
            )
        if not -(2**63) <= seed < 2**64:
            raise ValueError(
                f"Overflow when unpacking long long: a seed lies in [-2**63, 2**64), got {seed}"
            )
        self._seed = seed % 2**64
        self._restart()
        return self

    def seed(self) -> int:
        """Restart the stream at a seed from the operating system's entropy, and return that
        seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), sys.byteorder))
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the last restart."""
        return self._seed

    def random64(self) -> int:
        """The next two words of the stream as one 64-bit integer."""
        words = self.words
        return words() << 32 | words()

    def raw_state(self) -> tuple:
        """The lock under which the state is used, and its address: 624 words of 32 bits and the
        number of those already drawn, an int32."""
        if self._bits is None:
            self._restart()
        bits = self._bits
        return bits.lock, bits.ctypes.state_address

    def position(self) -> tuple:
        """Where the stream stands, to be compared: unlike `state_bytes`, no trace records a look at
        it."""
        if self._bits is None:
            return self._seed, None, None
        from ctypes import string_at  # as the line below does

        words = string_at(self._bits.ctypes.state_address, 4 * (_WORDS + 1))
        return self._seed, words, self.cached_normal

    def state_bytes(self) -> np.ndarray:
        """The whole state as a uint8 array of 5056 elements, laid out as PyTorch lays it out."""
        if self._bits is None:
            self._restart()
        twister = self._bits.state["state"]
        key, position = twister["key"], twister["pos"]
        state = np.zeros((), _STATE)
        state["seed"], state["seeded"], state["key"] = self._seed, 1, key
        state["left"] = 1 if position == _WORDS else _WORDS + 1 - position
        unused = position == _WORDS and int(key[0]) == self._seed & 0xFFFFFFFF
        state["next"] = 0 if unused else position
        if self.cached_normal is not None:
            state["normal"], state["has_normal"] = self.cached_normal, 1
        return np.frombuffer(state.tobytes(), np.uint8).copy()

    def set_state_bytes(self, state: np.ndarray) -> None:
        """Continue from a state that `state_bytes` (or PyTorch's `get_state`) returned.

        Raises:
            RuntimeError: the array has another size, or is no generator's state.
        """
        if state.size != STATE_BYTES:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG "
                f"state size to be {state.size}"
            )
        fields = np.frombuffer(np.ascontiguousarray(state).tobytes(), _STATE)[0]
        left, following = int(fields["left"]), int(fields["next"])
        if not (fields["seeded"] == 1 and 0 < left <= _WORDS and following <= _WORDS):
            raise RuntimeError("Invalid mt19937 state")
        self._seed = int(fields["seed"])
        self._restart()
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {
                "key": fields["key"].astype(np.uint32),
                "pos": _WORDS if left == 1 else following,
            },
        }
        if fields["has_normal"]:
            self.cached_normal = float(fields["normal"])

    def clone_state(self) -> Generator:
        """A new generator that continues as this one would."""
        clone = type(self)(self.device)
        clone.set_state_bytes(self.state_bytes())
        return clone

    def get_offset(self) -> int:
        """Counter-based generators alone have an offset.

        Raises:
            RuntimeError: always, as PyTorch's CPU generator does.
        """
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> None:
        """Counter-based generators alone have an offset.

        Raises:
            RuntimeError: always, as PyTorch's CPU generator does.
        """
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self):
        return (_restored, (type(self), self.device, self.state_bytes()))


def _restored(kind, device, state):
    generator = kind(device)
    generator.set_state_bytes(state)
    return generator


default_generator = Generator()
default_generator._seed = int.from_bytes(os.urandom(8), sys.byteorder)
