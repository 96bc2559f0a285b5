"""The posteriors that generated modules carry, against declared densities, quadrature and a table written by hand.

A row added to the table is tested with no new code here; the hand-written rows add the far ends.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from natural import NATURALS
from scipy import integrate, special, stats

import emdsl
from emdsl.derive.joint.records import POSTERIORS
from emdsl.families.density import expression_log_density
from emdsl.families.drawing import draw
from emdsl.families.kernels_natural import gig_log_bessel, gig_log_normaliser, gig_parts, gig_power, standard_truncated
from emdsl.families.normalised import quadrature, random_arguments
from emdsl.families.table import PRELUDE, RECORDS
from emdsl.runtime.numeric import cut_normals, posteriors

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow to infinity is a right answer here

SAME = {"log^2": "log_square"}
ROWS = 8
ENDS = {"real": (-np.inf, np.inf), "positive": (0, np.inf), "unit": (0, 1)}
T = {
    "id": lambda v: v, "square": np.square, "recip": lambda v: 1 / v, "log": np.log, "log1m": lambda v: np.log1p(-v),
    "log^2": lambda v: np.log(v) ** 2, "cos": np.cos, "sin": np.sin, "exp": np.exp,
    "inv": np.linalg.inv, "logdet": lambda v: np.linalg.slogdet(v)[1],
}  # fmt: skip


def natural(record):
    """Random arguments of the declared family, its natural parameters, one array for each statistic, and A.

    These are solved from the density itself: it is linear in the statistics, with A as the constant.
    """
    family, n = PRELUDE()[record.name], len(record.statistics)
    rng = np.random.default_rng(3)
    args = list(random_arguments(family, 0, dict.fromkeys(family.sizes, 3), rng, ROWS).values())
    event = (3,) * record.rank
    points = np.stack([draw(family, 0, rng, (ROWS,), args, event) for _ in range(6 * (n + 1))])
    density = np.stack([expression_log_density(family, 0, p, args) for p in points])
    eta, constant = [], []
    for row in range(ROWS):
        columns = [np.asarray(T[s](points[:, row])).reshape(len(points), -1) for s in record.statistics]
        design = np.column_stack([*columns, np.ones(len(points))])
        found = np.linalg.lstsq(design, density[:, row], rcond=None)[0]
        assert np.abs(design @ found - density[:, row]).max() < 1e-7  # it is a family over these statistics
        eta.append(np.split(found[:-1], np.cumsum([c.shape[1] for c in columns])[:-1]))
        constant.append(-found[-1])
    shapes = [() if s == "logdet" else event for s in record.statistics]
    stacked = [np.stack([e[k] for e in eta]).reshape(ROWS, *shape) for k, shape in enumerate(shapes)]
    return args, stacked, np.array(constant)


@pytest.mark.parametrize("record", POSTERIORS, ids=lambda r: r.name)
def test_the_normaliser_and_the_arguments_are_the_declared_familys(record):
    args, eta, constant = natural(record)
    value, said = getattr(posteriors, record.kernel)(*eta)
    np.testing.assert_allclose(value, constant, rtol=1e-6, atol=1e-6)
    declared = {a.name: v for a, v in zip(PRELUDE()[record.name].signatures[0].arguments, args, strict=True)}
    declared |= {"precision": declared["sd"] ** -2.0} if "sd" in declared else {}
    for argument, statistic, factor, constant_part in record.arguments:  # as derivations print them
        linear = factor * eta[record.statistics.index(statistic)] + constant_part
        known = declared[argument] if argument in declared else said["arguments"][argument]
        np.testing.assert_allclose(linear, known, rtol=1e-4, atol=1e-6)
    for field in set(record.fields) & set(declared):
        ours, theirs = said["arguments"][field], declared[field]
        turn = 2 * np.pi if record.name == "VonMises" and field == "mean" else np.inf
        gap = ours - theirs
        assert np.abs(gap - (turn * np.round(gap / turn) if np.isfinite(turn) else 0)).max() < 1e-4 * (
            1 + np.abs(theirs).max()
        )


@pytest.mark.parametrize("record", [r for r in POSTERIORS if not r.rank], ids=lambda r: r.name)
def test_normaliser_and_moments_are_integrals(record):
    """Also beside the declared family's own natural parameters (a prior and data that do not match)."""
    _, eta, _ = natural(record)
    low, high = (-np.pi, np.pi) if record.name == "VonMises" else ENDS[record.support]
    compared = 0
    for scale in (1.0, 1.3):
        value, said = getattr(posteriors, record.kernel)(*(scale * e for e in eta))
        assert set(record.moments) <= set(said)
        for row in range(3):
            here = [scale * e[row] for e in eta]

            def density(v, here=here, a=value[row]):
                return np.exp(sum(e * T[s](v) for s, e in zip(record.statistics, here, strict=True)) - a)

            assert quadrature(density, low, high) == pytest.approx(1, rel=1e-6)
            for name in record.moments:
                if np.isfinite(said[name][row]):
                    of = T[name] if name != "var" else lambda v, m=said["id"][row]: np.square(v - m)
                    found = quadrature(lambda v, of=of: density(v) * of(v), low, high)
                    if found is None or np.isinf(found):  # it does not settle, or falls beyond 1e30 alone
                        continue
                    compared += 1
                    assert said[name][row] == pytest.approx(found, rel=1e-5, abs=1e-7), name
    assert compared >= 3 * len(record.statistics)


