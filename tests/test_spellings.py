"""One model spelled in several ways is one model: the same likelihood and the same steps of EM."""

import mpmath
import numpy as np
import pytest
from gallery import written
from scipy.special import expit

from emdsl.report.derivation import Derivation

ITEMS = """
model Graded
param a : positive[J]
param c[J] : ordered[2]
for i in I:
    latent th[i] ~ Normal(0, 1)
    for j in J:
        observed y[i, j] : category[3] ~ Categorical({})
"""
GIVEN = ITEMS.replace("latent th[i] ~ Normal(0, 1)", "given th[i] : real")
OVER = "logistic(a[j] * th[i] - c[j, {}])"
FIRST, SECOND = OVER.format(0), OVER.format(1)
SPELLINGS = {
    "differences": f"[1 - {FIRST}, {FIRST} - {SECOND}, {SECOND}]",
    "a list beside 1 and 0": f"concat(1, [{FIRST}, {SECOND}]) - concat([{FIRST}, {SECOND}], 0)",
    "by comprehension": f"concat(1, [{OVER.format('k')} for k in 2]) - concat([{OVER.format('k')} for k in 2], 0)",
}


def drawn():
    rng = np.random.default_rng(1)
    th, c = rng.normal(size=10), np.sort(rng.normal(size=(3, 2)), 1)
    over = th[:, None] + rng.logistic(size=(10, 3))
    return th, c, (over[:, :, None] > c).sum(2)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SPELLINGS)
def test_the_likelihood_of_graded_answers(name):
    """A literal list read at y - 1 and at y: in no row do these disagree, and where they would, a log had no value."""
    th, c, y = drawn()
    fit = written(GIVEN.format(SPELLINGS[name])).fitter(max_iter=0, init={"a": np.ones(3), "c": c})
    steps = np.concatenate([np.ones((10, 3, 1)), expit(th[:, None, None] - c), np.zeros((10, 3, 1))], 2)
    p = np.take_along_axis(-np.diff(steps, axis=2), y[:, :, None], 2)
    assert fit.fit({"y": y, "th": th}).log_likelihood_ == pytest.approx(np.log(p).sum(), rel=1e-13)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_steps_of_graded_answers():
    """The slope of Q in c[j, y[i, j]] is of the item j alone: it had been that of all items."""
    _, c, y = drawn()
    fits = [
        written(ITEMS.format(text)).fitter(max_iter=2, init={"a": np.ones(3), "c": c}).fit({"y": y})
        for text in SPELLINGS.values()
    ]
    assert fits[0].history_[-1] > fits[0].history_[0] + 0.1
    for other in fits[1:]:
        np.testing.assert_allclose(other.history_, fits[0].history_, rtol=1e-7)


