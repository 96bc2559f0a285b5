"""Every family and parameterisation in the table, by tests that know none of them.

A family added to the prelude and the table is tested with no new code here; SCIPY is an oracle
where scipy has one.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as st
from natural import NATURALS, STATISTICS

from emdsl.families import PRELUDE, RECORDS, form, record
from emdsl.families.density import arrange, expression_log_density, limits, log_density
from emdsl.families.drawing import draw
from emdsl.families.evaluate import evaluate
from emdsl.families.moments import MOMENTS, moments
from emdsl.families.normalised import check_normalised, integral, quadrature, random_arguments
from emdsl.families.scope import Scope

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the ends of every domain are reached on purpose

FORMS = [(name, k) for name, family in PRELUDE().items() for k in range(len(family.signatures))]
KERNELS = sorted(RECORDS)
ROWS = 10
OWN_ENDS = {
    "GeneralizedInverseGaussian": lambda p, a, b: (0, np.inf),
    "TruncatedNormal": lambda mean, sd, low, high: (low, high),
}
ENDS = {"real": (-np.inf, np.inf), "positive": (0, np.inf), "unit": (0, 1), "angle": (-np.pi, np.pi)}

SCIPY = {
    "Bernoulli": lambda p: st.bernoulli(p),
    "Binomial": lambda n, p: st.binom(n, p),
    "Multinomial": lambda p, n: st.multinomial(n, p),
    "Poisson": lambda rate: st.poisson(rate),
    "Geometric": lambda p: st.geom(p, loc=-1),
    "NegativeBinomial": lambda size, p: st.nbinom(size, p),
    "Normal": lambda m, s: st.norm(m, s),
    "MvNormal": lambda m, c: st.multivariate_normal(m, c),
    "LogNormal": lambda m, s: st.lognorm(s, scale=np.exp(m)),
    "Laplace": lambda m, b: st.laplace(m, b),
    "StudentT": lambda df, m, s: st.t(df, m, s),
    "MvStudentT": lambda df, m, s: st.multivariate_t(m, s, df),
    "Exponential": lambda r: st.expon(scale=1 / r),
    "Gamma": lambda a, r: st.gamma(a, scale=1 / r),
    "InverseGamma": lambda a, r: st.invgamma(a, scale=r),
    "Weibull": lambda a, s: st.weibull_min(a, scale=s),
    "InverseGaussian": lambda m, a: st.invgauss(m / a, scale=a),
    "Beta": lambda a, b: st.beta(a, b),
    "Dirichlet": lambda a: st.dirichlet(a),
    "Wishart": lambda df, s: st.wishart(df, s),
    "InverseWishart": lambda df, s: st.invwishart(df, s),
    "VonMises": lambda m, k: st.vonmises(k, loc=m),
    "Uniform": lambda a, b: st.uniform(a, b - a),
    "GeneralizedInverseGaussian": lambda p, a, b: st.geninvgauss(p, np.sqrt(a * b), scale=np.sqrt(b / a)),
    "TruncatedNormal": lambda m, s, a, b: st.truncnorm((a - m) / s, (b - m) / s, m, s),
}
OWN_ARGUMENTS = {  # of the families that no declaration introduces
    "GeneralizedInverseGaussian": lambda rng: (rng.normal(size=ROWS), *rng.gamma(3, 1, (2, ROWS))),
    "TruncatedNormal": lambda rng: (
        rng.normal(size=ROWS),
        rng.gamma(3, 0.5, ROWS),
        *np.array([[-0.5], [2.5]]) + np.zeros(ROWS),
    ),
}


def pick(name, signature, seed=0, rows=ROWS):
    """A family, random arguments (rows + own axes) in order, and draws under them."""
    family = PRELUDE()[name]
    rng = np.random.default_rng([seed, signature])
    sizes = dict.fromkeys(family.sizes, 3)
    near, far = (random_arguments(family, signature, sizes, rng, rows // 2, reach) for reach in (1.0, 9.0))
    drawn = {k: np.concatenate([near[k], far[k]]) for k in near}
    ranks = {a.name: len(a.domain.dims) for a in family.signatures[signature].arguments}
    args = arrange(family, signature, {k: (v, ranks[k]) for k, v in drawn.items()}, len(family.x.domain.dims))
    event = (3,) * len(family.x.domain.dims)
    extra = [np.full(rows, 7)] if form(family, signature).given else []
    return family, args, draw(family, signature, rng, (rows,), [*args, *extra], event)


def canonical(name, seed=0):
    """Random canonical arguments of a kernel, rows first, and the shape of one variate."""
    if name in OWN_ARGUMENTS:
        return list(OWN_ARGUMENTS[name](np.random.default_rng(seed))), ()
    family = PRELUDE()[name]
    k = next(i for i, f in enumerate(RECORDS[name].forms) if f.arguments == RECORDS[name].kernel.arguments)
    return pick(name, k, seed)[1], (3,) * len(family.x.domain.dims)


def many(name, n, seed=0):
    """n draws for each row of canonical arguments: (n, ROWS) + event."""
    args, _ = canonical(name, seed)
    return args, RECORDS[name].kernel.sample(np.random.default_rng(seed + 1), (n, ROWS), *args)


def ends(name, args):
    """The ends of a scalar kernel's support at one row of canonical arguments."""
    if name in OWN_ENDS:
        return OWN_ENDS[name](*args)
    local = {k: np.array([v]) for k, v in zip(RECORDS[name].kernel.arguments, args, strict=True)}
    return tuple(float(v[0]) for v in limits(PRELUDE()[name].x.domain, Scope(local=local)))


