"""Fit the polynomials of danlu/kernels/codegen/coefficients.py.

Each is the minimax polynomial of a smooth remainder, weighted so that the error of the whole
function is level, found by Remez's exchange in 50 digits. Coefficients are rounded to the working
precision one at a time from the lowest power on, and the rest are fitted again around the rounded
ones, so that the later ones make up for the rounding of the earlier.

    python tools/fit_polynomials.py             # write the file (some minutes)
    python tools/fit_polynomials.py NAME ...    # only print these
"""

from __future__ import annotations

import struct
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import mpmath as mp

mp.mp.dps = 50
POINTS = 1200
FILE = Path(__file__).resolve().parents[1] / "danlu" / "kernels" / "codegen" / "coefficients.py"
HEADER = '''"""The polynomials of vector mathematics, from the lowest power on.

Each is the minimax polynomial (Remez's exchange in 50 digits, tools/fit_polynomials.py) of the
remainder that its comment names, weighted so that the error of the whole function is level;
coefficients are rounded one at a time and the rest fitted again, where that is better. The error
is the largest of the function, relative to it, that the polynomial itself causes: half an ulp is
2**-24 for float and 2**-53 for double. Those ending in 64 are for doubles.
"""

from __future__ import annotations

# fmt: off
'''
ROUNDS = 12


class Fit(NamedTuple):
    """A polynomial P to find: `function` on [low, high] with the error multiplied by `weight`.
    `formula` says what it is for."""

    formula: str
    function: object
    low: object
    high: object
    degree: int
    weight: object = lambda x: mp.mpf(1)
    precision: str = "d"


def rounded(number, precision: str):
    """To float ("f") or double ("d")."""
    return mp.mpf(struct.unpack(precision, struct.pack(precision, float(number)))[0])


def minimax(fit: Fit) -> tuple[list, object]:
    """The coefficients from the lowest power on, and the largest weighted error with them."""
    low, high = mp.mpf(fit.low), mp.mpf(fit.high)
    middle, half = (high + low) / 2, (high - low) / 2
    grid = [middle - half * mp.cos(mp.pi * (k + 0.5) / POINTS) for k in range(POINTS)]
    wanted = [fit.function(x) for x in grid]
    weights = [fit.weight(x) for x in grid]
    best, done = None, []
    while len(done) <= fit.degree:
        coefficients = _exchange(grid, wanted, weights, done, fit.degree)
        plain = [rounded(c, fit.precision) for c in coefficients]
        error = max(abs(e) for e in _errors(grid, wanted, weights, plain))
        # refitting high powers around 0 is badly conditioned and may make things worse
        if best is None or error < best[1]:
            best = plain, error
        done.append(plain[len(done)])
    return best


def _errors(grid, wanted, weights, coefficients):
    return [
        w * (y - mp.polyval(coefficients[::-1], x))
        for x, y, w in zip(grid, wanted, weights, strict=True)
    ]


def _exchange(grid, wanted, weights, fixed, degree):
    """Remez's exchange for the coefficients above the fixed ones."""
    first, free = len(fixed), degree + 1 - len(fixed)
    count = len(grid)
    chosen = [round((count - 1) * (1 - mp.cos(mp.pi * k / free)) / 2) for k in range(free + 1)]
    best = None
    for _ in range(ROUNDS):
        system, right = mp.matrix(free + 1), mp.matrix(free + 1, 1)
        for row, k in enumerate(chosen):
            for column in range(free):
                system[row, column] = weights[k] * grid[k] ** (first + column)
            system[row, free] = (-1) ** row
            known = mp.polyval(fixed[::-1], grid[k]) if fixed else 0
            right[row] = weights[k] * (wanted[k] - known)
        solution = mp.lu_solve(system, right)
        coefficients = [*fixed, *(solution[k] for k in range(free))]
        errors = _errors(grid, wanted, weights, coefficients)
        largest = max(abs(e) for e in errors)
        if best is None or largest < best[0]:
            best = largest, coefficients
        peaks = _peaks(errors)
        if len(peaks) < free + 1 or largest < abs(solution[free]) * 1.001:
            break
        while len(peaks) > free + 1:  # keep the alternation, lose the smaller end
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        chosen = peaks
    return best[1]


