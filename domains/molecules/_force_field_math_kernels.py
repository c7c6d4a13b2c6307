"""Elementary functions that LLVM can vectorise: exp, log and atan2 from arithmetic alone.

The C library's exp, log and atan2 are scalar calls, and one of them in a loop over configurations
keeps the whole loop scalar. These are plain polynomials after a range reduction, written once per
precision, so that a lane loop around them compiles to SIMD instructions.

    exp(x)     = 2^n e^r,  n = round(x / ln 2), |r| <= ln 2 / 2, Taylor series of e^r
    log(x)     = e ln 2 + 2 artanh(f),  x = 2^e m, f = (m - 1)/(m + 1), |f| <= 0.172, Taylor series
    atan2(s,c) for s >= 0: octant reduction to |t| <= tan(pi/8), Chebyshev fit of atan(sqrt z)/sqrt
    z

Relative errors against a 40-digit reference are a few units in the last place of each precision
(tests). The domains are those that force fields need: exp overflows to infinity and flushes to the
smallest normal number where the exponent would leave the range; log takes positive normal numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
JIT: dict[str, Any] = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True}
_INLINED: Any = {**JIT, "forceinline": True}


def _float_bits(typing_context: Any, x: Any) -> Any:
    """The bits of a float32 (float64) as an int32 (int64)."""
    integer = types.int32 if x == types.float32 else types.int64

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(integer))

    return integer(x), generate


def _float_from_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 (float64) that has the bits of an int32 (int64)."""
    real = types.float32 if bits == types.int32 else types.float64

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(real))

    return real(bits), generate


float_bits: Any = intrinsic(_float_bits)
float_from_bits: Any = intrinsic(_float_from_bits)


def exponential(x: float) -> float:
    """e^x for x <= 88 (float32) or 709 (float64); the smallest normal number below -87 or -708."""
    return math.exp(x)


def logarithm(x: float) -> float:
    """Natural logarithm of a positive normal number."""
    return math.log(x)


def arc_tangent_2(sine: float, cosine: float) -> float:
    """The angle in [0, pi] of the point (cosine, sine), sine >= 0, at any length but zero."""
    return math.atan2(sine, cosine)


def _exponential_float32(x: Any) -> Any:
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    y = x * np.float32(1.4426950408889634)
    n = np.int32(y + np.float32(0.5)) if y > 0 else np.int32(y - np.float32(0.5))
    m = np.float32(n)
    # ln 2 in two parts: m * 0.693359375 is exact, so the reduced argument keeps its digits.
    r = (x - m * np.float32(0.693359375)) + m * np.float32(2.12194440e-4)
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(0.5)
    p = p * r + np.float32(1.0)
    p = p * r + np.float32(1.0)
    return p * float_from_bits(np.int32((n + np.int32(127)) << np.int32(23)))


def _exponential_float64(x: Any) -> Any:
    x = -708.0 if x < -708.0 else x
    y = x * 1.4426950408889634
    n = np.int32(y + 0.5) if y > 0 else np.int32(y - 0.5)
    m = np.float64(n)
    r = (x - m * 6.93145751953125e-1) + m * -1.42860682030941723212e-6
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * float_from_bits((np.int64(n) + np.int64(1023)) << np.int64(52))


def _logarithm_float32(x: Any) -> Any:
    # Adding (1 - sqrt 1/2) in units of the mantissa moves the cut between exponents to sqrt 1/2.
    bits = float_bits(x) + np.int32(0x3F800000 - 0x3F3504F3)
    e = np.float32((bits >> np.int32(23)) - np.int32(127))
    m = float_from_bits(np.int32((bits & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)))
    f = (m - np.float32(1.0)) / (m + np.float32(1.0))
    z = f * f
    p = np.float32(2 / 9)
    p = p * z + np.float32(2 / 7)
    p = p * z + np.float32(2 / 5)
    p = p * z + np.float32(2 / 3)
    p = p * z + np.float32(2.0)
    return p * f + e * np.float32(0.6931471805599453)


def _logarithm_float64(x: Any) -> Any:
    bits = float_bits(x) + np.int64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    e = np.float64((bits >> np.int64(52)) - np.int64(1023))
    m = float_from_bits((bits & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD))
    f = (m - 1.0) / (m + 1.0)
    z = f * f
    p = 2 / 19
    p = p * z + 2 / 17
    p = p * z + 2 / 15
    p = p * z + 2 / 13
    p = p * z + 2 / 11
    p = p * z + 2 / 9
    p = p * z + 2 / 7
    p = p * z + 2 / 5
    p = p * z + 2 / 3
    p = p * z + 2.0
    return p * f + e * 0.6931471805599453


def _arc_tangent_2_float32(sine: Any, cosine: Any) -> Any:
    across = -cosine if cosine < 0 else cosine
    steep = sine > across
    low = across if steep else sine
    high = sine if steep else across
    turned = low > np.float32(0.41421356) * high
    t = (low - high if turned else low) / (low + high if turned else high)
    z = t * t
    p = np.float32(-0.060263052276584591)
    p = p * z + np.float32(0.105698288064144481)
    p = p * z + np.float32(-0.142395326696489746)
    p = p * z + np.float32(0.199981830410832056)
    p = p * z + np.float32(-0.333333068930485128)
    p = p * z + np.float32(0.999999999371228156)
    angle = p * t + (np.float32(math.pi / 4) if turned else np.float32(0))
    angle = np.float32(math.pi / 2) - angle if steep else angle
    return np.float32(math.pi) - angle if cosine < 0 else angle


def _arc_tangent_2_float64(sine: Any, cosine: Any) -> Any:
    across = -cosine if cosine < 0 else cosine
    steep = sine > across
    low = across if steep else sine
    high = sine if steep else across
    turned = low > 0.41421356237309503 * high
    t = (low - high if turned else low) / (low + high if turned else high)
    z = t * t
    p = -0.0178053972054194452
    p = p * z + 0.0379652574538659362
    p = p * z + -0.0503510245660155184
    p = p * z + 0.0584687829733087252
    p = p * z + -0.0666295181362919009
    p = p * z + 0.0769204533090222495
    p = p * z + -0.0909089680906402708
    p = p * z + 0.111111107449196582
    p = p * z + -0.142857142792502449
    p = p * z + 0.199999999999408915
    p = p * z + -0.333333333333331212
    p = p * z + 0.999999999999999999
    angle = p * t + (math.pi / 4 if turned else 0.0)
    angle = math.pi / 2 - angle if steep else angle
    return math.pi - angle if cosine < 0 else angle


@overload(exponential, jit_options=_INLINED)
def _exponential(x: Any) -> Callable[..., Any]:
    return _exponential_float32 if x == types.float32 else _exponential_float64


@overload(logarithm, jit_options=_INLINED)
def _logarithm(x: Any) -> Callable[..., Any]:
    return _logarithm_float32 if x == types.float32 else _logarithm_float64


@overload(arc_tangent_2, jit_options=_INLINED)
def _arc_tangent_2(sine: Any, cosine: Any) -> Callable[..., Any]:
    return _arc_tangent_2_float32 if sine == types.float32 else _arc_tangent_2_float64