@pytest.mark.parametrize("record", POSTERIORS, ids=lambda r: r.name)
def test_moments_of_statistics_are_the_gradient_of_the_normaliser(record):
    _, eta, _ = natural(record)
    kernel = getattr(posteriors, record.kernel)
    said = kernel(*eta)[1]
    rng = np.random.default_rng(2)
    way = [rng.normal(size=e.shape) * 0.05 * np.abs(e) for e in eta]
    up, down = (kernel(*(e + s * 1e-4 * w for e, w in zip(eta, way, strict=True)))[0] for s in (1, -1))
    expected = sum((w * said[s]).reshape(ROWS, -1).sum(1) for s, w in zip(record.statistics, way, strict=True))
    np.testing.assert_allclose((up - down) / 2e-4, expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- against the table written by hand


def arguments(row):
    """Canonical arguments: of the declared family, or positive numbers where no family is declared."""
    rng = np.random.default_rng(3)
    if row.family not in PRELUDE():
        return [rng.gamma(3, 0.7, ROWS) for _ in RECORDS[row.family].kernel.arguments]
    family = PRELUDE()[row.family]
    signature = next(
        k for k, f in enumerate(RECORDS[row.family].forms) if f.arguments == RECORDS[row.family].kernel.arguments
    )
    return list(random_arguments(family, signature, dict.fromkeys(family.sizes, 3), rng, ROWS).values())


def written(record):
    """The row over the same statistics, if there is one, and the record's statistics in its names."""
    names = [SAME.get(s, s) for s in record.statistics]
    found = [r for r in NATURALS if set(r.statistics) == set(names) and r.axes[0] == record.rank and r.base is None]
    return next((r for r in found if r.support in (record.support, "angle")), None), names


WRITTEN = [record for record in POSTERIORS if written(record)[0] is not None]


@pytest.mark.parametrize("record", WRITTEN, ids=lambda r: r.name)
def test_same_log_normaliser_and_moments(record):
    row, names = written(record)
    eta = dict(zip(row.statistics, row.natural(*arguments(row)), strict=True))
    value, said = getattr(posteriors, record.kernel)(*(eta[n] for n in names))
    ours = [eta[n] for n in row.statistics]
    np.testing.assert_allclose(value, row.log_normaliser(*ours), rtol=1e-9, atol=1e-9)
    expected = dict(zip(row.statistics, row.moments(*ours), strict=True)) | {k: f(*ours) for k, f in row.extra.items()}
    assert set(record.moments) <= set(said)
    for name in record.moments:
        known = expected.get(SAME.get(name, name))
        if known is not None:
            np.testing.assert_allclose(said[name], known, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("record", WRITTEN, ids=lambda r: r.name)
def test_wide_range_of_natural_parameters(record):
    """No NaN and no infinity between a nearly flat posterior and a very sharp one."""
    row, names = written(record)
    for scale in (1e-2, 1.0, 1e4):
        eta = dict(zip(row.statistics, (scale * e for e in row.natural(*arguments(row))), strict=True))
        ours = [eta[n] for n in row.statistics]
        proper = row.valid(*ours)
        value, said = getattr(posteriors, record.kernel)(*(eta[n] for n in names))
        assert np.isfinite(value)[proper].all()
        for name in record.statistics:
            assert np.isfinite(said[name])[proper].all(), (name, scale)
        np.testing.assert_allclose(np.asarray(value)[proper], row.log_normaliser(*ours)[proper], rtol=1e-8)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, np.inf), (30, np.inf), (1e4, np.inf), (-np.inf, -8), (1, 1.0000001), (20, 20.01), (-30, 2), (-1, 1)],
)
def test_a_cut_normal_keeps_its_digits(low: float, high: float) -> None:
    """Against sixty digits: where the ends' densities cancel, and where the mass is below the smallest double."""
    with mp.workdps(60):
        mass = mp.ncdf(-low) - mp.ncdf(-high) if low > 0 else mp.ncdf(high) - mp.ncdf(low)
        at = [mp.npdf(v) if np.isfinite(v) else mp.mpf(0) for v in (low, high)]
        mean = (at[0] - at[1]) / mass
        ends = [mp.mpf(v) if np.isfinite(v) else mp.mpf(0) for v in (low, high)]
        variance = 1 + (ends[0] * at[0] - ends[1] * at[1]) / mass - mean**2
        expected = [float(v) for v in (mp.log(mass), mean, variance)]
    np.testing.assert_allclose([float(v) for v in standard_truncated(low, high)], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("id", "square", "low", "high"),
    [(1, 2, -1, 2), (0, 50, -1, 1), (3, 200, -4, 4), (-200, 1, 99, 102), (5e4, 1, 0, 1), (1, -0.1, 0, 2)],
)
def test_between_bounds_a_density_may_grow_with_the_square(id: float, square: float, low: float, high: float) -> None:
    """Against more digits: the likelihood was NaN wherever the square was positive and not next to nothing."""
    total, said = cut_normals.cut_normal_posterior(*(np.array(float(v)) for v in (id, square, low, high)))
    with mp.workdps(25):
        top = max(id * v + square * v**2 for v in (low, high))
        parts = [low + (high - low) * mp.mpf(k) / 4 for k in range(5)]
        parts = sorted(
            {*parts, *(v + s * (high - low) / mp.mpf(4) ** k for v, s in ((low, 1), (high, -1)) for k in range(1, 12))}
        )
        norm = mp.quad(lambda u: mp.exp(id * u + square * u**2 - top), parts)
        mean = mp.quad(lambda u: u * mp.exp(id * u + square * u**2 - top), parts) / norm
        var = mp.quad(lambda u: (u - mean) ** 2 * mp.exp(id * u + square * u**2 - top), parts) / norm
        expected = [float(v) for v in (top + mp.log(norm), mean, var)]
    np.testing.assert_allclose([float(v) for v in (total, said["id"], said["var"])], expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    ("p", "a", "b"), [(0.5, 1, 1e-12), (200, 1, 1), (-300, 2, 1), (3, 1e-6, 1e-6), (2.5, 1e6, 1e6)]
)
def test_bessel_functions_beyond_their_range(p: float, a: float, b: float) -> None:
    with mp.workdps(40):
        omega, scale, h = mp.sqrt(mp.mpf(a) * b), mp.sqrt(mp.mpf(b) / a), mp.mpf(10) ** -12
        bessel = mp.besselk(p, omega)
        slope = (mp.log(mp.besselk(p + h, omega)) - mp.log(mp.besselk(p - h, omega))) / (2 * h)
        ratio = mp.besselk(p + 1, omega) / bessel
        expected = [mp.log(2 * bessel) + p * mp.log(scale), scale * ratio, slope + mp.log(scale)]
        expected = [float(v) for v in expected]
    root, ratio_of_roots = gig_parts(p, a, b)
    log_mean = gig_log_bessel(p, root)[1] + np.log(ratio_of_roots)
    found = gig_log_normaliser(p, a, b), gig_power(1, p, a, b), log_mean
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-11)


