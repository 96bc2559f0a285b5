"""Derivations broken one by one: each kind of fault in each kind of posterior and update is caught by its check, alone.

A fault stands where the plan has it (`broken.py` lists the sites): in a term of a posterior or of Q, in a statistic, or
in what an E-step hands on. The check is the only one that is made, so that without it the fault would pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from broken import EAGER, INDEX, PLATE, SIGN, STALE, install
from gallery import MODELS
from hypothesis import settings
from model_texts import TEXTS as MODEL_TEXTS

import emdsl
from emdsl.derive.posteriors.draws import known
from emdsl.fit import verify
from emdsl.fit.fitter import Fitter
from emdsl.fit.verify import answers, bounds, drawn
from emdsl.fit.verify.certificate import Check

NIGHT = settings.get_current_profile_name() == "nightly"
pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

LIKELIHOOD, GAPS, M_STEP, BOUND, TWICE = (
    "log-likelihood", "log-likelihood with gaps", "M-step", bounds.NAME, "two steps are one, twice",
)  # fmt: skip
AT_DRAWS = drawn.NAME

TEXTS = {
    "enumeration": """model Mix
param w : simplex[2]
param m[2] : real
param s[2] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    for j in J:
        observed y[n, j] ~ Normal(m[z[n]], s[z[n]])
""",
    "a chain": """model Chain
param first : simplex[2]
param trans[2] : simplex[2]
param m[2] : real
param s : positive
for i in I:
    for t in T:
        latent z[i, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[i, t-1]])
        observed y[i, t] ~ Normal(m[z[i, t]], s)
""",
    "a chain of second order": """model Second
param first : simplex[2]
param next[2] : simplex[2]
param trans[2, 2] : simplex[2]
param m[2] : real
param s : positive
for t in T:
    latent z[t] ~ Categorical(first) if t == 0 else Categorical(next[z[t-1]]) if t == 1 \
else Categorical(trans[z[t-2], z[t-1]])
    observed y[t] ~ Normal(m[z[t]], s)
""",
    "a Gamma behind counts": """model Counts
param a : positive
param b : positive
for g in G:
    latent u[g] ~ Gamma(a, b)
    for n in N:
        given e[g, n] : positive
        observed y[g, n] ~ Poisson(e[g, n] * u[g])
""",
    "points of a quadrature": """model Points
param b : real
param a : real
param s : positive
for g in G:
    latent u[g] ~ Normal(0, s)
    for n in N:
        given x[g, n] : real
        observed y[g, n] ~ Bernoulli(logit = a + b * x[g, n] + u[g])
infer u by quadrature(points = 15)
""",
    "states by mean-field": """model Blocks
param share : simplex[2]
param link[2, 2] : unit
for i in N:
    latent z[i] ~ Categorical(share)
for i in N:
    for j in N if j < i:
        observed y[i, j] ~ Bernoulli(link[z[i], z[j]])
infer z by meanfield
""",
    "configurations of tied states": MODEL_TEXTS["membership"][0],
    "tails": """model Censored
param w : simplex[2]
param r[2] : positive
for n in N:
    given    c[n] : positive
    latent   z[n] ~ Categorical(w)
    latent   t[n] ~ Exponential(r[z[n]])
    observed y[n] ~ Delta(min(t[n], c[n]))
""",
    "medians": """model Median
param w : simplex[2]
param m[2] : real
param s[2] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Laplace(m[z[n]], s[z[n]])
""",
    "priors": """model Prior
param p : simplex[2] ~ Dirichlet([3, 4])
param m[2] : real ~ Normal(1, 2)
param s : positive ~ Gamma(2, 3)
for n in N:
    latent   z[n] ~ Categorical(p)
    observed y[n] ~ Normal(m[z[n]], var = s)