def _peaks(errors) -> list[int]:
    """Where the error is largest in each stretch of one sign."""
    peaks = [0]
    for k in range(1, len(errors)):
        if (errors[k] > 0) != (errors[peaks[-1]] > 0):
            peaks.append(k)
        elif abs(errors[k]) > abs(errors[peaks[-1]]):
            peaks[-1] = k
    return peaks


def series(closed, terms, near):
    """A remainder by its closed form, and by its series around 0 where that cancels."""

    def value(x):
        if abs(x) < near:
            return mp.fsum(terms(k) * x**k for k in range(24))
        return closed(x)

    return value


def odd(function, terms, near=0.01):
    """(function(x) / x - 1) / x**2 as a function of z = x**2."""

    def closed(z):
        x = mp.sqrt(z)
        return (function(x) / x - 1) / z

    return series(closed, terms, near)


_half_ln2 = mp.log(2) / 2 * mp.mpf("1.005")
_quarter_pi = (mp.pi / 4 * mp.mpf("1.001")) ** 2
_low, _high = 1 / mp.sqrt(2) - 1, mp.sqrt(2) - 1
_eighth = mp.tan(mp.pi / 8) ** 2 * mp.mpf("1.001")
_atanh = (_high / (2 + _high)) ** 2


def _exp_tail(x):  # exp(x) = 1 + x + x**2 * tail
    return series(lambda x: (mp.exp(x) - 1 - x) / x**2, lambda k: 1 / mp.factorial(k + 2), 0.05)(x)


def _log_tail(x):  # log(1 + x) = x - x**2 / 2 + x**3 * tail
    closed = lambda x: (mp.log1p(x) - x + x * x / 2) / x**3  # noqa: E731
    return series(closed, lambda k: mp.mpf((-1) ** k) / (k + 3), 0.01)(x)


def _tangent_terms(k):  # of tan(x) = x + x**3 * sum terms(k) * x**(2k)
    n = k + 2
    sign = (-1) ** (n - 1)
    return sign * 4**n * (mp.mpf(4) ** n - 1) * mp.bernoulli(2 * n) / mp.factorial(2 * n)


def _arcsine_terms(k):
    n = k + 1
    return mp.factorial(2 * n) / (4**n * mp.factorial(n) ** 2 * (2 * n + 1))


def _of_t(t):  # t = (x - 4) / (x + 4)
    return 4 * (1 + t) / (1 - t)


