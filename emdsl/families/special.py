"""Functions that sympy lacks, or opens into a form that overflows: each with its definition and its derivative.

`exp(-a) / (1 + exp(-a))^2`, which is what differentiating a logistic gives, is 0 / 0 at -800; written
in the functions themselves, `L(a) (1 - L(a))`, it is right everywhere. A test holds each derivative
against sympy's own of the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp


class Special(sp.Function):  # type: ignore[misc]
    """A real function of one real argument that stays whole."""

    nargs = 1
    is_real = True
    definition: Callable[[Any], Any]
    slope: Callable[[Any], Any]

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by the argument."""
        return type(self).slope(self.args[0])

    def _eval_evalf(self, prec: int) -> Any:
        return type(self).definition(self.args[0])._eval_evalf(prec)


class logistic(Special):
    """1 / (1 + exp(-a))."""

    is_positive = True
    definition = staticmethod(lambda a: 1 / (1 + sp.exp(-a)))
    slope = staticmethod(lambda a: logistic(a) * (1 - logistic(a)))


class softplus(Special):
    """log(1 + exp(a))."""

    is_positive = True
    definition = staticmethod(lambda a: sp.log(1 + sp.exp(a)))
    slope = staticmethod(lambda a: logistic(a))


class phi(Special):
    """The standard normal density."""

    is_positive = True
    definition = staticmethod(lambda a: sp.exp(-(a**2) / 2) / sp.sqrt(2 * sp.pi))
    slope = staticmethod(lambda a: -a * phi(a))


class Phi(Special):
    """The standard normal distribution function."""

    is_positive = True
    definition = staticmethod(lambda a: (1 + sp.erf(a / sp.sqrt(2))) / 2)
    slope = staticmethod(lambda a: phi(a))


class log_Phi(Special):
    """log Phi(a), whose derivative is a ratio of two densities that vanish together: taken in logarithms."""

    definition = staticmethod(lambda a: sp.log(Phi.definition(a)))
    slope = staticmethod(lambda a: sp.exp(-(a**2) / 2 - sp.log(2 * sp.pi) / 2 - log_Phi(a)))


class bessel_ratio(Special):
    """I1(a) / I0(a)."""

    definition = staticmethod(lambda a: sp.besseli(1, a) / sp.besseli(0, a))
    slope = staticmethod(lambda a: 1 - bessel_ratio(a) / a - bessel_ratio(a) ** 2)


class log_bessel_i0(Special):
    """log I0(a)."""

    definition = staticmethod(lambda a: sp.log(sp.besseli(0, a)))
    slope = staticmethod(lambda a: bessel_ratio(a))


SPECIAL: Mapping[str, Any] = {
    f.__name__: f for f in (logistic, softplus, phi, Phi, log_Phi, bessel_ratio, log_bessel_i0)
}

# The functions of numbers of the algebra, under the names that expressions and printed modules have for them.
ELEMENTARY: Mapping[str, Callable[..., Any]] = {
    "log": sp.log,
    "exp": sp.exp,
    "sin": sp.sin,
    "cos": sp.cos,
    "tanh": sp.tanh,
    "abs": sp.Abs,
    "sign": sp.sign,
    "min": sp.Min,
    "max": sp.Max,
    "lgamma": sp.loggamma,
    "digamma": sp.digamma,
    "trigamma": lambda a: sp.polygamma(1, a),
    "log1p": lambda a: sp.log(1 + a),
    "logit": lambda a: sp.log(a) - sp.log(1 - a),
    **SPECIAL,
}

# The same, all in sympy's own functions: to be shown, and to be taken apart.
OPEN: Mapping[str, Callable[..., Any]] = {**ELEMENTARY, **{name: f.definition for name, f in SPECIAL.items()}}