""",
}
IN_GALLERY = {
    "a Gaussian chain": ("linear_dynamical_system", ""),
    "random effects": ("random_slopes", ""),
    "crossed effects": ("crossed_effects", ""),
    "a Gamma behind a Normal, coupled": ("student_free_df", ""),
    "a network": ("hidden_tree", ""),
    "mean-field": ("crossed_effects", "infer u, v by meanfield\n"),
    "a chain by mean-field": ("switching_linear_system", ""),
    "Dirichlet latents": ("latent_dirichlet_allocation", ""),
    "coupled Newton": ("negative_binomial", ""),
    "Newton for each class": ("mixture_of_experts", ""),
    "linear equations": ("mixture_of_regressions", ""),
    "factors": ("factor_analysis", ""),
    "gated fields": ("growth_mixture", ""),
    "drawn": ("random_intercepts", "infer b by mcmc\n"),
    "drawn along a chain": ("stochastic_volatility", ""),
    "cut Normals": ("probit_regression", ""),
}

# kind, fault, where it stands, the check that catches it
ROWS: list[tuple[str, str, str, str]] = [
    ("enumeration", SIGN, "z 1", LIKELIHOOD),
    ("enumeration", PLATE, "terms 3 2", M_STEP),
    ("enumeration", EAGER, "terms 1", M_STEP),
    ("enumeration", STALE, "z_n_y", TWICE),
    ("a chain", SIGN, "terms 1", M_STEP),
    ("a chain", PLATE, "z 1 2", LIKELIHOOD),
    ("a chain", INDEX, "statistic z_pair", M_STEP),
    ("a chain", EAGER, "z 1", LIKELIHOOD),
    ("a chain", STALE, "z_pair", TWICE),
    ("a chain of second order", SIGN, "z 1", LIKELIHOOD),
    ("a chain of second order", PLATE, "terms 1 2", M_STEP),
    ("a chain of second order", INDEX, "z 2", LIKELIHOOD),
    ("a chain of second order", EAGER, "terms 1", M_STEP),
    ("a chain of second order", STALE, "z_pair_1", TWICE),
    ("a chain of second order", PLATE, "statistic n_y of what is seen", GAPS),
    ("a Gaussian chain", SIGN, "terms 1", M_STEP),
    ("a Gaussian chain", PLATE, "h 0 Q", LIKELIHOOD),
    ("a Gaussian chain", INDEX, "terms 3", M_STEP),
    ("a Gaussian chain", STALE, "h_h_before", TWICE),
    ("random effects", SIGN, "b 1", LIKELIHOOD),
    ("random effects", PLATE, "terms 2 2", M_STEP),
    ("random effects", STALE, "cov_b", TWICE),
    ("crossed effects", SIGN, "terms 1", M_STEP),
    ("crossed effects", PLATE, "u 1 N", LIKELIHOOD),
    ("crossed effects", STALE, "cov_u", TWICE),
    ("a Gamma behind counts", SIGN, "u 2", LIKELIHOOD),
    ("a Gamma behind counts", PLATE, "statistic log_u G", M_STEP),
    ("a Gamma behind counts", EAGER, "terms 1", M_STEP),
    ("a Gamma behind counts", STALE, "log_u", TWICE),
    ("a Gamma behind a Normal, coupled", SIGN, "terms 3", M_STEP),
    ("a Gamma behind a Normal, coupled", PLATE, "u 1 N", GAPS),
    ("a Gamma behind a Normal, coupled", EAGER, "u 1", LIKELIHOOD),
    ("a Gamma behind a Normal, coupled", STALE, "log_u", TWICE),
    ("a network", SIGN, "z clique 1 0", LIKELIHOOD),
    ("a network", PLATE, "terms 1 K", M_STEP),
    ("a network", INDEX, "terms 1", M_STEP),
    ("a network", EAGER, "terms 1", M_STEP),
    ("a network", STALE, "z_2", TWICE),
    ("points of a quadrature", SIGN, "u 1", LIKELIHOOD),
    ("points of a quadrature", PLATE, "statistic count G", GAPS),
    ("points of a quadrature", STALE, "u_u", TWICE),
    ("mean-field", SIGN, "u 2", LIKELIHOOD),
    ("mean-field", PLATE, "statistic square_v J", BOUND),
    ("mean-field", EAGER, "u 1", LIKELIHOOD),
    ("mean-field", STALE, "square_u", TWICE),
    ("a chain by mean-field", SIGN, "rule 1", LIKELIHOOD),
    ("a chain by mean-field", PLATE, "rule 8 T", BOUND),
    ("a chain by mean-field", INDEX, "statistic rule_pair", BOUND),
    ("a chain by mean-field", STALE, "rule_pair", TWICE),
    ("states by mean-field", SIGN, "z clique 1 0", LIKELIHOOD),
    ("states by mean-field", PLATE, "terms 1 2", BOUND),
    ("states by mean-field", INDEX, "z clique 1 1", BOUND),
    ("states by mean-field", EAGER, "z clique 1 0", LIKELIHOOD),
    ("states by mean-field", STALE, "z", TWICE),
    ("Dirichlet latents", SIGN, "theta 1", LIKELIHOOD),
    ("Dirichlet latents", EAGER, "terms 1", BOUND),
    ("Dirichlet latents", STALE, "log_theta", TWICE),
    ("drawn", SIGN, "terms 2", AT_DRAWS),
    ("drawn", PLATE, "statistic b_b G", AT_DRAWS),
    ("drawn", EAGER, "terms 1", AT_DRAWS),
    ("drawn", STALE, "b_b", AT_DRAWS),
    ("drawn along a chain", PLATE, "statistic h_h T", AT_DRAWS),
    ("drawn along a chain", STALE, "h_h", AT_DRAWS),
    ("coupled Newton", SIGN, "terms 1", M_STEP),
    ("coupled Newton", PLATE, "rate 1 N", LIKELIHOOD),
    ("coupled Newton", EAGER, "rate 1", LIKELIHOOD),
    ("coupled Newton", STALE, "log_rate", TWICE),
    ("Newton for each class", SIGN, "z 1", LIKELIHOOD),
    ("Newton for each class", PLATE, "terms 0 P", M_STEP),
    ("Newton for each class", EAGER, "terms 1", M_STEP),
    ("Newton for each class", STALE, "z_n_y", TWICE),
    ("linear equations", SIGN, "terms 3", M_STEP),
    ("linear equations", PLATE, "z 1 N", GAPS),
    ("linear equations", EAGER, "z 1", LIKELIHOOD),
    ("linear equations", STALE, "z_n_y", TWICE),
    ("factors", SIGN, "y 1", LIKELIHOOD),
    ("factors", PLATE, "statistic n_x of what is seen", GAPS),
    ("factors", EAGER, "y 1", M_STEP),
    ("factors", STALE, "x_y", TWICE),
    ("gated fields", SIGN, "terms 3", M_STEP),
    ("gated fields", PLATE, "statistic z_n_y_day_day_b_b of what is seen", GAPS),
    ("gated fields", EAGER, "b 2", M_STEP),
    ("gated fields", STALE, "z", TWICE),
    ("configurations of tied states", SIGN, "terms 1", M_STEP),
    ("configurations of tied states", EAGER, "g 1", LIKELIHOOD),
    ("configurations of tied states", STALE, "configuration_z_log_g", TWICE),
    ("cut Normals", SIGN, "u 1", M_STEP),
    ("cut Normals", PLATE, "terms 1 P", M_STEP),
    ("cut Normals", EAGER, "terms 1", M_STEP),
    ("cut Normals", STALE, "X_u", TWICE),
    ("tails", EAGER, "z 1", M_STEP),
    ("tails", STALE, "z", TWICE),
    ("medians", SIGN, "terms 1", M_STEP),
    ("medians", PLATE, "statistic z_n_y of what is seen", GAPS),
    ("medians", EAGER, "z 1", LIKELIHOOD),
    ("medians", STALE, "z", TWICE),
    ("priors", SIGN, "z 1", LIKELIHOOD),
    ("priors", PLATE, "terms 3 2", M_STEP),
    ("priors", EAGER, "prior 0", M_STEP),
    ("priors", STALE, "z", TWICE),
]
BY_NIGHT: list[tuple[str, str, str, str]] = [  # which take longer
    ("a Gaussian chain", EAGER, "h 2", LIKELIHOOD),
    ("random effects", EAGER, "terms 1", M_STEP),
    ("crossed effects", EAGER, "u 1", LIKELIHOOD),
    ("points of a quadrature", EAGER, "terms 2", GAPS),
    ("a chain by mean-field", EAGER, "terms 3", BOUND),
    ("Dirichlet latents", PLATE, "terms 2 K", BOUND),
    ("drawn along a chain", SIGN, "terms 1", AT_DRAWS),
    ("drawn along a chain", EAGER, "terms 2", AT_DRAWS),
    ("configurations of tied states", PLATE, "g 1 z[configurations]", LIKELIHOOD),
    ("tails", SIGN, "terms 2", M_STEP),
    ("tails", PLATE, "z 1 2", M_STEP),
]


def text_of(kind: str) -> str:
    if kind in TEXTS:
        return TEXTS[kind]
    name, more = IN_GALLERY[kind]
    return (MODELS / f"{name}.em").read_text(encoding="utf-8") + more


def checks_of(kind: str, only: tuple[str, ...], given: Any = None) -> Iterator[Check]:
    """These checks, on the first data that are drawn. given : the model in which what is drawn is data."""
    model = emdsl.compile(text=text_of(kind))
    if given is not None:
        yield from drawn.steps(given, model, 0, 4)
    else:
        yield from verify.certify(model, 0, False, only).checks


def draws_as_data(kind: str) -> Any:
    model = emdsl.compile(text=text_of(kind))
    given = model.written(known(model.resolved, sorted(model.derived.drawn)))
    given.load_module()
    return given


@pytest.fixture
def first_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "further", lambda *_: iter(()))


@pytest.mark.usefixtures("first_data")
@pytest.mark.parametrize(("kind", "fault", "site", "check"), ROWS + BY_NIGHT * NIGHT, ids=lambda part: part)
def test_a_fault_is_caught(kind: str, fault: str, site: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = draws_as_data(kind) if check == AT_DRAWS else None  # unbroken
    hits = install(monkeypatch, fault, site)
    found = list(checks_of(kind, (check,), given))
    assert site in hits, "no derivation has this site"
    assert any(c.status == "failed" and "Error:" not in c.note for c in found), found  # not by an exception


def _doubled(slopes: Any) -> Any:
    """Scores by parameters are twice what they are."""

    def wrong(*a: Any) -> Any:
        by_param, by_latent = slopes(*a)
        return {n: 2 * v for n, v in by_param.items()}, by_latent

    return wrong


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("slopes", _doubled, "score of"),
        ("slopes_apart", _doubled, "score of"),
        ("density_with_draws", lambda f: lambda *a: f(*a) + 1, "density of data and draws"),
        ("log_density_units", lambda f: lambda p, at: f(p, at) * p["s2"], "density of data and draws"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_fault_of_what_ends_a_fit_by_draws_is_caught(name: str, wrong: Any, told: str) -> None:
    """No M-step and no kernel reads them, and no check did: estimates and objectives were wrong in silence."""
    model = emdsl.compile(text=text_of("drawn"))
    assert not [c for c in drawn.at_draws(model, 0, 4) if c.status != "passed"]
    setattr(model.module, name, wrong(getattr(model.module, name)))
    assert told in {c.subject[: len(told)] for c in drawn.at_draws(model, 0, 4) if c.status == "failed"}


STATES = """model States
param w : simplex[3]
param m[3] : real
param s[3] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    for j in J:
        observed y[n, j] ~ Normal(m[z[n]], s[z[n]])