def expand(variance, like):
    """scipy's variances of a vector as the diagonal that stands in ours."""
    variance = np.asarray(variance)
    return variance if variance.shape == np.shape(like) else like - np.diag(np.diag(like) - variance)


def largest(value):
    """The largest entry in absolute value of each row, on the row's own axes."""
    return np.abs(value).max(tuple(range(1, np.ndim(value))), keepdims=True)


# ---------------------------------------------------------------- declarations and kernels


@pytest.mark.parametrize("name", PRELUDE())
def test_every_declaration_has_its_form(name):
    family = PRELUDE()[name]
    declared = [tuple(a.name for a in s.arguments) for s in family.signatures]
    assert declared == [f.arguments for f in record(family).forms]


@pytest.mark.parametrize(("name", "signature"), FORMS)
def test_kernel_is_the_declared_density(name, signature):
    family, args, x = pick(name, signature, rows=40)
    got, said = log_density(family, signature, x, args), expression_log_density(family, signature, x, args)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, said, rtol=1e-9, atol=1e-9)
    outside = np.full_like(np.asarray(x, float), -0.5 if family.x.domain.lower is None else -50.5)
    if family.x.domain.kind != "real" or family.x.domain.lower is not None:
        assert (log_density(family, signature, outside, args) == -np.inf).all()
        assert (expression_log_density(family, signature, outside, args) == -np.inf).all()


@pytest.mark.parametrize(("name", "signature"), FORMS)
def test_signatures_agree_through_canonical_arguments(name, signature):
    family, args, x = pick(name, signature)
    by = form(family, signature)
    if by.canonical is None or by.given is not None:
        return
    through = by.canonical(*args, x.shape[1:]) if by.event else by.canonical(*args)
    value = record(family).kernel.log_density(x, *through)
    np.testing.assert_allclose(value, log_density(family, signature, x, args), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "signature"), [f for f in FORMS if moments(PRELUDE()[f[0]], f[1])])
