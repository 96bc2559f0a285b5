"""Functions that sympy lacks, or opens into a form that overflows: each with its definition and its derivative.

`exp(-a) / (1 + exp(-a))^2`, which is what differentiating a logistic gives, is 0 / 0 at -800; written
in the functions themselves, `L(a) (1 - L(a))`, it is right everywhere. A test holds each derivative
against sympy's own of the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError


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


class log1mexp(Special):
    """log(1 - exp(a)) of a negative number."""

    definition = staticmethod(lambda a: sp.log(1 - sp.exp(a)))
    slope = staticmethod(lambda a: -sp.exp(a - log1mexp(a)))


class exp_odds(Special):
    """exp(a) / (1 - exp(a)) of a negative number: the odds of exp(a)."""

    is_positive = True
    definition = staticmethod(lambda a: 1 / (sp.exp(-a) - 1))
    slope = staticmethod(lambda a: exp_odds(a) * (1 + exp_odds(a)))


class log_rest(Special):
    """log(1 - exp(a)) of a negative number, and a logarithm of zero as others are, where nothing is left."""

    definition = staticmethod(lambda a: sp.log(1 - sp.exp(a)))
    slope = staticmethod(lambda a: -exp_odds(a))


class log_mass(Special):
    """log(a), of a mass that is positive."""

    definition = staticmethod(lambda a: sp.log(a))
    slope = staticmethod(lambda a: sp.exp(-log_mass(a)))


class bessel_ratio(Special):
    """I1(a) / I0(a)."""

    definition = staticmethod(lambda a: sp.besseli(1, a) / sp.besseli(0, a))
    slope = staticmethod(lambda a: 1 - bessel_ratio(a) / a - bessel_ratio(a) ** 2)


class log_bessel_i0(Special):
    """log I0(a)."""

    definition = staticmethod(lambda a: sp.log(sp.besseli(0, a)))
    slope = staticmethod(lambda a: bessel_ratio(a))


class Tail(sp.Function):  # type: ignore[misc]
    """A distribution function of several arguments; `slopes` are its derivatives, one for each, as far as they go."""

    is_real = True
    slopes: tuple[Callable[..., Any], ...] = ()

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by one argument. Raises ArgumentIndexError where none is known."""
        if argindex > len(type(self).slopes):
            raise ArgumentIndexError(self, argindex)
        return type(self).slopes[argindex - 1](*self.args)


class gamma_cdf_a2(Tail):
    """The second derivative of gamma_cdf by its shape."""


class gamma_cdf_a(Tail):
    """The derivative of gamma_cdf by its shape."""

    slopes = (lambda a, z: gamma_cdf_a2(a, z), lambda a, z: _gamma_density(a, z) * (sp.log(z) - sp.digamma(a)))


class gamma_cdf(Tail):
    """The regularised lower incomplete gamma function."""

    is_positive = True
    slopes = (lambda a, z: gamma_cdf_a(a, z), lambda a, z: _gamma_density(a, z))


class gamma_sf(Tail):
    """1 - gamma_cdf, with digits where that is small."""

    is_positive = True
    slopes = (lambda a, z: -gamma_cdf_a(a, z), lambda a, z: -_gamma_density(a, z))


class beta_cdf_ab(Tail):
    """The derivative of beta_cdf by both its shapes."""


class beta_cdf_a2(Tail):
    """The second derivative of beta_cdf by its first shape."""


class beta_cdf_a(Tail):
    """The derivative of beta_cdf by its first shape."""

    slopes = (
        lambda a, b, z: beta_cdf_a2(a, b, z),
        lambda a, b, z: beta_cdf_ab(a, b, z),
        lambda a, b, z: _beta_density(a, b, z) * (sp.log(z) - sp.digamma(a) + sp.digamma(a + b)),
    )


class beta_cdf(Tail):
    """The regularised incomplete beta function."""

    is_positive = True
    slopes = (
        lambda a, b, z: beta_cdf_a(a, b, z),
        lambda a, b, z: -beta_cdf_a(b, a, 1 - z),
        lambda a, b, z: _beta_density(a, b, z),
    )


class log_between(Tail):
    """log(Phi(b) - Phi(a)), a < b: far out the difference of what is near 0, or near 1, has no digits."""

    slopes = (
        lambda a, b: -sp.exp(-(a**2) / 2 - sp.log(2 * sp.pi) / 2 - log_between(a, b)),
        lambda a, b: sp.exp(-(b**2) / 2 - sp.log(2 * sp.pi) / 2 - log_between(a, b)),
    )


class log_inside(Tail):
    """The log of a mass between two values, by what is below each of them and what is above each."""

    slopes = (
        lambda *p: -sp.exp(-log_inside(*p)),
        lambda *p: sp.exp(-log_inside(*p)),
        lambda *_: sp.S.Zero,
        lambda *_: sp.S.Zero,
    )


class student_cdf_df2(Tail):
    """The second derivative of student_cdf by its degrees of freedom."""


class student_cdf_df(Tail):
    """The derivative of student_cdf by its degrees of freedom."""

    slopes = (
        lambda v, t: student_cdf_df2(v, t),
        lambda v, t: _student_density(v, t)
        * (
            sp.digamma((v + 1) / 2) / 2 - sp.digamma(v / 2) / 2 - 1 / (2 * v) - sp.log(1 + t**2 / v) / 2
            + (v + 1) * t**2 / (2 * v * (v + t**2))
        ),
    )  # fmt: skip


class student_cdf(Tail):
    """The distribution function of Student's t."""

    is_positive = True
    slopes = (lambda v, t: student_cdf_df(v, t), lambda v, t: _student_density(v, t))


def _gamma_density(a: Any, z: Any) -> Any:
    return sp.exp((a - 1) * sp.log(z) - z - sp.loggamma(a))


def _beta_density(a: Any, b: Any, z: Any) -> Any:
    log_beta = sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b)
    return sp.exp((a - 1) * sp.log(z) + (b - 1) * sp.log(1 - z) - log_beta)


def _student_density(v: Any, t: Any) -> Any:
    constant = sp.loggamma((v + 1) / 2) - sp.loggamma(v / 2) - sp.log(v * sp.pi) / 2
    return sp.exp(constant - (v + 1) / 2 * sp.log(1 + t**2 / v))


TAILS: Mapping[str, Any] = {
    f.__name__: f
    for f in (
        gamma_cdf, gamma_sf, gamma_cdf_a, gamma_cdf_a2, beta_cdf, beta_cdf_a, beta_cdf_a2, beta_cdf_ab,
        log_between, log_inside, student_cdf, student_cdf_df, student_cdf_df2,
    )
}  # fmt: skip

SPECIAL: Mapping[str, Any] = {
    f.__name__: f
    for f in (
        logistic,
        softplus,
        phi,
        Phi,
        log_Phi,
        log1mexp,
        exp_odds,
        log_rest,
        log_mass,
        bessel_ratio,
        log_bessel_i0,
    )
}

# The functions of numbers of the algebra, under the names that expressions and printed modules have for them.
ELEMENTARY: Mapping[str, Callable[..., Any]] = {
    "log": sp.log,
    "exp": sp.exp,
    "sin": sp.sin,
    "cos": sp.cos,
    "tanh": sp.tanh,
    "atan2": sp.atan2,
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
    **TAILS,
}

# The same, all in sympy's own functions: to be shown, and to be taken apart.
OPEN: Mapping[str, Callable[..., Any]] = {**ELEMENTARY, **{name: f.definition for name, f in SPECIAL.items()}}
