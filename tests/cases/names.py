"""Names that collide with Python, numpy, sympy and Greek."""

from __future__ import annotations

import numpy as np
from scipy.stats import poisson

from cases import Case, mix, normal, pick


def _poissons(rate: str, weights: str, count: str):
    def make(rng):
        w, r = np.array([0.4, 0.6]), np.array([2.0, 9.0])
        return {count: rng.poisson(r[pick(rng, w, 80)])}, {weights: w, rate: r}

    return make, lambda p, d: mix(p[weights], poisson.logpmf(d[count][:, None], p[rate]))


def _normals(mean: str, sd: str, weights: str, x: str):
    def make(rng):
        w, m, s = np.array([0.4, 0.6]), np.array([-2.0, 3.0]), np.array([1.0, 0.7])
        z = pick(rng, w, 80)
        return {x: rng.normal(m[z], s[z])}, {weights: w, mean: m, sd: s}

    return make, lambda p, d: mix(p[weights], normal(d[x][:, None], p[mean], p[sd]))


KEYWORDS = """
    model class
    size E = 2
    param lambda[E] : positive
    param np : simplex[E]
    for self in N:
        latent   S[self]      ~ Categorical(np)
        observed import[self] ~ Poisson(lambda[S[self]])
"""

GREEK = """
    model Μίγμα
    size Κ = 2
    param π : simplex[Κ]
    param μ[Κ] : real
    param σ[Κ] : positive
    for ν in Ν:
        latent   ζ[ν] ~ Categorical(π)
        observed χ[ν] ~ Normal(μ[ζ[ν]], σ[ζ[ν]])
"""

GENERATED = """
    model data
    size params = 2
    param statistics : simplex[params]
    param log_likelihood[params] : real
    param prepared[params] : positive
    for i in rows:
        latent   posterior[i] ~ Categorical(statistics)
        observed fit[i] ~ Normal(log_likelihood[posterior[i]], prepared[posterior[i]])
"""

SYMBOLS = """
    model I
    size Q = 2
    param beta : simplex[Q]
    param gamma[Q] : real
    param zeta[Q] : positive
    for O in S:
        latent   C[O] ~ Categorical(beta)
        observed E[O] ~ Normal(gamma[C[O]], zeta[C[O]])
"""

FUNCTIONS = """
    model numpy
    size size = 2
    param exp : simplex[size]
    param Normal[size] : real
    param sum[size] : positive
    for k in range:
        latent   print[k] ~ Categorical(exp)
        observed None[k] ~ Normal(Normal[print[k]], sum[print[k]])
"""

_keywords = _poissons("lambda", "np", "import")
_greek = _normals("μ", "σ", "π", "χ")
_generated = _normals("log_likelihood", "prepared", "statistics", "fit")
_symbols = _normals("gamma", "zeta", "beta", "E")
_functions = _normals("Normal", "sum", "exp", "None")

CASES = [
    Case("python keywords", KEYWORDS, *_keywords),
    Case("greek", GREEK, *_greek),
    Case("names of the generated module", GENERATED, *_generated),
    Case("sympy's names", SYMBOLS, *_symbols),
    Case("names of functions and families", FUNCTIONS, *_functions),
]