infer z by mcmc
"""


def test_a_fault_of_draws_that_hardly_have_a_choice_is_caught() -> None:
    """The mean of the data in place of their sum: 4.8 standard errors over 300 draws on the first data."""
    model = emdsl.compile(text=STATES)
    at = next(k for k, part in enumerate(model._parts) if "def draw_of_z(" in part)
    model._parts[at] = model._parts[at].replace("= y.sum(axis=0) *", "= y.mean(axis=0) *")
    assert "y.mean" in model._parts[at]
    assert any(c.status == "failed" for c in drawn.eliminations(model, 0, 4))


REST = """model Rest
param w : simplex[2]
param m[2] : real
param s : positive
for g in G:
    latent z[g] ~ Categorical(w)
    latent u[g] ~ Normal(m[z[g]], s)
    for n in N:
        observed y[g, n] ~ Bernoulli(logit = u[g])
infer u by saem
"""


def test_a_fault_of_what_is_told_of_the_rest_is_caught() -> None:
    """The posterior of what is exact given draws is printed anew in the module that draws, and no check read it."""
    model = emdsl.compile(text=REST)
    given = model.written(known(model.resolved, ["u"]))
    assert {c.status for c in drawn.steps(given, model, 0, 4)} == {"passed"}
    honest = model.module.posterior_given
    model.module.posterior_given = lambda *a: {"z": honest(*a)["z"][..., ::-1]}
    assert [c.subject for c in drawn.steps(given, model, 0, 4) if c.status == "failed"] == [
        "moments of the rest at draws"
    ]


def test_steps_that_hold_other_parameters_are_not_compared() -> None:
    """Night 12102, model 35: where effects are drawn y and the scales are raised one given the other; beside effects
    that are data, together."""
    text = """model Held