def _erfc_scaled(t):
    x = _of_t(t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def _cubic(function):  # the weight of the tail of an odd function, relative to the function
    return lambda z: z if z == 0 else mp.sqrt(z) * z / abs(function(mp.sqrt(z)))


_sin = odd(mp.sin, lambda k: (-1) ** (k + 1) / mp.factorial(2 * k + 3))
_cos = series(
    lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
    lambda k: (-1) ** k / mp.factorial(2 * k + 4),
    0.01,
)
_tan = odd(mp.tan, _tangent_terms)
_tanh = odd(mp.tanh, lambda k: (-1) ** (k + 1) * _tangent_terms(k))
_sinh = odd(mp.sinh, lambda k: 1 / mp.factorial(2 * k + 3))
_atan = odd(mp.atan, lambda k: mp.mpf((-1) ** (k + 1)) / (2 * k + 3))
_asin = odd(mp.asin, _arcsine_terms)
_artanh = odd(mp.atanh, lambda k: mp.mpf(1) / (2 * k + 3))


def _artanh_rest(z):  # artanh(s) = s + s**3 / 3 + s**5 / 5 + s**7 * rest
    closed = lambda z: (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1 - z / 3 - z * z / 5) / z**3  # noqa: E731
    return series(closed, lambda k: mp.mpf(1) / (2 * k + 7), 0.01)(z)


def _erf(z):  # erf(x) / x - 1
    if z < 1e-12:
        return 2 / mp.sqrt(mp.pi) * (1 - z / 3) - 1
    return mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1


def _exp_weight(x):
    return x * x / abs(mp.expm1(x)) if x else mp.mpf(0)


def _log_weight(x):
    return abs(x**3 / mp.log1p(x)) if x else mp.mpf(0)


def _exp2_tail(x):  # 2**x = 1 + x * tail
    return mp.expm1(x * mp.log(2)) / x if x else mp.log(2)


def _log2_odd(z):  # log2((1 + s) / (1 - s)) / s
    s = mp.sqrt(z)
    return 2 * mp.atanh(s) / s / mp.log(2) if z > 1e-30 else 2 / mp.log(2)


FITS = {
    # floats, evaluated in float
    "EXP": Fit(
        "exp(x) = 1 + x + x**2 P(x), |x| < log(2) / 2",
        _exp_tail,
        -_half_ln2,
        _half_ln2,
        5,
        _exp_weight,
        "f",
    ),
    "EXP2": Fit(
        "2**x = 1 + x P(x), |x| < 1/2",
        _exp2_tail,
        "-0.501",
        "0.501",
        5,
        lambda x: abs(x) / mp.mpf(2) ** x,
        "f",
    ),
    "TANH": Fit(
        "tanh(x) = x + x**3 P(x**2), x < 0.625",
        _tanh,
        0,
        mp.mpf("0.625") ** 2,
        5,
        _cubic(mp.tanh),
        "f",
    ),
    "SINH": Fit("sinh(x) = x + x**3 P(x**2), x < 1", _sinh, 0, 1, 3, _cubic(mp.sinh), "f"),
    "LOG": Fit(
        "log(1 + x) = x - x**2 / 2 + x**3 P(x), sqrt(1/2) <= 1 + x < sqrt(2)",
        _log_tail,
        _low,
        _high,
        8,
        _log_weight,
        "f",
    ),
    "ERF": Fit("erf(x) = x + x P(x**2), x < 0.92", _erf, 0, mp.mpf("0.92") ** 2, 6, precision="f"),
    "ERF_LOG": Fit(
        "erfc(x) = exp(x P(x)), 0.9 < x < 4",
        lambda x: mp.log(mp.erfc(x)) / x,
        "0.9",
        4,
        8,
        lambda x: x * mp.erfc(x) / mp.erf(x),
        "f",
    ),
    # floats, evaluated in double
    "POWER_LOG2": Fit("log2((1 + x) / (1 - x)) = x P(x**2), x < 0.172", _log2_odd, 0, _atanh, 5),
    "POWER_EXP2": Fit(
        "2**x = 1 + x P(x), |x| < 1/2",
        _exp2_tail,
        "-0.501",
        "0.501",
        6,
        lambda x: abs(x) / mp.mpf(2) ** x,
    ),
    "SIN": Fit("sin(x) = x + x**3 P(x**2), x < pi/4", _sin, 0, _quarter_pi, 2, _cubic(mp.sin)),
    "COS": Fit(
        "cos(x) = 1 - x**2 / 2 + x**4 P(x**2), x < pi/4",
        _cos,
        0,
        _quarter_pi,
        2,
        lambda z: z * z / mp.cos(mp.sqrt(z)),
    ),
    "TAN": Fit("tan(x) = x + x**3 P(x**2), x < pi/4", _tan, 0, _quarter_pi, 6, _cubic(mp.tan)),
    "ARCTAN": Fit(
        "atan(x) = x + x**3 P(x**2), x < tan(pi/8)", _atan, 0, _eighth, 4, _cubic(mp.atan)
    ),
    "ARCSIN": Fit("asin(x) = x + x**3 P(x**2), x < 1/2", _asin, 0, "0.2501", 4, _cubic(mp.asin)),
    "ERFC": Fit(
        "(1 + 2x) exp(x**2) erfc(x) = P((x - 4) / (x + 4)), x < 11",
        _erfc_scaled,
        -1,
        "0.47",
        11,
        lambda t: 1 / _erfc_scaled(t),
    ),
    # doubles
    "EXP_64": Fit(
        "exp(x) = 1 + x + x**2 P(x), |x| < log(2) / 2",
        _exp_tail,
        -_half_ln2,
        _half_ln2,
        10,
        _exp_weight,
    ),
    "TANH_64": Fit(
        "tanh(x) = x + x**3 P(x**2), x < 0.625", _tanh, 0, mp.mpf("0.625") ** 2, 10, _cubic(mp.tanh)
    ),
    "SINH_64": Fit("sinh(x) = x + x**3 P(x**2), x < 1", _sinh, 0, 1, 6, _cubic(mp.sinh)),
    "ARTANH_64": Fit(
        "artanh(x) = x + x**3 P(x**2), x < 0.172", _artanh, 0, _atanh, 6, _cubic(mp.atanh)
    ),
    "ARTANH_REST_64": Fit(
        "artanh(x) = x + x**3 / 3 + x**5 / 5 + x**7 P(x**2), x < 0.172",
        _artanh_rest,
        0,
        _atanh,
        6,
        lambda z: z**3,
    ),
    "SIN_64": Fit("sin(x) = x + x**3 P(x**2), x < pi/4", _sin, 0, _quarter_pi, 5, _cubic(mp.sin)),
    "COS_64": Fit(
        "cos(x) = 1 - x**2 / 2 + x**4 P(x**2), x < pi/4",
        _cos,
        0,
        _quarter_pi,
        5,
        lambda z: z * z / mp.cos(mp.sqrt(z)),
    ),
    "ARCTAN_64": Fit(
        "atan(x) = x + x**3 P(x**2), x < tan(pi/8)", _atan, 0, _eighth, 10, _cubic(mp.atan)
    ),
    "ARCSIN_64": Fit(
        "asin(x) = x + x**3 P(x**2), x < 1/2", _asin, 0, "0.2501", 11, _cubic(mp.asin)
    ),
    "ERF_64": Fit("erf(x) = x + x P(x**2), x < 1", _erf, 0, 1, 13),
    "ERF_FAR_64": Fit(
        "(1 + 2x) exp(x**2) erfc(x) = P((x - 4) / (x + 4)), 1 < x < 6, for 1 - erfc(x)",
        _erfc_scaled,
        "-0.61",
        "0.21",
        11,
        lambda t: mp.erfc(_of_t(t)) / _erfc_scaled(t),
    ),
    "ERFC_64": Fit(
        "(1 + 2x) exp(x**2) erfc(x) = P((x - 4) / (x + 4)), 0.4 < x < 29",
        _erfc_scaled,
        "-0.82",
        "0.76",
        24,
        lambda t: 1 / _erfc_scaled(t),
    ),
}


def literal(name: str) -> str:
    """The lines of a polynomial in coefficients.py."""
    fit = FITS[name]
    coefficients, error = minimax(fit)
    digits = 9 if fit.precision == "f" else 17
    numbers = ", ".join(f"{float(c):.{digits}g}" for c in coefficients) + ","
    body = textwrap.fill(numbers, 96, initial_indent="    ", subsequent_indent="    ")
    return f"# {fit.formula}; error 2**{float(mp.log(error, 2)):.1f}\n{name} = (\n{body}\n)\n"


def main(names: list[str]) -> None:
    if names:
        print(*map(literal, names), sep="\n")
    else:
        FILE.write_text("\n".join([HEADER, *map(literal, FITS)]))


if __name__ == "__main__":
    main(sys.argv[1:])
