"""The certificate: it passes for every model of the gallery, and derivations broken on purpose do not get it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gallery import MODELS, compiled
from model_texts import TEXTS as MODEL_TEXTS
from scipy.special import gammaln

import emdsl
from emdsl import cli
from emdsl.derive import plan as planner
from emdsl.derive.algebra import expr as x
from emdsl.derive.joint import constraints
from emdsl.derive.posteriors import numeric_factors
from emdsl.derive.updates import handed, statistics
from emdsl.errors import ModelError, Problem
from emdsl.fit import verify
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.model import Model
from emdsl.fit.verify import Certificate, blur, bounds, component, mass, whole
from emdsl.fit.verify.case import Case, find_case, together
from emdsl.fit.verify.cells import _halved
from emdsl.fit.verify.certificate import Check
from emdsl.fit.verify.drawn import NAME as HOW_IT_IS_DRAWN
from emdsl.fit.verify.gaps import gaps
from emdsl.fit.verify.setting import plausible
from emdsl.fit.verify.sticks import Stick, probabilities, sticks
from emdsl.fit.verify.world import Unchecked
from emdsl.generate.lines import contraction

GALLERY = sorted(p.stem for p in MODELS.glob("*.em"))
APART = ("word_alignment", "gaussian_hmm")  # ragged data, and a chain, by another interpreter; all are in test_golden
ALWAYS = {"log-likelihood", "Fisher's identity", "M-step: Q is stationary", "M-step: Q rises", "EM climbs",
          "two steps are one, twice", "the module alone", "draws have the density's moments"}  # fmt: skip


@pytest.mark.parametrize("name", GALLERY)
def test_every_model_of_the_gallery(name: str) -> None:
    """Nothing fails; and what matters was checked, for every parameter."""
    model = compiled(name)
    found = model.verify(apart=name in APART)
    assert not found.failures, str(found)
    made = {c.name for c in found.checks if c.status == "passed"}
    assert sum(c.status == "passed" for c in found.checks) >= 10, "hardly anything was checked"
    assert all(c.note for c in found.checks if c.status == "not checked"), "a check is left out without a reason"
    assert name not in APART or "in an interpreter without emdsl" in {c.subject for c in found.checks}
    methods = {p.method.partition(":")[0] for p in model.plan.values()}
    if methods & {"meanfield", "mcmc", "saem"}:
        told = {"EM climbs"} | (set() if name == "switching_linear_system" else {bounds.NAME})  # its factors are chains
        assert made >= {"the module alone"} | (told if methods & {"meanfield"} else ALWAYS | {HOW_IT_IS_DRAWN})
        return
    assert made >= ALWAYS and (not model.latents or "posterior" in made), str(found)
    for check in ("Fisher's identity", "M-step: Q is stationary", "M-step: Q curves down"):
        assert {c.subject for c in found.checks if c.name == check} == set(model.params)


LINE = """
param a : real
param b : real
param s : positive
for n in N:
    given x[n] : real
    observed y[n] ~ Normal(a + b * x[n], s)
"""
ORDINAL = """
param c : ordered[2]
param b : real
for n in N:
    given x[n] : real
    observed y[n] ~ Categorical([logistic(c[0] - b * x[n]), logistic(c[1] - b * x[n]) - logistic(c[0] - b * x[n]),
                                 1 - logistic(c[1] - b * x[n])])
"""


ABBOTT = """
param c : unit
param a : real
param b : real
for n in N:
    given dose[n] : real
    observed y[n] ~ Bernoulli(c + (1 - c) * logistic(a + b * dose[n]))
"""
CORNERS = """
param m : real
param scale : positive
param s : positive
for g in G:
    latent u[g] ~ Normal(m, s)
    for n in N:
        observed y[g, n] ~ Laplace(u[g], scale)
infer u by quadrature
"""


HEAVY = """
param m : real[2]
param S : spd[2]
param nu : positive
for n in N:
    observed x[n] : real[2] ~ MvStudentT(nu, m, S)
"""  # few rows have a matrix that collapses on two of them: Newton ends anywhere on its way

FLAT = """
param s : positive
for n in N:
    latent h[n] ~ Normal(0, s)
    observed y[n] ~ Normal(0, exp(h[n] / 2))
infer h by quadrature(points = 21)
"""  # the oracle had too few nodes, by 1.6e-8

OTHERS = """
param m : real
param b : real
param s : positive
for n in N:
    given x[n] : real
    observed y[n] ~ Normal(m + b * sum(x[j] for j in N if x[j] > x[n]), s)
    observed w[n] ~ Normal(m * (x[n] - max(x)), 1)
"""  # sums of all rows were of those of a chunk


@pytest.mark.parametrize(
    "text", [LINE, OTHERS, ORDINAL, ABBOTT, CORNERS, HEAVY, FLAT],
    ids=["noise unlike the covariate", "rows that read all others", "an end as good as another",
         "few rows have no maximum", "points at corners", "few rows are fitted exactly",
         "a number near 0 of a wide spread"],
)  # fmt: skip
def test_the_plainest_regressions(text: str) -> None:
    """One covariate in each row is drawn apart from the noise; a Newton step's last digits are not held against it."""
    found = emdsl.compile(text=f"model M\n{text}").verify(apart=False)
    assert not found.failures, str(found)


# ---------------------------------------------------------------- broken on purpose


def negated(term: Any) -> Any:
    return replace(term, coef=-term.coef)


def wrong_sign(q: Any) -> Any:
    """The quadratic part of Q in the wrong direction: the first of its terms in two parameters or more."""
    k = next(i for i, t in enumerate(q.terms) if len(t.factors) > 1)
    return replace(q, terms=(*q.terms[:k], negated(q.terms[k]), *q.terms[k + 1 :]))


def wrong_factor(q: Any) -> Any:
    """A half lost on one term."""
    k = next(i for i, t in enumerate(q.terms) if abs(t.coef) != 1)
    return replace(q, terms=(*q.terms[:k], replace(q.terms[k], coef=2 * q.terms[k].coef), *q.terms[k + 1 :]))


def lost_term(q: Any) -> Any:
    return replace(q, terms=q.terms[1:])


def swapped_index(q: Any) -> Any:
    """A statistic with two axes of one length, transposed."""
    k = next(i for i, s in enumerate(q.statistics) if len(s.axes) == 2 and s.axes[0].dim == s.axes[1].dim)
    s = q.statistics[k]
    return replace(q, statistics=(*q.statistics[:k], replace(s, axes=s.axes[::-1]), *q.statistics[k + 1 :]))


def lost_prior(q: Any) -> Any:
    """The prior is no part of what is maximised, though it is reported."""
    return replace(q, prior=())