param s : positive
param r : real
param v : positive
size Q = 2
size R = Q + 1
param y[R] : real ~ Normal(0, 1)
latent top ~ Normal(0, s)
for a in G:
    latent nest[a] ~ Normal(top, 1)
for n in N:
    given of[n] : index[G]
    observed y0[n] ~ Normal(r + nest[of[n]] + y[Q] - y[0], precision = s)
    observed y1[n] : real(min = -2) ~ Normal(r, var = v)
infer nest by mcmc
"""
    model = emdsl.compile(text=text)
    found = list(drawn.steps(model.written(known(model.resolved, ["nest"])), model, 0, 4))
    assert not any(c.status == "failed" for c in found)
    assert {c.subject: c.status for c in found}["moments of the rest at draws"] == "passed"


def test_what_is_no_number_is_caught() -> None:
    """Python's `max` passes over NaN where it is not the first: an objective that is none was as good as any."""
    model = emdsl.compile(text=REST)
    given = model.written(known(model.resolved, ["u"]))
    honest = model.module.e_step
    model.module.e_step = lambda *a: {**honest(*a), "log_likelihood": np.nan}
    found = [c for c in drawn.steps(given, model, 0, 4) if c.subject.startswith("M-steps at draws")]
    assert found and {c.status for c in found} == {"failed"}


