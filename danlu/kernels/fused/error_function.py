"""The error function in plain array code, so that GELU needs no SciPy.

float32 and narrower use one rational approximation on [-4, 4], accurate to a few units in the last
place; float64 uses the four ranges of Sun's fdlibm (s_erf.c, 1993), accurate to about one unit.
"""

from __future__ import annotations

from math import pi, sqrt

from danlu.kernels.fused.functions import exp_nonpositive, fma, namespace, polynomial

__all__ = ["error_function", "gelu_slope", "normal_cdf"]

# erf(x) = x P(x^2) / Q(x^2) for |x| <= 4, highest power first
_P = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_Q = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
    -1.42647390514189e-02,
)  # fmt: skip

# fdlibm, highest power first: below 0.84375, to 1.25, to 1 / 0.35, and beyond
_PP = (
    -2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02,
    -3.25042107247001499370e-01, 1.28379167095512558561e-01,
)  # fmt: skip
_QQ = (
    -3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03,
    6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0,
)  # fmt: skip
_ERX = 8.45062911510467529297e-01
_PA = (
    -2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01,
    3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01,
    -2.36211856075265944077e-03,
)  # fmt: skip
_QA = (
    1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01,
    7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0,
)  # fmt: skip
_RA = (
    -9.81432934416914548592e00, -8.12874355063065934246e01, -1.84605092906711035994e02,
    -1.62396669462573470355e02, -6.23753324503260060396e01, -1.05586262253232909814e01,
    -6.93858572707181764372e-01, -9.86494403484714822705e-03,
)  # fmt: skip
_SA = (
    -6.04244152148580987438e-02, 6.57024977031928170135e00, 1.08635005541779435134e02,
    4.29008140027567833386e02, 6.45387271733267880336e02, 4.34565877475229228821e02,
    1.37657754143519042600e02, 1.96512716674392571292e01, 1.0,
)  # fmt: skip
_RB = (
    -4.83519191608651397019e02, -1.02509513161107724954e03, -6.37566443368389627722e02,
    -1.60636384855821916062e02, -1.77579549177547519889e01, -7.99283237680523006574e-01,
    -9.86494292470009928597e-03,
)  # fmt: skip
_SB = (
    -2.24409524465858183362e01, 4.74528541206955367215e02, 2.55305040643316442583e03,
    3.19985821950859553908e03, 1.53672958608443695994e03, 3.25792512996573918826e02,
    3.03380607434824582924e01, 1.0,
)  # fmt: skip


def _polynomial(coefficients, x):
    """Horner's rule."""
    out = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        out += coefficient
        out *= x
    out += coefficients[-1]
    return out


def _erf_single(x):
    xp = namespace(x)
    x = xp.minimum(xp.maximum(x, -4.0), 4.0)
    square = x * x
    return x * _polynomial(_P, square) / _polynomial(_Q, square)


def _erf_double(x):
    xp = namespace(x)
    size = abs(x)
    small = xp.minimum(size, 0.84375) ** 2
    out = size + size * (_polynomial(_PP, small) / _polynomial(_QQ, small))
    above = xp.nonzero(size >= 0.84375)
    if above[0].size:
        large = size[above]
        middle = xp.minimum(large, 1.25) - 1
        near_one = _ERX + _polynomial(_PA, middle) / _polynomial(_QA, middle)
        inverse = 1 / (large * large)
        is_far = large >= 1 / 0.35
        ratio = xp.where(
            is_far,
            _polynomial(_RB, inverse) / _polynomial(_SB, inverse),
            _polynomial(_RA, inverse) / _polynomial(_SA, inverse),
        )
        tail = 1 - xp.exp(-large * large - 0.5625 + ratio) / large
        out[above] = xp.where(large < 1.25, near_one, xp.where(large < 6, tail, 1.0))
    out = xp.copysign(out, x)
    return xp.where(xp.isnan(x), x, out)


def error_function(x):
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, of a floating-point array."""
    if x.dtype.itemsize > 4:
        return _erf_double(x.reshape(-1)).reshape(x.shape)
    return _erf_single(x)


def _for_cdf(coefficients, factor=1.0):
    """The coefficients of P or Q for erf(x / sqrt(2)), whose square is half of x's."""
    count = len(coefficients)
    return tuple(c * factor * 0.5 ** (count - 1 - i) for i, c in enumerate(coefficients))


_CDF_P, _CDF_Q = _for_cdf(_P, 0.5 * sqrt(0.5)), _for_cdf(_Q)
_CDF_LIMIT = 4 * sqrt(2)


def normal_cdf(x):
    """The probability that a standard normal variable is at most x."""
    record = getattr(x, "record", None)
    if record is None:
        return error_function(x * sqrt(0.5)) * 0.5 + 0.5
    if x.dtype.itemsize > 4:
        return (x * sqrt(0.5)).record("erf") * 0.5 + 0.5
    # half the instructions of erf, whose last place is lost in 0.5 + 0.5 erf(x)
    xp = namespace(x)
    small = xp.minimum(x, _CDF_LIMIT)
    square = small * small
    near = fma(small, polynomial(_CDF_P, square) / polynomial(_CDF_Q, square), 0.5)
    return xp.where(x < -_CDF_LIMIT, 0.0, near)  # exactly 0, however large x is


# The derivative of gelu is 1/2 + x P(x^2) / Q(x^2) for |x| <= 6, to 5e-9; fitted to
# (erf(x / sqrt(2)) / 2 + x density(x)) / x by least squares, reweighted until the largest errors
# are equal. Highest power first.
_SLOPE_P = (
    -2.888032993041866e-11, 1.300313166196455e-08, 1.121946824787795e-06, 3.2027184454900596e-05,
    0.0002852284464192766, 0.013569001847119027, -0.018037768916684665, 0.7978845224623228,
)  # fmt: skip
_SLOPE_Q = (
    3.636395981241036e-07, 1.0812306459176826e-05, 0.00025860726095027604, 0.004150232949876767,
    0.045582910998966206, 0.31072585955393656, 1.0,
)  # fmt: skip
_SLOPE_LIMIT = 6.0


def gelu_slope(x):
    """The derivative of x * normal_cdf(x), which is normal_cdf(x) + x * density(x)."""
    if getattr(x, "record", None) is None or x.dtype.itemsize > 4:
        return normal_cdf(x) + x * (exp_nonpositive(x * x * -0.5) / sqrt(2 * pi))
    # one quotient of polynomials for both terms: half the instructions
    xp = namespace(x)
    small = xp.minimum(x, _SLOPE_LIMIT)
    square = small * small
    near = fma(small, polynomial(_SLOPE_P, square) / polynomial(_SLOPE_Q, square), 0.5)
    return fma(x, 0.0, xp.where(x < -_SLOPE_LIMIT, 0.0, near))  # NaN where x is infinite