def broken_q(change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    def install(patch: pytest.MonkeyPatch) -> None:
        honest = planner.expected
        patch.setattr(planner, "expected", lambda *a: change(honest(*a)))

    return install


def broken_block(change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """The first block's terms changed: what the posterior is made of."""

    def install(patch: pytest.MonkeyPatch) -> None:
        honest = planner.eliminate

        def eliminate(*a: Any) -> Any:
            found = honest(*a)
            return replace(found, blocks=(change(found.blocks[0]), *found.blocks[1:]))

        patch.setattr(planner, "eliminate", eliminate)

    return install


def block_sign(block: Any) -> Any:
    return replace(block, terms=(negated(block.terms[0]), *block.terms[1:]))


def block_loses_a_term(block: Any) -> Any:
    roles = block.roles[1:] if block.roles else block.roles
    return replace(block, terms=block.terms[1:], roles=roles)


def block_halved(block: Any) -> Any:
    """The last term counts half."""
    *others, last = block.terms
    return replace(block, terms=(*others, replace(last, coef=last.coef / 2)))


def lost_share(patch: pytest.MonkeyPatch) -> None:
    """A term that no latent is left in is no part of the objective."""
    honest = planner.eliminate

    def eliminate(*a: Any) -> Any:
        found = honest(*a)
        return replace(found, free=found.free[1:])

    patch.setattr(planner, "eliminate", eliminate)


def broken_points(patch: pytest.MonkeyPatch) -> None:
    """A latent at points whose log weights lack a term."""
    honest = planner.posteriors

    def posteriors(*a: Any) -> Any:
        joint, found, why = honest(*a)
        return joint, replace(found, blocks=(block_loses_a_term(found.blocks[0]), *found.blocks[1:])), why

    patch.setattr(planner, "posteriors", posteriors)


def clique_sign(block: Any) -> Any:
    """The last clique of a network with its first term negated."""
    *others, last = block.network
    return replace(block, network=(*others, replace(last, terms=(negated(last.terms[0]), *last.terms[1:]))))


def factor_loses_a_term(patch: pytest.MonkeyPatch) -> None:
    """The first factor of a mean-field q without one of the terms that its other factors leave."""
    honest = numeric_factors.factorised

    def factorised(*a: Any) -> Any:
        found = honest(*a)
        first = found.blocks[0]
        lost = replace(first, terms=(*first.terms[:2], *first.terms[3:]), roles=(*first.roles[:2], *first.roles[3:]))
        parts = (replace(p, blocks=tuple(lost if b.name == first.name else b for b in p.blocks)) for p in found.parts)
        return replace(found, blocks=(lost, *found.blocks[1:]), parts=tuple(parts))

    patch.setattr(numeric_factors, "factorised", factorised)


def over_eager(patch: pytest.MonkeyPatch) -> None:
    """Closed forms held one against another, told as if each were the whole answer."""
    honest = planner.solve
    patch.setattr(planner, "solve", lambda *a: tuple(replace(u, conditional_on=()) for u in honest(*a)))


def in_text(old: str, new: str) -> Callable[[pytest.MonkeyPatch], None]:
    """The printed module with one piece of text for another; of models made of this one some may not have it."""

    def install(patch: pytest.MonkeyPatch) -> None:
        honest = Model._parts.func  # type: ignore[attr-defined]

        def parts(self: Model) -> list[str]:
            found = honest(self)
            if any(old in p for p in found):
                PRINTED.add(old)
            return [p.replace(old, new) for p in found]

        patch.setattr(Model, "_parts", property(parts))

    install.text = old  # type: ignore[attr-defined]
    return install


PRINTED: set[str] = set()  # pieces of text that some module had


def dropped_plate(patch: pytest.MonkeyPatch) -> None:
    """A term that lacks the index of its plate counts once, not once for each element."""

    def once(t: Any) -> Any:
        carried = {i for f in t.factors for i in x.free(f)}
        return replace(t, ixs=tuple(i for i in t.ixs if i in carried))

    patch.setattr(statistics, "_multiplicity", once)


def masks_dropped(patch: pytest.MonkeyPatch) -> None:
    """What a factor of q takes from rows is looked up in its tables, whether the row is there or not."""
    honest = handed.Code
    patch.setattr(handed, "Code", lambda value, dim, _: honest(value, dim, ()))


def stale_statistic(patch: pytest.MonkeyPatch) -> None:
    """An E-step that goes on with the first statistics it found."""
    honest = Model.load_module

    def load(self: Model) -> Any:
        made = honest(self)
        e_step, kept = made.e_step, {}

        def stale(*a: Any, **beside: Any) -> Any:
            found = e_step(*a, **beside)
            name = next(n for n in found if n != "log_likelihood")
            return {
                **found,
                name: kept.setdefault(id(a[1]), (found[name], a[1]))[0],
            }  # held, so that its id stays its own

        made.e_step = stale
        return made

    patch.setattr(Model, "load_module", load)


CONDITIONAL = """
    model Conditional
    param a : real
    param s : positive
    param t : positive
    for n in N:
        latent   z[n] ~ Bernoulli(0.4)
        observed y[n] ~ Normal(a * (1 + z[n]), var = s)
        observed x[n] ~ Normal(a, var = t)
"""

MEANFIELD, DRAWN = (
    (MODELS / f"{name}.em").read_text(encoding="utf-8") + line
    for name, line in (("crossed_effects", "infer u, v by meanfield\n"), ("random_intercepts", "infer b by mcmc\n"))
)

SCALARS = """
    model Scalars
    param s : positive
    latent a ~ Gamma(3, 2)
    latent r ~ Uniform(-1, 1)
    for n in N:
        observed y[n] ~ Normal(r, s)
        observed k[n] ~ Poisson(exp(a))
    infer a, r by mcmc
"""

PRIOR = """
    model Prior
    param p : simplex[2] ~ Dirichlet([3, 4])
    param m[2] : real ~ Normal(1, 2)
    for n in N:
        latent   z[n] ~ Categorical(p)
        observed y[n] ~ Normal(m[z[n]], 1)
"""

SPIKE = """
    model Spike
    param p : unit
    param s : positive
    for g in G:
        latent z[g] ~ Bernoulli(p)
        latent h[g] ~ Delta(1) if z[g] else Normal(0, s)
        for n in N:
            observed y[g, n] ~ Normal(h[g], 0.5)
"""

SHARED = """
    model Shared
    param w : simplex[3]
    param m : real[2]
    param S[2] : spd[2]
    let which = [0, 1, 0]
    for n in N:
        latent   c[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(m, S[which[c[n]]])
"""
CENSORED = """
    model Censored
    param w : simplex[2]
    param r[2] : positive
    for n in N:
        given    c[n] : positive
        latent   z[n] ~ Categorical(w)
        latent   t[n] ~ Exponential(r[z[n]])
        observed y[n] ~ Delta(min(t[n], c[n]))
"""
FAR_OUT = """
    model FarOut
    param m : real
    param s : positive
    for n in N:
        given    x[n] : real
        observed y[n] ~ Normal(m + x[n], 1) if x[n] > 8 else Normal(0, s)
"""  # x is drawn about 0, and then about 8
ANCESTRY = """
    model Ancestry
    param m : real
    for t in T:
        observed y[t] ~ Normal(m, 1) if t < 9 else Normal(m + y[t - 1], 1)
"""
THRESHOLDS = """
    model Thresholds
    param cut : ordered[2]
    for n in N:
        latent   u[n] ~ Normal(0, 1)
        observed y[n] ~ Delta((u[n] > cut[0]) + (u[n] > cut[1]))
"""
COUNTS = """
    model Counts
    param a : positive
    param b : positive
    for n in N:
        latent   u[n] ~ Gamma(a, b)
        observed y[n] ~ Poisson(u[n])
"""

RIVALS = """
    model Rivals
    param a : positive
    param b : positive
    for n in N:
        latent   u[n] ~ Exponential(a)
        latent   v[n] ~ Exponential(b)
        observed y[n] ~ Delta(min(u[n], v[n]))
"""  # data are two latents together without noise, which no table of one of them holds

TWO_AT_ONCE = """
    model TwoAtOnce
    param r : real
    param q : positive
    for n in N:
        latent   a[n] ~ Normal(r, 1)
        latent   b[n] ~ Normal(0, q)
        observed y[n] ~ Delta(a[n] + b[n])
"""
TWO_IN_A_ROW = """
    model TwoInARow
    param a : real
    for t in T:
        latent   h[t] ~ Normal(0, 1) if t == 0 else Normal(a * h[t-1], 1)
        latent   e[t] ~ Normal(0, 1)
        observed y[t] ~ Delta(h[t] + e[t])
"""  # whose data have a likelihood together alone

SLOPES_OF_COUNTS = """model SlopesOfCounts
param a : real
param S : spd[2]
for g in G:
    latent u[g] ~ MvNormal([0, 0], S)
    for n in N:
        given x[g, n] : real
        observed y[g, n] ~ Poisson(exp(a + u[g][0] + x[g, n] * u[g][1]))
"""  # of whose log-likelihood 31 points in each of two dimensions miss 4e-10


CAPPED = """model Capped
param r : positive(max = 0.8)
for n in N:
    observed y[n] ~ Poisson(r)
"""


BROKEN: dict[str, tuple[str, str, Callable[[pytest.MonkeyPatch], None]]] = {  # with the check that sees it
    "a wrong sign in Q": ("EM climbs", "random_intercepts", broken_q(wrong_sign)),
    "a factor of two in Q": ("M-step", "diagonal_gaussian_mixture", broken_q(wrong_factor)),
    "a term of Q lost": ("M-step", "poisson_mixture", broken_q(lost_term)),
    "a statistic transposed": ("M-step", "gaussian_hmm", broken_q(swapped_index)),
    "a prior left out of the M-step": ("M-step", PRIOR, broken_q(lost_prior)),
    "a wrong sign in a discrete posterior": ("posterior", "latent_classes", broken_block(block_sign)),
    "a term of a discrete posterior lost": (
        "log-likelihood with gaps",
        "old_faithful",
        broken_block(block_loses_a_term),
    ),
    "sums over patterns of gaps and over classes mixed up": (
        "log-likelihood with gaps",
        SHARED,
        lambda patch: patch.setattr(contraction, "_gathered", lambda factors, scatter, _: (factors, scatter)),
    ),
    "a wrong sign in a Gaussian posterior": ("EM climbs", "random_slopes", broken_block(block_sign)),
    "a term of a Gamma posterior lost": ("Fisher's identity", "student", broken_block(block_loses_a_term)),
    "a wrong sign in a chain": ("log-likelihood", "poisson_hmm", broken_block(block_sign)),
    "a wrong sign in a network": ("posterior", "hidden_tree", broken_block(clique_sign)),
    "a wrong sign where elements are tied": ("log-likelihood", "local_level", broken_block(block_sign)),
    "a term of Q lost where a latent is at points": ("M-step", "poisson_lognormal", broken_q(lost_term)),
    "a term lost in a factor of mean-field": ("M-step", MEANFIELD, factor_loses_a_term),
    "a term of Q lost under mean-field": ("M-step", MEANFIELD, broken_q(lost_term)),
    "a statistic of a Gaussian chain transposed": ("M-step", "linear_dynamical_system", broken_q(swapped_index)),
    "a share of a chain's objective lost": ("log-likelihood", "gaussian_hmm", lost_share),
    "half a term where elements are tied": ("Fisher's identity", "crossed_effects", broken_block(block_halved)),
    "a term lost where a latent is at points": ("posterior", "poisson_lognormal", broken_points),
    "a statistic of the step before, in a chain": ("two steps are one, twice", "gaussian_hmm", stale_statistic),
    "a statistic of the step before, where elements are tied": (
        "two steps are one, twice",
        "crossed_effects",
        stale_statistic,
    ),
    "a term of Q lost where a latent is drawn": ("M-step", DRAWN, broken_q(lost_term)),
    "draws that spread too far": (
        "how it is drawn",
        DRAWN,
        in_text('moments_b["square"] - (moments_b["id"]) ** 2, rng', "1.0, rng"),
    ),
    "a term lost in the density of draws": (
        "how it is drawn",
        DRAWN,
        in_text("return sums - 0.5 / s2_b * t", "return sums"),
    ),
    "a path through transitions transposed": (
        "most probable states",
        "gaussian_hmm",
        in_text("paths(log_z, t_4,", "paths(log_z, t_4.T,"),
    ),
    "a point without its mass": ("M-step", SPIKE, broken_q(lost_term)),
    "a plate dropped": ("M-step", "crossed_effects", dropped_plate),
    "conditional closed forms told as whole": ("M-step", CONDITIONAL, over_eager),
    "a factor lost in a pass over the rows": (
        "the module alone",
        "factor_analysis",
        in_text("mean_y[0][:, None, :] * mean_y[0]", "mean_y[0][:, None, :] + mean_y[0]"),
    ),
    "half of the rows lost on a thread": (
        "the module alone",
        "diagonal_gaussian_mixture",
        in_text("tuple(a + b for", "tuple(a for"),
    ),
    "a weight of another chunk": (
        "the module alone",
        "poisson_mixture",
        in_text("else q_z * weight[rows]", "else q_z * weight[: row_count(rows)]"),
    ),
    "a term of the objective that is 0 by default": (
        "log-likelihood",
        "robust_regression",
        in_text("log_likelihood += -scipy.special.gammaln((0.5 * df)) * sum_count", "pass"),
    ),
    "censored times beside a state, not as often": (
        "M-step",
        CENSORED,
        in_text("= S_z_n_y * t_2", "= S_z[..., 0] * t_2"),
    ),
    "a branch that few data take": ("M-step", FAR_OUT, in_text("part_3 = x[rows] * t ", "part_3 = x[rows]")),
    "a branch of the tenth step": (
        "log-likelihood",
        ANCESTRY,
        in_text("t_4 = y[np.clip(np.arange(T)[rows] - 1", "t_4 = y[np.clip(np.arange(T)[rows] - 2"),
    ),
    "the least of two, of which one counts twice": (
        "log-likelihood",
        RIVALS,
        in_text("-a * ((np.arange(2) == 0) + 0.0)", "-2 * a * ((np.arange(2) == 0) + 0.0)"),
    ),
    "the least of two, in the M-step alone": (
        "M-step",
        RIVALS,
        in_text("y[rows], 0.5) * q_y_is_u_weighted[1, :]", "y[rows], 0.5) * 2 * q_y_is_u_weighted[1, :]"),
    ),
    "a constant of what two latents are at once": (
        "log-likelihood",
        TWO_AT_ONCE,
        lambda patch: patch.setattr(constraints, "HALF_LOG_2PI", x.ZERO),
    ),
    "a constant of what two latents are at once, of no row alone": (
        "log-likelihood",
        TWO_IN_A_ROW,
        in_text("log_likelihood += -math.log(2) * sum_n_y", "pass"),
    ),
    "a constant of what is not seen": (
        "log-likelihood",
        TWO_AT_ONCE,
        lambda patch: patch.setattr(constraints, "_idle", lambda e: x.mul(x.num(-1), x.power(e, x.num(2)))),
    ),
    "a sign row by row, of what adds up to nothing": (
        "log-likelihood, row by row",
        "factor_analysis",
        in_text("total = total + x[:, rows].T @ part", "total = total - x[:, rows].T @ part"),
    ),
    "a gap that is a whole vector": (
        "log-likelihood with gaps",
        "tied_gaussian_mixture",
        in_text('present_x = prepared["present x"]', 'present_x = np.ones_like(prepared["present x"])'),
    ),
    "a weight lost beside gaps": (
        "log-likelihood with gaps",
        "factor_analysis",
        in_text("= present_x[:, rows] * weight[rows]", "= present_x[:, rows]"),
    ),
    "a bound on an estimate": ("two steps are one, twice", CAPPED, in_text("np.minimum(r, 0.8)", "r")),
    "a wrong precision in a factor of q": (
        bounds.NAME,
        MEANFIELD,
        in_text("= -0.5 / s2_u - ", "= -1.0 / s2_u - "),
    ),
    "a wrong mean in a factor of q": (bounds.NAME, MEANFIELD, in_text(" - mean / s2 * sum_n_y_row", "")),
    "a mask lost row by row": (
        "log-likelihood with gaps",
        CONDITIONAL,
        in_text("total + -0.5 * log0(t) * present_x[rows]", "total + -0.5 * log0(t)"),
    ),
    "a term of the bound that is 0 by default": (
        bounds.NAME,
        "bayesian_gaussian_mixture",
        in_text("log_likelihood += (a0 - 1)", "log_likelihood -= (a0 - 1)"),
    ),
    "an entropy that no sweep reads": (
        bounds.NAME,
        "bayesian_gaussian_mixture",
        in_text("(0.5 * (E_prec_logdet @ sum_n_x)) +", "(1.0 * (E_prec_logdet @ sum_n_x)) +"),
    ),
    "a statistic of probabilities, of two states of each configuration": (
        "M-step",
        MODEL_TEXTS["membership"][0],
        in_text(
            'moments_g["log"].T @ q_configuration_z_weighted.sum(axis=1)',
            'moments_g["log"].T @ q_configuration_z_weighted[:, 0]',
        ),
    ),
    "means of probabilities": (
        "posterior",
        MODEL_TEXTS["membership"][0],
        in_text(
            'part_0 = moments_g["id"].T @ q_configuration_z ', 'part_0 = moments_g["id"][::-1].T @ q_configuration_z '
        ),
    ),
    "a covariance of another shape": (
        "posterior",
        "random_slopes",
        in_text("part_1 = cov_b[0][0]", "part_1 = cov_b[0][0][:, :1]"),
    ),
    "the sign of a covariance": (
        "posterior",
        "random_slopes",
        in_text("part_1 = cov_b[0][0]", "part_1 = cov_b[0][0] * (2 * np.eye(2)[..., None] - 1)"),
    ),
    "a covariance where points miss a little": (
        "posterior",
        SLOPES_OF_COUNTS,
        in_text("part = q_u[:, None, :] * (", "part = 2 * q_u[:, None, :] * ("),
    ),
    "a gap among counts": ("log-likelihood with gaps", COUNTS, in_text("-b - present_y[rows]", "-b - 1.0")),
    "a gap that a factor of q does not see": (bounds.NAME, "latent_dirichlet_allocation", masks_dropped),
    "a statistic of the step before": ("two steps are one, twice", "old_faithful", stale_statistic),
}


def certificate_of(name: str) -> Certificate:
    """Compiled afresh, so that what is broken takes part."""
    text = name if "model " in name else (MODELS / f"{name}.em").read_text(encoding="utf-8")
    return emdsl.compile(text=text).verify(apart=False)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_derivation_gets_no_certificate(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is broken is seen by the check that is there for it, alone: the others are not made."""
    check, name, install = BROKEN[what]
    install(monkeypatch)
    monkeypatch.setattr(verify, "CHECKS", tuple((n, run) for n, run in verify.CHECKS if n == check))
    if check != HOW_IT_IS_DRAWN:
        monkeypatch.setattr(verify, "drawing", lambda *_: ())
    found = certificate_of(name)
    assert found.failures and not found.passed, str(found)
    assert getattr(install, "text", "") in PRINTED | {""}


MOVED = """model Moved
param a : real
param b : real[2]
param s : positive
for g in G:
    latent u[g] ~ Normal(a, s)
    for n in N:
        given x[g, n] : real[2]
        observed y[g, n] ~ Normal(u[g] + x[g, n] @ b, 1)
"""  # the latents move with b, by the mean of x: Q is that of other complete data


TREE = """model Tree
param q : unit
param st : unit
for i in N:
    given parent[i] : index[N]
    latent z[i] ~ Bernoulli(q) if i == 0 else Bernoulli(st if z[parent[i]] else 1 - st)
    observed y[i] ~ Normal(z[i], 1)
"""  # the root may name itself
TIMES = """model Times
param v : positive
param ell : positive
for t in T:
    given at[t] : real
    observed y[t] ~ Normal(0, 1) if t == 0 else Normal(0, var = v * (1 - exp((at[t-1] - at[t]) / ell)))
"""  # times rise
CORRELATED = """model Correlated
param R : correlation[3]
for n in N:
    observed x[n] ~ MvNormal(zeros(3), R)
"""
GATED = """model Gated
param g : real
param m[2] : real
for n in N:
    given x[n] : real
    latent z[n] ~ Bernoulli(logit = g * x[n])
    observed y[n] ~ Normal(m[z[n]] + g * x[n], 1)
"""  # m is measured from where g has the data, and g is climbed after it
ALONE = """model Alone
param m : real
observed x ~ Normal(m, 1)
for n in N:
    observed y[n] ~ Normal(m, 2)
"""
ONE_ROW = """model OneRow
param m[2] : real
for n in N:
    latent z[n] ~ Bernoulli(0.4)
    observed y[n] ~ Normal(m[z[n]], 1) if n == 3 else Normal(0, 1)
"""  # whose statistics each chunk had in the place of its own fourth row: wrong from 8193 rows on
EVERY_OTHER = """model EveryOther
param m : real
for n in N if n % 2 == 0:
    observed y[n] ~ Normal(m, 1)
"""  # the first row twice moves all others by one
RIGHT = (CONDITIONAL, PRIOR, DRAWN, SCALARS, SPIKE, MOVED, TREE, TIMES, CORRELATED, GATED, ALONE, ONE_ROW, EVERY_OTHER)


@pytest.mark.parametrize("text", RIGHT)  # MEANFIELD: a bound, below
def test_the_same_models_unbroken(text: str) -> None:
    found = certificate_of(text)
    assert found.passed, str(found)
    assert text != SPIKE or "posterior" in {c.name for c in found.checks if c.status == "passed"}
    assert ("how it is drawn" in {c.name for c in found.checks}) == (text in (DRAWN, SCALARS))


TWO_HILLS = """model TwoHills
param p : positive
for n in N:
    given x[n] : real
    given e[n] : positive
    given c[n] : positive
    latent u[n] ~ Gamma(p, p)
    observed y[n] ~ Delta((u[n] > c[n]) + (u[n] > 2 * c[n]))
    observed w[n] ~ Normal(x[n], e[n])
"""  # where all u are small, the likelihood has a maximum inside and a higher one at p = 0


RARE = """model Rare
param p : unit
for n in N:
    observed y[n] ~ Bernoulli(p^4)
"""  # no event in 60 rows: all scores are the same number
FOLLOWING = """model Following
param a : real
for t in T:
    latent l[t] ~ Normal(0, 1) if t == 0 else Normal(l[t-1], 1)
    latent d[t] ~ Delta(a * l[t])
    observed y[t] ~ Normal(d[t], 1)
"""  # d stayed where it was drawn while a moved
SUM_DRAWN = """model SumDrawn
param q : positive
for n in N:
    latent a[n] ~ Normal(0, q)
    latent b[n] ~ Normal(0, 1)
    latent c[n] ~ Delta(a[n] + b[n])
    observed y[n] ~ Normal(c[n], 1)
infer a, b by mcmc
"""  # c stayed where it was drawn while a was
FAR_TAIL = """model FarTail
param m : real
param s : positive
for n in N:
    given lo[n] : positive
    given hi[n] : positive
    latent t[n] ~ LogNormal(m, s)
    observed y[n] ~ Delta((t[n] > lo[n]) + (t[n] > lo[n] + hi[n]))
"""  # a variance of 1e8, of squares for which no complex step is small
WEIGHED = """model Weighed
param w : simplex[2]
param s[2] : positive
latent b ~ Normal(0, 1)
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Normal(b, s[z[n]])
"""  # rows that are summed out together have no weights: with them it is a fit by mean-field, which says so
BESIDE_DRAWS = """model BesideDraws
param q : positive
param r : real
for a in G:
    latent w[a] ~ Normal(0, 1)
for n in N:
    given of[n] : index[G]
    latent h[n] ~ Normal(0, q)
    observed y[n] ~ Normal(w[of[n]] + r * h[n], 1)
infer w by mcmc
"""  # what is exact given w is checked with w as data, on two plates: rows of G weighed in another module
TWO_SIGNS = """model TwoSigns
param r : real
param q : positive
for n in N:
    latent a[n] ~ Normal(r, 1)
    latent b[n] ~ Normal(0, q)
    observed y[n] ~ Normal(a[n]^2 + b[n], 0.5)
"""  # nodes stood where a may be beside b as it was drawn
SEEN_BELOW = """model SeenBelow
param w : simplex[2]
param r[2] : real
param q[2] : positive
for n in N:
    given e[n] : positive
    latent z[n] ~ Categorical(w)
    latent u[n] ~ Normal(r[z[n]], var = q[z[n]])
    observed y[n] ~ Delta(min(u[n], e[n]))
"""  # where y is missing, u has no end; where it is e, u has one, and was taken for Gaussian all the same
POINTED_AT = """model PointedAt
param m : real
param s : positive
for a in G:
    latent share[a] ~ Dirichlet([1, 2])
for n in N:
    given of[n] : index[G]
    latent z[n] ~ Categorical(share[of[n]])
    observed y[n] ~ Normal(m, s)
"""  # as many groups as rows: what a group has was taken for what a row has
CUT_GROUPS = """model CutGroups
param m[2] : real
param p : unit
for a in G:
    latent b[a] ~ Normal(0, 2)
    for n in N:
        latent z[a, n] ~ Bernoulli(p)
        observed y[a, n] : real(min = -2) ~ Normal(m[z[a, n]] + b[a], 0.7)
"""  # z is told element by element, and was held against all together
FEW_LATE = """model FewLate
param u : unit
param r : real ~ Normal(0.5, 2)
param k : real
param w[2] : real ~ Normal(0, 1)
param v[2] : positive
for a in G:
    latent share[a] ~ Dirichlet(2 * ones(2))
for n in N:
    given of[n] : index[G]
    latent topic[n] ~ Categorical(share[of[n]])
    given x[n] : real
    latent z[n] ~ Categorical([u, 1 - u])
    given e[n] : positive
    latent time[n] ~ Normal(r + k * exp(-e[n]) + w[1] - w[0], var = v[z[n]])
    observed y[n] ~ Delta(min(time[n], e[n]))
"""  # of two rows: v collapses after some steps, and what is kept of that fell
APART_BY_A_MILLION = """model ApartByAMillion
param p : unit
param m[2] : real
for n in N:
    latent z[n] ~ Bernoulli(p)
    observed y[n] ~ Normal(1e6 * m[z[n]], 1)
"""  # squares of 1e12 in a likelihood of 20: rounding takes all but six of its digits
WIDE = """model Wide
param s : positive
for n in N:
    latent u[n] ~ Normal(0, 1e6 * s)
    observed y[n] ~ Normal(u[n], 1)
"""  # within steps of 1 the density of u, where nothing is seen of it, was level but for rounding
FIRM = """model Firm
param m : real ~ Normal(1e6, 1e-6)
for n in N:
    observed y[n] ~ Normal(m, 1)
"""  # a prior of -5e23, which the likelihood was the difference from
SHARP = """model Sharp
param a : positive
for n in N:
    latent p[n] ~ Beta(1e4 * a, 1e4)
    observed y[n] ~ Binomial(10, p[n])
"""  # third derivatives of 1e4: a difference of Q was no slope


@pytest.mark.parametrize(
    ("text", "seed", "check"),
    [
        (APART_BY_A_MILLION, 0, "log-likelihood"),
        (APART_BY_A_MILLION, 0, "Fisher's identity"),
        (WIDE, 0, "log-likelihood with gaps"),
        (FIRM, 0, "log-likelihood"),
        (FIRM, 0, "rows in another order"),
        (SHARP, 0, "Fisher's identity"),
        (CUT_GROUPS, 0, "most probable states"),
        (FEW_LATE, 4, "EM climbs"),
        (SEEN_BELOW, 0, "log-likelihood with gaps"),
        (POINTED_AT, 0, "log-likelihood"),
        (TWO_SIGNS, 0, "log-likelihood"),
        (TWO_HILLS, 0, "M-step"),
        (RARE, 5, "draws have the density's moments"),
        (FOLLOWING, 0, "Fisher's identity"),
        (SUM_DRAWN, 0, ""),
        (FAR_TAIL, 3, "posterior"),
        (WEIGHED, 0, "rows in another order"),
        (BESIDE_DRAWS, 0, "the module alone"),
    ],
)
def test_no_alarm(text: str, seed: int, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failed though the derivation was right: by chance, by rounding, or since the certificate held what moves."""
    monkeypatch.setattr(verify, "CHECKS", tuple((n, run) for n, run in verify.CHECKS if n == check))
    found = emdsl.compile(text=text).verify(seed=seed, apart=False)
    told_of_rounding = check == "Fisher's identity" and text == APART_BY_A_MILLION
    assert not found.failures and (found.passed or told_of_rounding), str(found)


@pytest.mark.parametrize(("text", "rough"), [(WIDE, True), (WIDE.replace("1e6", "2"), False)])
def test_what_rounding_does_alike_wherever_last_digits_differ_is_rough(text: str, rough: bool) -> None:
    """1 + 1e-12 was rounded alike at every place beside, by some libraries' digits: an alarm where none was."""
    found = blur._roughness(find_case(emdsl.compile(text=text), 0))
    assert found > 1e-7 if rough else found < 1e-12


def test_two_steps_are_one_as_far_as_points_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points stand about modes that are found from those before: after one step they missed 1e-6, and told so."""
    text = """model Nested
param p : unit
param s : positive
param r : real
param b[2] : real ~ Normal(0.5, 2)
param v[2] : positive
for n in N:
    latent z[n] ~ Bernoulli(p)
    latent spike[n] ~ Delta(0) if z[n] == 0 else Normal(0, s)
    latent other[n] ~ LogNormal(0, s)
    observed y[n] ~ StudentT(4, r + spike[n] + other[n] + b[z[n]] * lchoose(5, n % 3), v[z[n]])
"""
    monkeypatch.setattr(verify, "CHECKS", tuple((n, run) for n, run in verify.CHECKS if n.startswith("two steps")))
    found = emdsl.compile(text=text).verify(seed=6, apart=False)
    assert not found.failures and "after the first step" in " ".join(str(found).split())


def test_fewer_data_where_configurations_around_gaussians_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of them took minutes: 12 groups of 160,000 configurations each, of which no one was too many."""
    text = """model Around
param s : positive
param p : unit
for g in G:
    latent b[g] ~ Normal(0, s)
    for n in N:
        latent z[g, n] ~ Bernoulli(p)
        observed y[g, n] ~ Normal(b[g] + z[g, n], 1)
"""
    model = emdsl.compile(text=text)
    found = find_case(model, 0)
    monkeypatch.setattr(component, "MOST_STATES", 6 * 2**6 - 1)  # six groups of six
    fewer = find_case(model, 0)
    assert found is not None and fewer is not None and found.oracle is not None and fewer.oracle is not None
    assert (found.sizes(), fewer.sizes()) == ({"G": 6, "N": 6}, {"G": 5, "N": 5})


def test_rounding_excuses_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is off by more than last digits move it fails, where they move it far, too."""
    in_text("log_likelihood += log_z_z @ weight[rows]", "log_likelihood += log_z_z @ weight[rows] + 0.01")(monkeypatch)
    monkeypatch.setattr(verify, "CHECKS", tuple((n, run) for n, run in verify.CHECKS if n == "log-likelihood"))
    failures = emdsl.compile(text=APART_BY_A_MILLION).verify(apart=False).failures
    assert {"at the start", "after three M-steps"} <= {c.subject for c in failures}


@pytest.mark.parametrize(("length", "elements"), [("size T = 2000", 6), ("", 6), ("size T = 9", 9)])
def test_a_plate_that_is_long_by_default_is_drawn_short(length: str, elements: int) -> None:
    """`size T = 2000` is a default, and any length is checked: sums over 2000 states took minutes."""
    chain = "for t in T:\n    latent z[t] ~ Bernoulli(0.5 if t == 0 else a)\n    observed y[t] ~ Normal(z[t], 1)\n"
    case = find_case(emdsl.compile(text=f"model Chain\n{length}\nparam a : unit\n{chain}"), 0)
    assert case.drawn.setting.sizes["T"] == elements and case.oracle is not None


def test_more_latents_than_sums_are_made_over_are_told_before_any_is_made() -> None:
    """Where the model itself says how many there are."""
    rows = "for n in 300:\n    latent z[n] ~ Bernoulli(p)\n    observed y[n] ~ Normal(z[n], 1)\n"
    case = find_case(emdsl.compile(text=f"model Many\nparam p : unit\n{rows}"), 0)
    assert case.oracle is None and case.reason == "300 numbers are latent; sums are made over no more than 200"


def test_data_of_a_number_and_a_count_are_together() -> None:
    """The grid of one has the other as it was drawn: right likelihoods were called wrong by a third."""
    text = "model M\nparam r : positive\nfor n in N:\n    latent a[n] ~ {}\n    latent b[n] ~ {}\n"
    text += "    observed y[n] ~ Delta({})\n"
    for a, b, value, told in (
        ("Poisson(r)", "Normal(0, 1)", "a[n] + b[n]", True),
        ("Poisson(r)", "Poisson(2)", "a[n] + b[n]", False),
        ("Bernoulli(0.3)", "Normal(0, r)", "(b[n] > 0) + a[n]", False),
        ("Bernoulli(0.3)", "Normal(0, r)", "2 * b[n]", False),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = emdsl.compile(text=text.format(a, b, value))
        assert any(together(model.resolved)) == told


def test_a_root_beside_a_pass_over_data_climbs_with_it() -> None:
    """In turn, each given the other, they crawl: together they are the maximum of Q, conditional on nothing."""
    model = emdsl.compile(
        text="model M\nparam r : positive\nparam p : unit\nfor n in N:\n    observed y[n] ~ NegativeBinomial(r, p)\n"
    )
    assert {n: (u.kind, u.conditional_on) for n, u in model.updates.items()} == dict.fromkeys("rp", ("newton", ()))
    assert "maximise Q in turn" not in str(model.derivation) and model.verify(apart=False).passed


def test_what_cannot_be_checked_is_said() -> None:
    """A latent matrix has no grid; the checks that need none are made."""
    text = """
        model Precisions
        param V : spd[2]
        for n in N:
            latent   W[n] ~ Wishart(3, V)
            observed y[n] ~ MvNormal(zeros(2), precision = W[n])
    """
    found = certificate_of(text)
    assert found.passed
    reasons = {c.name: c.note for c in found.checks if c.status == "not checked"}
    assert "W lies on spd" in reasons["log-likelihood"] and "W lies on spd" in reasons["M-step"]


def test_probabilities_are_integrated_by_their_sticks() -> None:
    """Of what held a latent on a simplex no likelihood, posterior or M-step was checked."""
    text = "model M\nparam a[3] : positive\nfor n in N:\n    latent p[n] ~ Dirichlet(a)\n"
    found = certificate_of(text + "    for j in J:\n        observed y[n, j] ~ Categorical(p[n])\n")
    made = {c.name for c in found.checks if c.status == "passed"}
    assert found.passed and made >= {"log-likelihood", "posterior", "Fisher's identity", "M-step: Q is stationary"}


def test_probabilities_of_which_some_are_missing_are_not_checked() -> None:
    """The oracle had them as they were drawn: a false alarm of what the first two of three add up to."""
    text = "model M\nparam a[3] : positive\nfor n in N:\n    observed p[n] ~ Dirichlet(a)\n"
    with pytest.raises(Unchecked, match="missing beside others"):
        list(gaps(replace(find_case(emdsl.compile(text=text), 0), seed=1)))


@pytest.mark.parametrize("shape", [(0.3, 2.0, 1.5), (0.5, 0.15, 0.2), (400.0, 3.0, 1.0)])
def test_sticks_hold_the_mass_of_a_dirichlet(shape: tuple[float, ...]) -> None:
    s = np.linspace(-6.0, 40.0, 400)
    (first, of_first), (second, of_second) = (Stick(beyond).rule(s) for beyond in (1, 0))
    odds = np.stack([*np.meshgrid(first, second, indexing="ij"), np.zeros((400, 400))], axis=-1)
    p = probabilities(odds)
    log_density = gammaln(sum(shape)) - gammaln(shape).sum() + (np.log(p) * (np.array(shape) - 1)).sum(axis=-1)
    assert np.exp(log_density + of_first[:, None] + of_second).sum() == pytest.approx(1, rel=1e-9)
    inside = np.abs(odds).max(axis=-1) < 20
    np.testing.assert_allclose(sticks(p)[inside], odds[inside], rtol=1e-6, atol=1e-9)


POINTED_AT = """model PointedAt
param a : positive
for g in G:
    latent p[g] ~ Dirichlet(a * ones(6))
for n in N:
    given of[n] : index[G]
    observed y[n] ~ Categorical(p[of[n]])
"""  # a row of the data is no unit of the likelihood: that both plates are of one length was taken for it
BY_ITSELF = """model ByItself
param m : real
observed x ~ Normal(m, 1)
for n in N:
    latent p[n] ~ Dirichlet(ones(6))
    observed y[n] ~ Categorical(p[n])
"""
IN_GROUPS = POINTED_AT.replace("for n in N:\n    given of[n] : index[G]", "    for n in N[g]:").replace(
    "    observed y[n] ~ Categorical(p[of[n]])", "        observed y[g, n] ~ Categorical(p[g])"
)
NO_PARAMETER = """model NoParameter
for n in N:
    latent z[n] ~ Bernoulli(0.3)
    observed y[n] ~ Normal(2 * z[n], 1)
"""


@pytest.mark.parametrize(
    ("text", "check", "subject", "why"),
    [
        (POINTED_AT, mass.NAME, "where nothing is seen", "several plates"),
        (BY_ITSELF, mass.NAME, "where nothing is seen", "several plates"),
        (IN_GROUPS, mass.NAME, "where nothing is seen", "several plates"),
        (RIVALS, mass.NAME, "where nothing is seen", "other densities read them"),
        (IN_GROUPS, "posterior, over data drawn", "p", "not told element by element"),
        (NO_PARAMETER, "Fisher's identity", "", "nothing that this compares"),
    ],
)
def test_no_check_ends_without_a_word(
    text: str, check: str, subject: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ended with no line in the table (the first with a false alarm) where it could not be made."""
    only = {"log-likelihood", "posterior", "Fisher's identity"}
    monkeypatch.setattr(verify, "CHECKS", tuple((n, run) for n, run in verify.CHECKS if n in only))
    found = certificate_of(text)
    assert not found.failures, str(found)
    assert [
        c for c in found.checks if (c.name, c.subject, c.status) == (check, subject, "not checked") and why in c.note
    ]


def test_a_factor_of_q_that_is_refused_by_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was left out of the table."""

    class Refused:
        refusal = ModelError([Problem("E999", "no family fits")])

    monkeypatch.setattr(whole, "_factor", lambda *_: Refused())
    monkeypatch.setattr(verify, "CHECKS", ())
    told = [c for c in certificate_of(MEANFIELD).checks if "the others as data" in c.name]
    assert told and {c.note for c in told} == {"no family fits"}


def test_a_branch_that_no_data_take_is_told() -> None:
    found = certificate_of(ANCESTRY.replace("t < 9", "t < 400"))
    assert found.passed and "`t < 400` in line 5 is never false" in {c.note for c in found.checks}


def test_what_tails_integrate_out_is_checked() -> None:
    """Fisher's identity and the M-step were not, as the oracle has all latents; thresholds move where they lie."""
    for text, wanted in ((CENSORED, {"Fisher's identity", "M-step: Q is stationary"}), (THRESHOLDS, {"posterior"})):
        made = {c.name for c in certificate_of(text).checks if c.status == "passed"}
        assert made >= {"Fisher's identity", *wanted}


def test_data_of_two_latents_are_checked_over_draws() -> None:
    """Nothing was, of a likelihood or an M-step, where data are several latents together without noise."""
    found = certificate_of(RIVALS)
    made = {c.name for c in found.checks if c.status == "passed"}
    assert found.passed, str(found)
    wanted = ("log-likelihood, over data drawn", "posterior, over data drawn", "EM ends where log p(x) is level")
    assert made >= set(wanted)
    assert {c.name for c in found.checks if c.status == "not checked"} >= {"log-likelihood", "Fisher's identity"}


def test_more_rows_are_no_more_of_what_a_row_holds() -> None:
    """3000 groups of 3000 rows each were drawn: a certificate did not end."""
    text = "model M\nparam s : positive\nfor g in G:\n    for n in N:\n        observed y[g, n] ~ Normal(0, s)\n"
    assert plausible(emdsl.compile(text=text).resolved, plates=4, many=3000).sizes == {"G": 3000, "N": 4}


def test_a_collapse_from_the_fits_own_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check ended without a line."""
    honest = Case.fit

    def fit(self: Case, params: Any, *a: Any, **beside: Any) -> Any:
        if params is None:
            raise DegenerateError([])
        return honest(self, params, *a, **beside)

    monkeypatch.setattr(Case, "fit", fit)
    monkeypatch.setattr(verify, "CHECKS", tuple((n, run) for n, run in verify.CHECKS if n == "EM climbs"))
    own = [c for c in certificate_of("poisson_mixture").checks if c.subject.endswith("from its own start")]
    assert own[0].status == "not checked" and "collapses" in own[0].note


def test_an_approximate_posterior_is_only_a_bound() -> None:
    found = emdsl.compile(str(MODELS / "crossed_effects.em"), infer={"u": "meanfield", "v": "meanfield"}).verify(
        apart=False
    )
    assert found.passed, str(found)
    said = {c.name: c.status for c in found.checks}
    assert said["the bound is below the log-likelihood"] == "passed" and said["posterior"] == "not checked"


def test_an_oracle_by_hand() -> None:
    """Three coins of two kinds: every number of the certificate's oracle against sums written out."""
    case = find_case(emdsl.compile(text=PRIOR), 0)
    p, m = case.start["p"], case.start["m"]
    joint = p * np.exp(-((case.drawn.data["y"][:, None] - m) ** 2) / 2) / np.sqrt(2 * np.pi)
    prior = case.world.priors(case.start)
    assert case.need().total(case.start) == pytest.approx(np.log(joint.sum(1)).sum() + prior, rel=1e-13)
    np.testing.assert_allclose(case.need().marginal(case.found, 1), joint[1] / joint[1].sum(), rtol=1e-12)


def test_a_module_that_needs_the_package_is_caught() -> None:
    from emdsl.fit.verify.apart import fitted_apart

    with pytest.raises(RuntimeError, match="emdsl is not to be had here"):
        fitted_apart("import emdsl\n", {"estimator": "M"})


def certificate(status: str) -> Certificate:
    checks = (Check("EM climbs", "8 steps", status, 0.5, 1.0), Check("chunks", "", "not checked", note="too small"))
    return Certificate("M", 0, {"N": 6}, checks)


@pytest.mark.parametrize(("status", "exit_status"), [("passed", 0), ("failed", 1), ("not checked", 1)])
def test_the_command(
    status: str, exit_status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Model, "verify", lambda self, seed=0: certificate(status))
    path = str(MODELS / "student.em")
    assert cli.run(["verify", path]) == exit_status
    shown = capsys.readouterr().out
    assert "EM climbs" in shown and "5.0e-01" in shown and "not checked: too small" in shown
    assert cli.run(["verify", path, "--json"]) == exit_status
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] == (status == "passed") and told["checks"][1]["note"] == "too small"


def test_a_notebook_shows_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich, in a kernel, shows what it is to print to a file beside it, and leaves the file empty."""
    import rich.console

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert "EM climbs" in str(certificate("passed")) and "<td" in certificate("passed")._repr_html_()
    assert all("EM climbs" in certificate(end)._repr_html_() for end in ("passed", "failed"))


def test_rows_of_a_ragged_plate_are_no_rows_of_a_table() -> None:
    """Found by chance: shares of groups of any size beside what is not theirs: two shapes did not meet."""
    text = """
        model Groups
        param r : positive
        for g in G:
            latent share[g] ~ Dirichlet([1, 2])
            for n in N[g]:
                latent z[g, n] ~ Categorical(share[g])
                observed y[g, n] ~ Delta(0) if z[g, n] else Poisson(r)
    """
    with pytest.raises(Unchecked, match="ragged"):
        mass._rows(find_case(emdsl.compile(text=text), 0))


def test_the_command_makes_the_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", str(MODELS / "genetic_linkage.em")]) == 0
    shown = capsys.readouterr().out
    assert "Fisher's identity" in shown and "\nPassed: " in shown and "failed" not in shown


def test_a_factor_of_data_alone_is_a_penalty_whatever_rows_weigh() -> None:
    text = """
        model Penalised
        param m : real
        for n in N:
            given x[n] : real
            observed y[n] ~ Normal(m, 1)
            factor 0.3 * x[n]^2
        for t in T:
            observed w[t] ~ Normal(m * (t % 3), 1)
    """
    found = emdsl.compile(text=text).verify(apart=False)
    assert found.passed
    notes = [c.note for c in found.checks if c.name == "a weight of 2 is the row twice"]
    assert "penalty" in notes[0] and "order" in notes[1]  # a row of T that stands elsewhere means something else


def test_rows_that_one_matrix_runs_over_are_not_repeated() -> None:
    """A known relationship of all rows: with a row twice it is singular, which had failed the certificate."""
    text = """
        model Animals
        param m : real
        param v : positive
        given A : spd[N]
        latent g ~ MvNormal(zeros(N), v * A)
        for n in N:
            observed y[n] ~ Normal(m + g[n], 1)
    """
    found = emdsl.compile(text=text).verify(apart=False)
    assert found.passed, str(found)
    assert any("runs over all" in c.note for c in found.checks if c.name == "a weight of 2 is the row twice")
    assert any(c.status == "passed" for c in found.checks if c.name == "rows in another order")


def test_numbers_beyond_which_a_matrix_is_no_precision() -> None:
    """Precisions of coefficients (MacKay 1992) tried below 0, where their matrix has no Cholesky factor."""
    text = """
        model Relevance
        for p in P:
            latent relevance[p] ~ Gamma(1, 1)
        latent b : real[P] ~ MvNormal(zeros(P), precision = diag([relevance[p] for p in P]))
        for n in N:
            given x[n] : real[P]
            observed y[n] ~ Normal(x[n] @ b, 1)
        infer b, relevance by meanfield
    """
    found = emdsl.compile(text=text).verify(apart=False)
    assert found.passed, str(found)


def test_rows_of_which_few_states_are_possible_are_read() -> None:
    """The sum of two counts: at random states a row was impossible whatever one of them was, as if it read neither."""
    text = """
        model Margins
        param p[2] : unit
        for i in N:
            given n[i] : count
            given m[i] : count
            latent a[i] ~ Binomial(n[i], p[0])
            latent b[i] ~ Binomial(m[i], p[1])
            observed y[i] ~ Delta(a[i] + b[i])
    """
    found = emdsl.compile(text=text).verify(apart=False)
    assert found.passed, str(found)


def test_what_is_read_only_where_all_others_are_1_is_seen() -> None:
    """Attributes that an answer needs together (Junker and Sijtsma 2001): at random others some are 0, and one alone
    changes nothing, as if the row did not read it."""
    text = """
        model Attributes
        param p[4] : unit
        param right : unit
        for n in N:
            for k in 4:
                latent has[n, k] ~ Bernoulli(p[k])
            observed y[n] ~ Bernoulli(right if sum(1 - has[n, k] for k in 4) == 0 else 0.2)
    """
    found = emdsl.compile(text=text).verify(apart=False)
    assert found.passed, str(found)


def test_factors_alone_draw_nothing() -> None:
    text = """
        model Rankings
        param s : zero_sum[J]
        for n in N:
            for k in J:
                given r[n, k] : index[J]
            factor s[r[n, 0]] - logsumexp([s[r[n, l]] for l in J])
    """
    found = emdsl.compile(text=text).verify(apart=False)
    assert found.passed, str(found)
    assert any("nothing to draw" in c.note for c in found.checks if c.status == "not checked")


ONE_STATE = """model OneState
param first : simplex[2]
param trans[2] : simplex[2]
param m[2] : real
param d[3] : real
param s : positive
for t in T:
    given r[t] : index[3]
    latent z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    observed y[t] ~ Normal(m[z[t]] + d[r[t]], s)
"""
WAITING = """model Waiting
param first : simplex[2]
param trans[2] : simplex[2]
param r[2] : real
for t in T:
    given e[t] : positive
    latent z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    latent u[t] ~ Gamma(2, rate = exp(r[z[t]]))
    observed y[t] ~ Delta(min(u[t], e[t]))
"""  # found by chance: with other u the data are impossible, in any order


@pytest.mark.parametrize(("text", "seed"), [(ONE_STATE, 1), (WAITING, 0)])
def test_an_order_that_means_something_is_seen_by_other_states(text: str, seed: int) -> None:
    """Drawn states may all be the same, and the log joint alike in any order of the rows: it is compared at others."""
    found = emdsl.compile(text=text).verify(seed=seed, apart=False)
    assert found.passed, str(found)
    assert any("the order is part" in c.note for c in found.checks if c.name == "rows in another order")


def test_what_one_branch_alone_reads_is_seen() -> None:
    """A word that is of the background or of a topic: its topic is read where it is not of the background."""
    text = """
    model Words
    param common   : simplex[3]
    param topic[2] : simplex[3]
    for n in N:
        latent   x[n] ~ Bernoulli(0.5)
        latent   z[n] ~ Categorical([0.3, 0.7])
        observed w[n] ~ Categorical(common) if x[n] == 1 else Categorical(topic[z[n]])
    """
    found = verify.certify(emdsl.compile(text=text), 1, False, ("log-likelihood",))
    assert {c.status for c in found.checks} == {"passed"}


def test_ends_far_beyond_what_was_drawn_are_found() -> None:
    """At a hundred times its size no two floats are within 1e-14 of the size: halving went on for ever."""
    found = _halved({(0, 1.0): (0.1, 110.0), (1, -1.0): (0.1, -110.0)}, lambda pairs, at: [abs(v) < 95.3 for v in at])
    assert found == pytest.approx({(0, 1.0): 95.3, (1, -1.0): -95.3}, rel=1e-14)


def test_distances_declared_as_numbers_are_drawn_positive() -> None:
    """A rate of recombination has no density at a negative distance: no data could be drawn, so nothing was checked."""
    text = """
        model Markers
        param r : positive
        param e : unit
        for t in T:
            given d[t] : real
            let change[t] = (1 - exp(-2 * r * d[t])) / 2
        for i in I:
            for t in T:
                latent v[i, t] ~ Bernoulli(0.5) if t == 0 else Bernoulli(abs(v[i, t-1] - change[t]))
                observed y[i, t] ~ Bernoulli(abs(v[i, t] - e))
    """
    found = verify.certify(emdsl.compile(text=text), 0, False, ("log-likelihood", "draws have the density's moments"))
    assert found.passed, str(found)


def test_positions_in_ragged_plates_are_drawn() -> None:
    """A parent within the same sequence: no data could be drawn, and that had raised."""
    text = """
        model Trees
        param q : positive
        for g in G:
            for i in I[g]:
                given up[g, i] : index[I]
                latent h[g, i] ~ Normal(0, 1) if i == 0 else Normal(h[g, up[g, i]], q)
                observed y[g, i] ~ Normal(h[g, i], 1)
    """
    found = verify.certify(emdsl.compile(text=text), 0, False, ("log-likelihood", "a weight of 2 is the row twice"))
    assert found.passed and not any(c.status == "not checked" for c in found.checks), str(found)


def test_where_tails_are_all_that_is_latent_the_m_step_climbs_the_likelihood() -> None:
    text = """model Censored
param k : positive
param s : positive
for n in N:
    given limit[n] : positive
    latent t[n] ~ Weibull(k, s)
    observed seen[n] ~ Delta(min(t[n], limit[n]))
"""
    found = emdsl.compile(text=text).verify(apart=False)
    said = {(c.name, c.subject): c.status for c in found.checks}
    assert not found.failures and all(said["M-step: Q is stationary", n] == "passed" for n in ("k", "s"))


@pytest.mark.parametrize(
    "text",
    [
        """model Differences
param a : real
param b : positive
param c : positive
for n in N:
    latent h[n] ~ Normal(a, b)
    latent k[n] ~ Normal(0, c)
    observed y[n] ~ Delta(h[n] - k[n])
infer k by saem
""",  # beside other draws of k what was drawn of h is impossible
        """model Bowl
param s : positive
for n in N:
    given  w[n] : real
    latent u[n] ~ Uniform(-1, 2)
    factor w[n] * u[n]^2
    observed y[n] ~ Normal(u[n], s)
infer u by mcmc
""",  # nothing draws from a joint with a factor
        """model End
param r : real ~ Normal(0.5, 2)
param s : positive ~ Gamma(2, 1)
observed b ~ Normal(r, s)
""",  # Q has its maximum at s = 0, which a climb comes near
        """model Least
param s : positive
param c : positive
for n in N:
    latent b[n] ~ Normal(0, s)
    observed y[n] ~ Normal(b[n], 1)
    latent one[n] ~ Exponential(c)
    latent two[n] ~ Exponential(c)
    observed x[n] ~ Delta(min(one[n], two[n]))
infer b by mcmc
""",  # which was the least is drawn beside b, and has no name
        """model Few
param r[3] : real
param s : positive
for n in N:
    given x[n] : real[3]
    given w[n] : real[3]
    latent h[n] ~ Normal(0, 1)
    observed y[n] ~ Normal(x[n] @ r + w[n][0] * h[n], s)
infer h by mcmc
""",
        """model Told
param p : unit
for n in N:
    for j in 3:
        latent b[n, j] ~ Bernoulli(p)
    latent all[n] ~ Delta(b[n, 0] + b[n, 1] + b[n, 2])
    observed y[n] ~ Normal(all[n], 1)
""",  # a function of others, which no posterior tells of
        """model Loops
for s in S:
    for t in T[s]:
        given a[s, t] : real
for u in S:
    observed m[u] ~ Normal(sum(a[u]), 1)
""",  # a sum over a row whose plate has another loop's name
        """model Chunks
param b : real[2]
for g in G:
    latent tau[g] ~ Gamma(2, 3)
    latent m[g] ~ MvNormal(b, eye(2) / tau[g])
    for n in N:
        given x[g, n] : real[2]
        observed y[g, n] ~ Normal(x[g, n] @ m[g], var = 1 / tau[g])
""",  # of rows beyond the first chunk there was no linear term: a fit of many raised
    ],
    ids=lambda text: text.split()[1],
)
def test_no_false_alarms(text: str) -> None:
    """Each was one, of nights with `infer` lines, or a fault of its own."""
    assert emdsl.compile(text=text).verify(apart=False).passed


def test_slopes_of_a_bound_by_few_points_are_asked_at_more() -> None:
    """Fifteen points leave 6e-5 of a slope of r: a false alarm, or not checked at all (night 9615, model 48)."""
    text = """
model Nest
param p : positive
param q : positive
param r : real
latent top ~ Normal(0, p)
for a in G:
    latent nest[a] ~ Normal(top, q)
for n in N:
    given of[n] : index[G]
    observed y[n] ~ Gamma(2, rate = exp(r + nest[of[n]]))
infer nest by meanfield
"""
    found = verify.certify(emdsl.compile(text=text), 0, False, (bounds.NAME,))
    assert {c.status for c in found.checks if c.name.startswith("Fisher's identity of the bound")} == {"passed"}