def test_a_fault_of_an_m_step_that_few_draws_hide_is_caught() -> None:
    """Four draws were of one state, whose data are centred: their mean is 0, and so is twice that."""
    model = emdsl.compile(text=STATES)
    given = model.written(known(model.resolved, ["z"]))
    at = next(k for k, part in enumerate(model._parts) if "def m_step(" in part)
    model._parts[at] = model._parts[at].replace("checked(S_y_z /", "checked(2 * S_y_z /")
    assert "2 * S_y_z" in model._parts[at]
    assert any(c.status == "failed" for c in drawn.steps(given, model, 0, 4))


def test_a_stale_statistic_that_only_the_m_step_reads_is_caught() -> None:
    """All draws that were compared left a state empty: such a step asks for others, of the same statistics."""
    model = emdsl.compile(text=STATES)
    given = model.written(known(model.resolved, ["z"]))
    honest, kept = model.module.m_step, list[Any]()

    def stale(statistics: Any, *a: Any) -> Any:
        kept.append(statistics["y_z"])
        return honest({**statistics, "y_z": kept[-2:][0]}, *a)

    model.module.m_step = stale
    assert any(c.status == "failed" for c in drawn.steps(given, model, 0, 4))


WEIGHED = """model Weighed
param r : positive
param b : real
for n in N:
    given x[n] : real
    observed y[n] ~ NegativeBinomial(r, mean = exp(b * x[n]))
"""


@pytest.mark.usefixtures("first_data")
def test_weights_that_a_climb_ignores_are_caught() -> None:
    """Beside them it collapsed, and where a fit collapses, or goes far, nothing was compared."""
    model = emdsl.compile(text=WEIGHED)
    honest = model.load_module

    def load() -> Any:
        made = honest()
        refine = made.refine
        made.refine = lambda before, params, data, prepared, *a, **k: refine(
            before, params, data, {**prepared, "the weight": np.ones_like(prepared["the weight"])}, *a, **k
        )
        return made

    model.load_module = load  # type: ignore[method-assign]
    found = verify.certify(model, 0, False, ("rows in another order",))
    assert [c.name for c in found.failures] == ["a weight of 2 is the row twice"], str(found)


COUNTS = """model Counts
param m : real
param s : positive
for g in G:
    latent u[g] ~ Normal(0, s)
    for n in N:
        observed y[g, n] ~ Poisson(exp(m + u[g]))
infer u by saem
"""


