"""Window functions and the short-time Fourier transform."""

from __future__ import annotations

import math

import numpy as np

from danlu.ops.creation import finish, kind_or_default, ones
from danlu.ops.padding import pad
from danlu.ops.registry import scalar_name
from danlu.tensor import publish_method

__all__ = [
    "bartlett_window", "blackman_window", "hamming_window", "hann_window", "istft", "kaiser_window",
    "stft",
]  # fmt: skip


# ---------------------------------------------------------------- windows
def _window(name, length, periodic, shape, options):
    """`shape` of positions 0 to N - 1 and the width; a periodic window is one longer, without its
    last value.
    """
    if length < 0:
        raise RuntimeError(
            f"{name} requires non-negative window_length, got window_length={length}"
        )
    kind = kind_or_default(options.pop("dtype", None))
    if kind.kind not in "fV":
        raise RuntimeError(f"{name} expects floating point dtypes, got: {kind.name}")
    options.pop("layout", None), options.pop("pin_memory", None)
    if length <= 1:
        return finish(np.ones(length, kind), **options)
    width = length if periodic else length - 1
    return finish(shape(np.arange(length), width).astype(kind), **options)


def bartlett_window(window_length, periodic=True, **options):
    """The triangle 1 - |2 n / N - 1|."""
    return _window(
        "bartlett_window",
        window_length,
        periodic,
        lambda n, width: 1 - np.abs(2 * n / width - 1),
        options,
    )


def hann_window(window_length, periodic=True, **options):
    """(1 - cos(2 pi n / N)) / 2."""
    return hamming_window(window_length, periodic, 0.5, 0.5, **options)


def hamming_window(window_length, periodic=True, alpha=0.54, beta=0.46, **options):
    """alpha - beta cos(2 pi n / N)."""
    return _window(
        "hamming_window", window_length, periodic,
        lambda n, width: alpha - beta * np.cos(2 * math.pi * n / width), options,
    )  # fmt: skip


def blackman_window(window_length, periodic=True, **options):
    """0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)."""

    def shape(n, width):
        angle = 2 * math.pi * n / width
        return 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)

    return _window("blackman_window", window_length, periodic, shape, options)


def kaiser_window(window_length, periodic=True, beta=12.0, **options):
    """i0(beta sqrt(1 - (2 n / N - 1)^2)) / i0(beta)."""

    def shape(n, width):
        return np.i0(beta * np.sqrt(1 - (2 * n / width - 1) ** 2)) / np.i0(beta)

    return _window("kaiser_window", window_length, periodic, shape, options)


# ---------------------------------------------------------------- short-time Fourier transform
def _full_window(window, win_length, n_fft, like):
    """The window, of ones if None, in the middle of n_fft samples."""
    if window is None:
        window = ones(win_length, dtype=like.dtype.to_real())
    left = (n_fft - win_length) // 2
    if left == 0 and win_length == n_fft:
        return window
    whole = window.new_zeros(n_fft)
    return whole.slice_scatter(window, 0, left, left + win_length)


def stft(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect",
    normalized=False, onesided=None, return_complex=None,
):  # fmt: skip
    """The Fourier transforms of windows of n_fft samples, a column each.

    Args:
        hop_length: samples from one window to the next; n_fft // 4 by default.
        win_length: the length of `window`, which is centred in n_fft samples; n_fft by default.
        center: pad the signal so that window t is centred at sample t * hop_length.
        normalized: divide by sqrt(n_fft).
        onesided: leave out the negative frequencies; the default for real input.
        return_complex: must be True for real input; False gives pairs of reals for complex input.

    Shape:
        input: (*, samples), with at most one leading dimension; the result: (*, frequencies,
            windows).
    """
    from danlu import fft

    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    is_complex = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None and not is_complex:
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further "
            "require that "
            "return_complex=True in a future PyTorch release."
        )
    if not (input.is_complex() or input.is_floating_point()) or input._array.ndim not in (1, 2):
        raise RuntimeError(
            "stft expected a 1D or 2D tensor of floating point or complex values, but got "
            f"{scalar_name(input.dtype)}{list(input._array.shape)}"
        )
    if center:
        input = _padded(input, n_fft // 2, pad_mode)
    if not 0 < n_fft <= input._array.shape[-1]:
        raise RuntimeError(
            f"stft expected 0 < n_fft <= {input._array.shape[-1]}, but got n_fft={n_fft}"
        )
    if hop_length <= 0 or not 0 < win_length <= n_fft:
        raise RuntimeError(
            f"stft expected hop_length > 0 and 0 < win_length <= n_fft, but got {hop_length} and "
            f"{win_length}"
        )
    frames = input.unfold(-1, n_fft, hop_length)
    if window is not None or win_length < n_fft:
        frames = frames * _full_window(window, win_length, n_fft, input)
    norm = "ortho" if normalized else None
    if is_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    half = not is_complex if onesided is None else onesided
    found = (fft.rfft if half else fft.fft)(frames, norm=norm).transpose(-1, -2)
    if return_complex or return_complex is None:
        return found
    from danlu.ops.strided import view_as_real

    return view_as_real(found)


def _padded(input, amount, mode):

    lead = (1,) * (3 - input._array.ndim)
    wide = pad(input.reshape((*lead, *input._array.shape)), (amount, amount), mode)
    return wide.reshape((*input._array.shape[:-1], -1))


def istft(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False,
    onesided=None, length=None, return_complex=False,
):  # fmt: skip
    """The signal with this short-time Fourier transform, by least squares (Griffin and Lim, 1984,
    eq. 6).

    Raises:
        RuntimeError: the windows leave a sample uncovered.
    """
    from danlu import fft

    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    half = input._array.shape[-2] != n_fft if onesided is None else onesided
    frames = input.transpose(-1, -2)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = fft.ifft(frames, n_fft, norm=norm)
    else:
        frames = fft.irfft(frames if half else frames[..., : n_fft // 2 + 1], n_fft, norm=norm)
    shape = _full_window(window, win_length, n_fft, input)
    count = frames._array.shape[-2]
    total = n_fft + hop_length * (count - 1)
    signal = _overlapped(frames * shape, total, hop_length)
    weight = _overlapped((shape * shape).expand(count, n_fft), total, hop_length)
    start = n_fft // 2 if center else 0
    stop = total - start if length is None else min(start + length, total)
    signal, weight = signal[..., start:stop], weight[start:stop]
    if np.abs(weight._array).min(initial=np.inf) < 1e-11:
        raise RuntimeError("window overlap add min: 1: the windows leave samples uncovered (NOLA)")
    signal = signal / weight
    if length is not None and signal._array.shape[-1] < length:
        signal = pad(signal, (0, length - signal._array.shape[-1]))
    return signal


def _overlapped(frames, total, hop):
    """The sum of frames at distances of `hop` samples."""
    from danlu.ops.strided import windows_summed

    lead = frames._array.shape[:-2]
    return windows_summed(frames, (*lead, total), len(lead), frames._array.shape[-1], hop)


publish_method("stft", stft)
publish_method("istft", istft)