LINKS = {
    "logistic({})": lambda u: 1 / (1 + mpmath.exp(-u)),
    "Phi({})": mpmath.ncdf,
    "1 - exp(-exp({}))": lambda u: -mpmath.expm1(-mpmath.exp(u)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("link", LINKS)
def test_thresholds_far_off(link):
    """Both probabilities are 1, but for their last digits: the log of their difference had none (off by 1.6e-3, -inf).

    Not of exp(-exp(u)), whose digits are where it is small.
    """
    x = np.array([-30, -8, 0, 3.0] if "exp" in link else [-30, -8, 0, 9, 30.0])
    first, second = (f"({link})".format(f"b * x[n] - c[{k}]") for k in (0, 1))
    text = f"""
    model Ordinal
    param b : real
    param c : ordered[2]
    for n in N:
        given x[n] : real
        observed y[n] : category[3] ~ Categorical([1 - {first}, {first} - {second}, {second}])
    """
    init = {"b": 1.0, "c": [-0.3, 0.4]}
    fit = written(text).fitter(max_iter=0, init=init).fit({"x": x, "y": np.ones(len(x), int)})
    with mpmath.workdps(300):
        p = [LINKS[link](mpmath.mpf(v) + mpmath.mpf(0.3)) - LINKS[link](mpmath.mpf(v) - mpmath.mpf(0.4)) for v in x]
        wanted = float(sum(map(mpmath.log, p)))
    assert fit.log_likelihood_ == pytest.approx(wanted, rel=1e-13)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_power_beside_one() -> None:
    """1 - q^k of a count that is never 0 was 0 from k = 1e-16 on: divided by, it was an objective of 1e202."""
    text = """
    model Seen
    family Seen(x : count(min = 1) | k : positive, q : unit) =
        lgamma(x + k) - lgamma(k) - lgamma(x + 1) + k * log(q) + x * log(1 - q) - log(1 - q^k)
    param k : positive
    for n in N:
        observed y[n] ~ Seen(k, 0.3)
    """
    y = np.array([1, 1, 2, 4])
    model = written(text)
    with mpmath.workdps(50):
        for k in (1e-20, 1e-3, 2.0):
            ways = [mpmath.binomial(int(v) + mpmath.mpf(k) - 1, int(v)) * mpmath.mpf(0.7) ** int(v) for v in y]
            inside = mpmath.mpf(0.3) ** mpmath.mpf(k)
            wanted = float(sum(mpmath.log(w * inside / (1 - inside)) for w in ways))
            fit = model.fitter(max_iter=0, init={"k": k}).fit({"y": y})
            assert fit.log_likelihood_ == pytest.approx(wanted, rel=1e-12), k
    assert model.fitter(seed=0).fit({"y": y}).objective_ < 0


def test_covariances_of_classes_by_a_table_with_gaps():
    """What cells are missing and which covariance a class has are both looked up; their sums had been mixed up."""
    text = """
    model Shared
    param w : simplex[3]
    param m[3] : real[2]
    param S[2] : spd[2]
    let which = [0, 1, 0]
    for n in N:
        latent   c[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(m[c[n]], {})
    """
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 2)) + rng.integers(0, 3, 20)[:, None]
    x[rng.random(x.shape) < 0.2] = np.nan
    init = {"w": [0.3, 0.3, 0.4], "m": [[0, 0], [1, 1.2], [2, 1.8]], "S": [np.eye(2), [[0.7, -0.1], [-0.1, 1.2]]]}
    spelled = ("S[which[c[n]]]", "S[1] if c[n] == 1 else S[0]")
    one, other = (written(text.format(s)).fitter(max_iter=3, tol=0, init=init).fit({"x": x}) for s in spelled)
    np.testing.assert_allclose(one.history_, other.history_, rtol=1e-10)


@pytest.mark.parametrize(
    ("drawn", "by_probability", "by_logit"),
    [
        ("observed z[n]", "Bernoulli(logistic({}))", "Bernoulli(logit = {})"),
        ("observed z[n]", "Binomial(m[n], logistic({}))", "Binomial(m[n], logit = {})"),
        ("latent z[n]", "Bernoulli(logistic({}))", "Bernoulli(logit = {})"),
    ],
)
def test_a_logistic_probability_is_its_logit(drawn, by_probability, by_logit):
    """One derivation and one module: two softplus of opposite signs stood where a textbook has z a - softplus(a)."""
    text = f"""model M
param w : real[P]
for n in N:
    given x[n] : real[P]
    given m[n] : count
    {drawn} ~ {{}}
    observed y[n] ~ Normal({"z[n]" if "latent" in drawn else "0"}, 1)
"""
    one, other = (written(text.format(call.format("w @ x[n]"))) for call in (by_probability, by_logit))
    shown = [[s for s in Derivation.of(m.derived).to_dict()["steps"] if s["kind"] != "families"] for m in (one, other)]
    assert shown[0] == shown[1]
    assert "log1p" not in str(one.derivation)
    assert one.source.split('"""')[2] == other.source.split('"""')[2]