def test_moments_in_the_language_are_those_of_the_kernel(name, signature):
    """What is missing is told by these: mean and spread of the Gaussian, where both exist."""
    family, rng = PRELUDE()[name], np.random.default_rng(signature)
    known, sizes, checked = moments(family, signature), dict.fromkeys(family.sizes, 3), 0
    for _ in range(ROWS):
        drawn = random_arguments(family, signature, sizes, rng)
        values, x = {n: v[0] for n, v in drawn.items()}, family.x.domain
        if not all(e is None or evaluate(e, values, sizes) for e in (known.mean_exists, known.variance_finite)):
            continue
        told = {n: evaluate(e, values, sizes) for n, e in known.gaussian.args}
        ranks = {a.name: len(a.domain.dims) for a in family.signatures[signature].arguments}
        args = arrange(family, signature, {n: (v, ranks[n]) for n, v in drawn.items()}, len(x.dims))
        by = form(family, signature)
        canonical_args = args if by.canonical is None else by.canonical(*args, *[x.dims and (3,)] * by.event)
        kernel = record(family).kernel
        mean, variance = kernel.mean(*canonical_args)[0], kernel.variance(*canonical_args)[0]
        np.testing.assert_allclose(told.get("mean", told.get("value")), mean, rtol=1e-10)
        least = (np.eye(3) if x.dims else 1.0) if (x.discrete or x.kind == "simplex") else 0.0
        spreads = {"sd": np.square, "var": np.asarray, "cov": np.asarray,
                   "precision": np.linalg.inv if x.dims else np.reciprocal}  # fmt: skip
        for word in told.keys() & spreads.keys():
            np.testing.assert_allclose(spreads[word](told[word]), variance + least, rtol=1e-9, atol=1e-12)
        checked += 1
    assert checked


def test_numbers_have_moments_in_the_language():
    """A direction has a mean of its own kind, and a label has probabilities."""
    numbers = {n for n, f in PRELUDE().items() if not f.x.domain.dims and f.x.domain.kind not in ("bool", "category")}
    assert numbers - MOMENTS.keys() == {"VonMises"}


@pytest.mark.parametrize(("name", "signature"), FORMS)
def test_density_integrates_to_one(name, signature):
    family, by = PRELUDE()[name], form(PRELUDE()[name], signature)
    if record(family).atom:
        return
    totals = []
    draws = 1 if len(family.x.domain.dims) == 2 else 4  # an integral over matrices takes seconds
    for seed in range(draws):
        rng = np.random.default_rng([seed, signature])
        sizes = dict.fromkeys(family.sizes, 2)
        args = random_arguments(family, signature, sizes, rng)
        if by.given is None:
            totals.append(integral(family, signature, args, sizes))
        else:
            x = np.stack(np.meshgrid(np.arange(6), np.arange(6), indexing="ij"), -1).reshape(-1, 2)
            x = x[by.given(x) == 5]
            totals.append(np.exp(expression_log_density(family, signature, x, list(args.values()))).sum())
    said = [t for t in totals if t is not None]
    assert said == pytest.approx([1] * len(said), abs=2e-4)
    assert len(said) >= min(draws, 2)


@pytest.mark.parametrize("name", SCIPY)
def test_density_is_scipys(name):
    args, x = many(name, 1)
    ours = RECORDS[name].kernel.log_density(x[0], *args)
    for row in range(ROWS):
        theirs = SCIPY[name](*(a[row] for a in args))
        log_p = theirs.logpmf if hasattr(theirs, "logpmf") and not hasattr(theirs, "pdf") else None
        if log_p is None:
            is_discrete = PRELUDE().get(name) is not None and PRELUDE()[name].x.domain.kind in ("bool", "count")
            log_p = theirs.logpmf if is_discrete else theirs.logpdf
        assert ours[row] == pytest.approx(float(np.squeeze(log_p(x[0][row]))), rel=1e-8, abs=1e-8)
        spread = RECORDS[name].kernel.variance(*args)[row]
        if hasattr(theirs, "var") and np.isfinite(spread).all() and name != "VonMises":  # scipy's is the circular one
            np.testing.assert_allclose(spread, expand(theirs.var(), spread), rtol=1e-6)


# ---------------------------------------------------------------- kernels