@pytest.mark.parametrize(("fault", "site"), [(SIGN, "terms 0"), (SIGN, "terms 1"), (EAGER, "terms 1")])
def test_a_fault_that_makes_an_m_step_collapse_is_caught(
    fault: str, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws as data, of which one number may be all that a scale has: that it was lost was no failure at all."""
    hits = install(monkeypatch, fault, site)
    model = emdsl.compile(text=COUNTS)
    found = verify.certify(model.written(known(model.resolved, ["u"])), 0, False, (), frozenset({"u"}))
    assert hits
    assert [c.name for c in found.failures] == ["EM climbs"]


SURE = """model Sure
param w : simplex[5]
param r[5] : positive
param c[2] : simplex[2]
for n in N:
    latent z[n] ~ Categorical(w)
    latent v[n] ~ Categorical(c[0]) if z[n] < 2 else Categorical(c[1])
    for j in J:
        observed y[n, j] ~ Poisson(r[z[n]] * (1 + 3 * v[n]))
infer z, v by meanfield
"""


@pytest.mark.usefixtures("first_data")
def test_a_fault_of_a_factor_that_is_sure_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sure of the wrong levels: no draw has another, and no slope moves them."""
    hits = install(monkeypatch, PLATE, "v 2 2")
    found = verify.certify(emdsl.compile(text=SURE), 0, False, (bounds.NAME,))
    assert hits
    assert {(c.name, c.subject) for c in found.failures} >= {("no factor of q can be better", "v")}


def _of_the_start(self: Any) -> Any:
    """The posterior at the parameters that a fit began with."""
    return self._nested(self._ask("posterior", self._options["init"], *self._training), self._training[0])


def _of_others(self: Any, bound: Any, prepared: Any) -> Any:
    """That of new data at other means than those that were fitted."""
    return self._ask("posterior", {**self.params_, "m": 1.1 * self.params_["m"]}, bound, prepared)


@pytest.mark.usefixtures("first_data")
@pytest.mark.parametrize(
    ("name", "wrong", "subject"),
    [("posterior_", property(_of_the_start), "after a step"), ("_moments", _of_others, "after a step, as new data")],
)
def test_answers_at_other_parameters_are_caught(
    name: str, wrong: Any, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told was compared at the start alone, where these are the same, and of new data never."""
    kind, honest = "enumeration", Fitter.fit

    def fit(self: Any, data: Any, init: Any = None, **beside: Any) -> Any:
        self._options["init"] = {n: np.asarray(v) for n, v in init.items()}
        return honest(self, data, init=init, **beside)

    monkeypatch.setattr(Fitter, "fit", fit)
    monkeypatch.setattr(Fitter, name, wrong)
    found = {c.subject: c.status for c in checks_of(kind, (answers.AT_ESTIMATES,))}
    assert found[subject] == "failed", found


def test_what_a_sequence_without_rows_leaves_is_checked() -> None:
    """All had rows."""
    model = emdsl.compile(text=TEXTS["a chain"].replace("for t in T:", "for t in T[i]:"))
    right = "return np.bincount(lanes.sequence, weights=total, minlength=count)"
    at = next(k for k, part in enumerate(model._parts) if right in part)
    model._parts[at] = model._parts[at].replace(right, f"{right} + (np.bincount(lanes.sequence, minlength=count) == 0)")
    assert any(c.status == "failed" for c in verify.certify(model, 0, False, (LIKELIHOOD,)).checks)


SPIKES = """model Spikes
param S : spd[2]
for n in N:
    latent z[n] ~ Bernoulli(0.5)
    latent x[n] ~ Delta(zeros(2)) if z[n] == 0 else MvNormal(zeros(2), S)
    observed y[n] ~ MvNormal(x[n], eye(2))
"""


DIRECTIONS = """model Directions
param w : simplex[2]
param m[2] : real
param k[2] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ VonMises(m[z[n]], k[z[n]])
"""


@pytest.mark.usefixtures("first_data")
@pytest.mark.parametrize(
    ("text", "param", "by", "check"),
    [
        (SPIKES, "S", 0.99, "EM ends where log p(x) is level"),  # at rest in another place it was only stopped
        (DIRECTIONS, "k", 1e-30, "M-step: nothing around is better"),  # at an end of the domain all around is as bad
    ],
    ids=["at rest elsewhere", "far out"],
)
def test_a_step_that_ends_elsewhere_is_caught(text: str, param: str, by: float, check: str) -> None:
    model = emdsl.compile(text=text)
    honest = model.load_module

    def load() -> Any:
        made = honest()
        step = made.m_step
        made.m_step = lambda *a, **k: (found := step(*a, **k)) | {param: found[param] * by}
        return made

    model.load_module = load  # type: ignore[method-assign]
    found = verify.certify(model, 0, False, (M_STEP,))
    assert check in [c.name for c in found.failures], str(found)


@pytest.mark.usefixtures("first_data")
@pytest.mark.parametrize("kind", TEXTS)
def test_the_same_unbroken(kind: str) -> None:
    """Those of the gallery are verified in `test_verify.py`."""
    found = list(checks_of(kind, tuple({row[3] for row in ROWS if row[0] == kind})))
    assert {"passed"} <= {c.status for c in found} <= {"passed", "not checked"}, found