@pytest.mark.parametrize("p", [0.3, 1.0, 2.5, 40.0])
def test_a_generalised_inverse_gaussian_of_which_nothing_was_seen_is_a_gamma(p: float) -> None:
    """Its second rate is 0; where it is merely tiny, Bessel functions tell the moments."""
    total, moments = posteriors.generalised_inverse_gaussian_posterior(np.array(p - 1), np.array(-1.5), np.array(0.0))
    np.testing.assert_allclose(total, special.gammaln(p) - p * np.log(1.5), rtol=1e-12)
    np.testing.assert_allclose(moments["id"], p / 1.5, rtol=1e-12)
    np.testing.assert_allclose(moments["log"], special.digamma(p) - np.log(1.5), rtol=1e-12)
    for omega in (1e-3, 3.0) if p == 40.0 else (1e-8, 1e-3, 3.0):  # K_40 of 1e-8 is beyond floating point
        _, moments = posteriors.generalised_inverse_gaussian_posterior(np.array(p - 1), *[np.array(-omega / 2)] * 2)
        np.testing.assert_allclose(moments["id"], special.kve(p + 1, omega) / special.kve(p, omega), rtol=1e-12)
        np.testing.assert_allclose(moments["recip"], special.kve(p - 1, omega) / special.kve(p, omega), rtol=1e-12)