@pytest.mark.parametrize("name", KERNELS)
def test_draws_have_the_mean_and_the_variance(name):
    n = 40_000
    args, x = many(name, n)
    kernel = RECORDS[name].kernel
    mean, variance = (np.asarray(m, float) for m in (kernel.mean(*args), kernel.variance(*args)))
    centred = x - x.mean(0)
    square = centred[..., :, None] * centred[..., None, :] if variance.ndim == centred.ndim else centred**2
    each = np.diagonal(variance, axis1=-2, axis2=-1) if variance.ndim == centred.ndim else variance
    error = np.sqrt(each / n) + 1e-12
    alike = np.abs(x.std(0) - np.sqrt(each)) < 0.2 * np.sqrt(each)
    good = np.isfinite(mean) & np.isfinite(error) & alike
    assert good.any() or not each.any()
    assert (np.abs(x.mean(0) - mean) < 5 * error)[good].all()
    if x.ndim > 2 or x.dtype != float:
        fourth = np.sqrt(square.var(0) / n) + 1e-12
        steady = np.abs(square[: n // 2].std(0) / (square.std(0) + 1e-12) - 1) < 0.03
        trusted = steady & np.isfinite(variance) & (fourth < 0.016 * largest(variance))  # heavy tails have no error bar
        assert (np.abs(square.mean(0) - variance) < 5 * fourth)[trusted].all()
        assert trusted.any()


@pytest.mark.parametrize("name", [n for n in KERNELS if many(n, 1)[1].dtype == float and many(n, 1)[1].ndim == 2])
def test_mean_and_variance_are_integrals(name):
    args, _ = many(name, 1)
    kernel = RECORDS[name].kernel
    if RECORDS[name].atom:
        return
    mean, variance = kernel.mean(*args), kernel.variance(*args)
    said = 0
    for k in np.flatnonzero(np.isfinite(mean) & np.isfinite(variance) & (np.abs(mean) < 1e3)):
        here = [a[k] for a in args]
        powers = [lambda v: v, lambda v: (v - mean[k]) ** 2]  # noqa: B023
        for power, value in zip(powers, (mean[k], variance[k]), strict=True):
            f = lambda v: np.exp(kernel.log_density(v, *here)) * power(v)  # noqa: B023, E731
            with np.errstate(all="ignore"):
                found = quadrature(f, *ends(name, here))
            said += found is not None
            assert found is None or found == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert said > 3


@pytest.mark.parametrize("name", KERNELS)
def test_mode_is_where_the_density_peaks(name):
    args, x = many(name, 200)
    kernel = RECORDS[name].kernel
    mode = np.asarray(kernel.mode(*args))
    proper = np.isfinite(mode.reshape(ROWS, -1)).all(1)
    assert proper.any()
    top = kernel.log_density(mode, *args)
    toward = [mode + step * (x - mode) for step in ((1.0,) if np.issubdtype(x.dtype, np.integer) else (1.0, 0.1, 1e-3))]
    for there in toward:
        value = kernel.log_density(there, *args)
        assert (value <= top + 1e-9 + 1e-7 * np.abs(top))[:, proper].all()


@pytest.mark.parametrize("name", [n for n in KERNELS if RECORDS[n].kernel.cdf is not None])
def test_distribution_function_counts_the_draws(name):
    n = 20_000
    args, x = many(name, n)
    kernel = RECORDS[name].kernel
    for q in (x[0], x[1] + 0.5):
        below = kernel.cdf(q, *args)
        np.testing.assert_allclose(below + kernel.sf(q, *args), 1, atol=1e-10)
        assert (np.abs((x <= q).mean(0) - below) < 5 * np.sqrt(0.25 / n)).all()
    assert (kernel.cdf(np.full(ROWS, -1e9), *args) < 1e-3).all()


@pytest.mark.parametrize("name", [n for n in KERNELS if RECORDS[n].kernel.marginal is not None])
def test_marginal_is_the_integral_over_the_rest(name):
    args, _ = canonical(name)
    kernel = RECORDS[name].kernel
    keep = np.array([True, False, True])
    at = np.array([0.3, 0.0, -0.2])
    row = [a[:1] for a in args]

    def joint(v):
        return np.exp(kernel.log_density(at + v[:, None] * ~keep, *row))

    marginal = np.exp(kernel.log_density(at[keep], *kernel.marginal(keep, *row)))
    assert quadrature(joint, -np.inf, np.inf) == pytest.approx(marginal[0], rel=1e-5)


# ---------------------------------------------------------------- natural parameters


def posterior(row, seed=0):
    args, event = canonical(row.family, seed)
    return args, row.natural(*args), event


def inner(row, eta, statistics):
    out = 0.0
    for axes, e, t in zip(row.axes, eta, statistics, strict=True):
        own = tuple(range(-axes, 0))
        out = out + ((e * t).sum(own) if axes else e * t)
    return out


@pytest.mark.parametrize("row", NATURALS, ids=lambda r: r.family)
def test_natural_parameters_say_the_density(row):
    args, eta, _ = posterior(row)
    assert row.valid(*eta).all()
    for a, b in zip(args, row.arguments(*eta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    x = RECORDS[row.family].kernel.sample(np.random.default_rng(5), (ROWS,), *args)
    value = inner(row, eta, [STATISTICS[t](x) for t in row.statistics]) - row.log_normaliser(*eta)
    value = value + (row.base(x) if row.base else 0)
    np.testing.assert_allclose(value, RECORDS[row.family].kernel.log_density(x, *args), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("row", NATURALS, ids=lambda r: r.family)
def test_moments_are_the_gradient_of_the_log_normaliser(row):
    _, eta, _ = posterior(row)
    rng = np.random.default_rng(2)
    way = [rng.normal(size=np.shape(e)) * 0.1 * np.abs(e) for e in eta]
    way = [(w + np.swapaxes(w, -1, -2)) / 2 if k == 2 else w for w, k in zip(way, row.axes, strict=True)]
    h = 1e-4
    up, down = (row.log_normaliser(*[e + s * h * w for e, w in zip(eta, way, strict=True)]) for s in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * h), inner(row, way, row.moments(*eta)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("row", NATURALS, ids=lambda r: r.family)
def test_other_moments_match_the_density_or_draws(row):
    args, eta, _ = posterior(row)
    kernel, n = RECORDS[row.family].kernel, 40_000
    moments = dict(zip(row.statistics, row.moments(*eta), strict=True)) | {k: f(*eta) for k, f in row.extra.items()}
    x = kernel.sample(np.random.default_rng(3), (n, ROWS), *args)
    for name, value in moments.items():
        if x.ndim == 2 and x.dtype == float:  # a scalar density: by quadrature
            assert np.isfinite(value).any(), name
            for k in np.flatnonzero(np.isfinite(value))[:3]:
                here = [a[k] for a in args]
                low, high = {"positive": (0, np.inf), "unit": (0, 1), "angle": (-np.pi, np.pi)}.get(
                    row.support, (-np.inf, np.inf)
                )
                f = lambda v: np.exp(kernel.log_density(v, *here)) * STATISTICS[name](v)  # noqa: B023, E731
                assert quadrature(f, low, high) == pytest.approx(value[k], rel=1e-4, abs=1e-6), name
        else:
            t = STATISTICS[name](x)
            error = t.std(0) / np.sqrt(n)
            trusted = np.isfinite(value) & (error < 0.01 * largest(value))
            assert trusted.any() and (np.abs(t.mean(0) - value) < 6 * error + 1e-9)[trusted].all(), name


def test_prelude_passes_the_check_it_asks_of_users():
    for family in PRELUDE().values():
        by = record(family).forms
        if not record(family).atom and not any(f.given for f in by) and not family.x.domain.dims:
            assert check_normalised(family) is None, family.name