def test_a_laplace_as_a_mixture_of_normals_with_a_gap() -> None:
    text = """model Mixed
param b : positive
for n in N:
    latent w[n] ~ Exponential(1/(2*b^2))
    observed y[n] ~ Normal(0, var = w[n])
"""
    y = np.array([0.3, -0.2, np.nan, 2.0])
    est = emdsl.compile(text=text).fitter(max_iter=1, tol=1e9, init={"b": 1.5}).fit({"y": y})
    wanted = np.where(np.isnan(y), 0.0, stats.laplace.logpdf(np.nan_to_num(y), 0, est.params_["b"]))
    np.testing.assert_allclose(est.score_samples({"y": y}), wanted, atol=1e-12)
    assert est.log_likelihood_ == pytest.approx(wanted.sum(), rel=1e-12)


@pytest.mark.parametrize("prior, seen", [
    ("Uniform(0, 2)", "Normal(u[g[n]], 0.7)"), ("Gamma(2, 0.7)", "Normal(0, var = u[g[n]])"),
    ("InverseGaussian(2, 0.7)", "Poisson(u[g[n]])"),
])  # fmt: skip
def test_groups_of_which_some_have_no_rows(prior: str, seen: str) -> None:
    """Their posterior is the prior; the others' means are integrals."""
    text = f"""model Groups
for i in I: latent u[i] ~ {prior}
for n in N:
    given g[n] : index[I]
    observed y[n] ~ {seen}
"""
    y, g = np.array([1.0, 2.0, 0.0]), np.array([0, 0, 2])
    est = emdsl.compile(text=text).fitter(sizes={"I": 4}).fit({"y": y, "g": g})
    log_prior = {"U": lambda u: -np.log(2), "G": lambda u: stats.gamma.logpdf(u, 2, scale=1 / 0.7),
                 "I": lambda u: stats.invgauss.logpdf(u, 2 / 0.7, scale=0.7)}[prior[0]]  # fmt: skip
    kernel = {"U": lambda y, u: stats.norm.logpdf(y, u, 0.7), "G": lambda y, u: stats.norm.logpdf(y, 0, np.sqrt(u)),
              "I": lambda y, u: stats.poisson.logpmf(y, u)}[prior[0]]  # fmt: skip
    total = 0.0
    for i in range(4):

        def density(u: float, i: int = i) -> float:
            return float(np.exp(log_prior(u) + kernel(y[g == i], u).sum()))

        points = {"points": [0.02, 0.1, 0.5, 2, 8, 40, 200]} if prior[0] != "U" else {}
        mass, first = (
            integrate.quad(lambda u, k=k: u**k * density(u), 0, 2 if prior[0] == "U" else 1000, limit=200, **points)[0]
            for k in (0, 1)
        )
        total += np.log(mass)
        assert est.posterior_["u"]["mean"][i] == pytest.approx(first / mass, rel=1e-6)
    assert est.log_likelihood_ == pytest.approx(total, rel=1e-7)
