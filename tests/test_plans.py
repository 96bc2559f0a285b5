"""What the compiler chose for every gallery model, as a table: a silent change of method fails here."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import emdsl

MODELS = Path(__file__).parents[1] / "models"

ENUMERATED = "exact:enumeration"
CONJUGATE = "exact:conjugate"
CHAIN, TREE = "exact:chain", "exact:tree"
GAUSSIAN, KALMAN, HYBRID = "exact:gaussian", "exact:kalman", "exact:hybrid"
QUADRATURE = "quadrature"
CLOSED = "closed form"
SOLVE = "linear solve"
NEWTON = "newton"
STAY = {"first": CLOSED, "trans": CLOSED}

# model: (latent -> method, parameter -> kind of update)
TABLE: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "bayesian_gaussian_mixture": (dict.fromkeys(("weights", "mean", "prec", "z"), "meanfield"), {}),
    "latent_dirichlet_allocation": ({"theta": "meanfield", "z": "meanfield"}, {"topic": CLOSED, "alpha": NEWTON}),
    "poisson_factorisation": (dict.fromkeys(("theta", "beta", "topic"), "meanfield"), {}),
    "ising_denoising": ({"spot": "meanfield"}, {"noise": CLOSED}),
    "stochastic_block_model": ({"z": "meanfield"}, {"share": CLOSED, "link": CLOSED}),
    "switching_linear_system": (
        {"rule": "meanfield", "level": "meanfield"},
        {"stay": CLOSED, "slope": CLOSED, "drift": CLOSED, "noise": CLOSED},
    ),
    "item_response": ({"ability": QUADRATURE}, {"slope": NEWTON, "easy": NEWTON}),
    "logistic_random_effects": ({"b": QUADRATURE}, {"beta": NEWTON, "tau": CLOSED}),
    "poisson_lognormal": ({"rate": QUADRATURE}, {"mean": CLOSED, "spread": CLOSED}),
    "nonlinear_growth": (
        {"asymptote": "saem:slice"},
        {"top": CLOSED, "spread": CLOSED, "middle": NEWTON, "pace": NEWTON, "s2": NEWTON},
    ),
    "stochastic_volatility": (
        {"h": "saem:hmc"},
        {"mean": CLOSED, "level": NEWTON, "keep": NEWTON, "spread": NEWTON},
    ),
    "poisson_random_effects": ({"b": QUADRATURE}, {"beta": NEWTON, "tau": CLOSED}),
    "probit_regression": ({"u": CONJUGATE}, {"beta": SOLVE}),
    "blood_groups": ({"genotype": ENUMERATED}, {"allele": CLOSED}),
    "dawid_skene": ({"truth": ENUMERATED}, {"prevalence": CLOSED, "confusion": CLOSED}),
    "diagonal_gaussian_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "mean": CLOSED, "sd": CLOSED}),
    "gamma_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "shape": NEWTON, "rate": CLOSED}),
    "beta_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "a": NEWTON, "b": NEWTON}),
    "von_mises_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "mean": CLOSED, "concentration": NEWTON}),
    "mixture_of_glms": ({"z": ENUMERATED}, {"weights": CLOSED, "coef": NEWTON}),
    "mixture_of_experts": ({"z": ENUMERATED}, {"gate": NEWTON, "coef": SOLVE, "sd": CLOSED}),
    "input_output_hmm": ({"z": CHAIN}, {"first": CLOSED, "change": NEWTON, "rate": CLOSED}),
    "genetic_linkage": ({"cell": ENUMERATED}, {"t": CLOSED}),
    "latent_classes": ({"z": ENUMERATED}, {"weights": CLOSED, "yes": CLOSED}),
    "mixture_of_regressions": ({"z": ENUMERATED}, {"weights": CLOSED, "coef": SOLVE, "sd": CLOSED}),
    "negative_binomial": ({"rate": CONJUGATE}, {"mean": CLOSED, "shape": NEWTON}),
    "old_faithful": ({"z": ENUMERATED}, {"weights": CLOSED, "mean": CLOSED, "cov": CLOSED}),
    "poisson_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "rate": CLOSED}),
    "rayleigh_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "scale": CLOSED}),
    "robust_regression": ({"u": CONJUGATE}, {"a": SOLVE, "b": SOLVE, "s2": CLOSED}),
    "student": ({"u": CONJUGATE}, {"mean": CLOSED, "s2": CLOSED}),
    "student_free_df": ({"u": CONJUGATE}, {"mean": CLOSED, "s2": CLOSED, "df": NEWTON}),
    "tied_gaussian_mixture": ({"z": ENUMERATED}, {"weights": CLOSED, "mean": CLOSED, "cov": CLOSED}),
    "word_alignment": ({"align": ENUMERATED}, {"dictionary": CLOSED}),
    "zero_inflated_poisson": ({"immune": ENUMERATED}, {"zero": CLOSED, "rate": CLOSED}),
    "crossed_effects": ({"u": GAUSSIAN, "v": GAUSSIAN}, {"mean": CLOSED, "s2_u": CLOSED, "s2_v": CLOSED, "s2": CLOSED}),
    "dynamic_factors": ({"f": KALMAN}, {"A": SOLVE, "mean": SOLVE, "load": SOLVE, "noise": CLOSED}),
    "factor_analysis": ({"y": GAUSSIAN}, {"mean": SOLVE, "load": SOLVE, "noise": CLOSED}),
    "growth_mixture": ({"z": HYBRID, "b": HYBRID}, {"weights": CLOSED, "mean": CLOSED, "cov": CLOSED, "s2": CLOSED}),
    "incomplete_gaussian": ({}, {"mean": CLOSED, "cov": CLOSED}),
    "linear_dynamical_system": ({"h": KALMAN}, {"A": SOLVE, "C": SOLVE, "start": CLOSED, "noise": CLOSED}),
    "local_level": ({"level": KALMAN}, {"noise": CLOSED, "drift": CLOSED}),
    "arma": (
        {"s": KALMAN},
        {"level": SOLVE, "phi": SOLVE, "theta": SOLVE, "shock": CLOSED, "noise": CLOSED},
    ),
    "measurement_error": (
        {"truth": GAUSSIAN},
        {"mean": CLOSED, "s2": CLOSED, "a": SOLVE, "b": SOLVE, "s2_x": CLOSED, "s2_y": CLOSED},
    ),
    "mixture_of_factor_analysers": (
        {"z": HYBRID, "y": HYBRID},
        {"weights": CLOSED, "mean": SOLVE, "load": SOLVE, "noise": CLOSED},
    ),
    "probabilistic_pca": ({"y": GAUSSIAN}, {"mean": SOLVE, "load": SOLVE, "s2": CLOSED}),
    "random_intercepts": ({"b": GAUSSIAN}, {"beta": SOLVE, "s2_b": CLOSED, "s2": CLOSED}),
    "random_slopes": ({"b": GAUSSIAN}, {"beta": CLOSED, "cov": CLOSED, "s2": CLOSED}),
    "structural_series": (
        {"level": KALMAN, "slope": KALMAN, "season": KALMAN},
        {"noise": CLOSED, "drift": CLOSED, "bend": CLOSED, "turn": CLOSED},
    ),
    "ar_hmm": ({"z": CHAIN}, {**STAY, "level": SOLVE, "slope": SOLVE, "sd": CLOSED}),
    "categorical_hmm": ({"z": CHAIN}, {**STAY, "symbol": CLOSED}),
    "factorial_hmm": (
        {"a": CHAIN, "b": CHAIN},
        {
            "first_a": CLOSED,
            "first_b": CLOSED,
            "trans_a": CLOSED,
            "trans_b": CLOSED,
            "high": SOLVE,
            "low": SOLVE,
            "sd": CLOSED,
        },
    ),
    "gaussian_hmm": ({"z": CHAIN}, {**STAY, "mean": CLOSED, "sd": CLOSED}),
    "gmm_hmm": ({"z": CHAIN, "c": ENUMERATED}, {**STAY, "part": CLOSED, "mean": CLOSED, "cov": CLOSED}),
    "hidden_tree": ({"z": TREE}, {"root": CLOSED, "trans": CLOSED, "mean": CLOSED, "sd": CLOSED}),
    "negative_binomial_hmm": ({"z": HYBRID, "rate": HYBRID}, {**STAY, "mean": CLOSED, "shape": NEWTON}),
    "poisson_hmm": ({"z": CHAIN}, {**STAY, "rate": CLOSED}),
    "semi_supervised": ({}, {"weights": CLOSED, "mean": CLOSED, "cov": CLOSED}),
    "switching_regression": ({"z": CHAIN}, {**STAY, "coef": SOLVE, "sd": CLOSED}),
}


def test_every_gallery_model_is_in_the_table() -> None:
    assert set(TABLE) == {path.stem for path in MODELS.glob("*.em")}


@pytest.mark.parametrize("name", TABLE)
def test_the_plan_is_the_table_s(name: str) -> None:
    model = emdsl.compile(MODELS / f"{name}.em")
    methods, kinds = TABLE[name]
    assert {latent: plan.method for latent, plan in model.plan.items()} == methods
    assert {param: update.kind for param, update in model.updates.items()} == kinds
    for chosen in (*model.plan.values(), *model.updates.values()):
        assert chosen.reason.strip()


@pytest.mark.parametrize("name", TABLE)
def test_the_header_tells_the_plan(name: str) -> None:
    """The first comment of a gallery file promises a plan; it must speak of every method that the table holds."""
    lines = (MODELS / f"{name}.em").read_text(encoding="utf-8").split("\nmodel ")[0]
    header = " ".join(line.lstrip("# ") for line in lines.splitlines())
    methods, kinds = TABLE[name]
    spoken = {
        GAUSSIAN: "Gaussian",
        KALMAN: "Kalman",
        CHAIN: "chain",
        TREE: "tree",
        HYBRID: "hybrid",
        ENUMERATED: "enumeration",
        CONJUGATE: "conjugate",
        CLOSED: "closed form",
        SOLVE: "linear solve",
        NEWTON: "Newton",
        "meanfield": "mean-field",
        QUADRATURE: "quadrature",
        "saem:slice": "slice sampling (SAEM)",
        "saem:hmc": "Hamiltonian Monte Carlo (SAEM)",
        "gradient": "numeric",
    }
    for method in {*methods.values(), *kinds.values()}:
        assert spoken[method] in header


def test_each_latent_has_its_own_reason_in_the_model_s_words() -> None:
    text = """
model Relevance
latent t ~ Gamma(2, 1)
for p in P:
    latent a[p] ~ Gamma(1.5, 1)
    latent b[p] ~ Normal(0, precision = a[p])
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Normal(sum(x[n, p] * b[p] for p in P), precision = t)
"""
    plan = emdsl.compile(text=text).plan
    places = {n: plan[n].reason.partition("not exact: the posterior of ")[2].partition(";")[0] for n in plan}
    own, line = "in `Normal(0, precision = a[p])`", "in `Normal(sum(x[n, p] * b[p] for p in P), precision = t)`"
    assert places == {
        "t": f"t is not tractable: t is tied to the continuous latent b in the density of y, {line}",
        "a": f"a is not tractable: a is tied to the continuous latent b in the density of b, {own}",
        "b": f"b is not tractable: b is tied to the continuous latent a in the density of b, {own}",
    }


WALK = """
model Walk
latent q ~ Gamma(2, 1)
latent s ~ Gamma(2, 1)
for t in T:
    latent h[t] ~ Normal(0, 1) if t == 0 else Normal(h[t-1], precision = q)
    observed y[t] ~ Normal(h[t], precision = s)
"""
COMPONENTS = """
model Components
latent t ~ Gamma(2, 1)
for d in D: latent w[d] ~ Normal(0, 1)
for n in N:
    latent h[n] ~ Normal(0, 1)
    for d in D: observed x[n, d] ~ Normal(w[d] * h[n], precision = t)
"""
NETWORK = """
model Network
for i in I: latent u[i] ~ MvNormal(zeros(Q), eye(Q))
for e in E:
    given a[e] : index[I]
    given b[e] : index[I]
    observed y[e] ~ Normal(u[a[e]] @ u[b[e]], 1)
"""
SPREAD = """
model Spread
latent L ~ Wishart(5, eye(3))
latent m ~ MvNormal(zeros(3), eye(3))
for n in N: observed x[n] ~ MvNormal(m, precision = L)
"""


@pytest.mark.parametrize(
    ("text", "latent", "said"),
    [
        (WALK, "h", "h is tied to the continuous latent q in the density of h"),  # two elements of h are one Gaussian's
        (COMPONENTS, "w", "w is tied to the continuous latent h in the density of x"),  # a product is no Gaussian's
        (NETWORK, "u", "u[a[e], q] u[b[e], q] u[a[e], q'] u[b[e], q'] is of degree 4"),  # two elements, not one squared
        (SPREAD, "m", "not quadrature: L is a positive definite matrix"),
    ],
)
def test_a_reason_names_what_no_gaussian_takes(text: str, latent: str, said: str) -> None:
    assert said in emdsl.compile(text=text).plan[latent].reason


LINKS = """
model Links
param c : real
for i in I: latent u[i] ~ MvNormal(zeros(2), eye(2))
for j in J: latent v[j] ~ MvNormal(zeros(2), eye(2))
for i in I:
    for j in J: observed y[i, j] ~ Bernoulli(logit = c + u[i] @ v[j])
"""


def test_factors_that_points_could_take_are_said_to_be_no_conjugate_ones() -> None:
    """They have a bound where an `infer` line asks for it: "not tractable" was not true of them."""
    assert (
        "not meanfield: the factor of u is not conjugate: log(1 + exp(c + "
        in emdsl.compile(text=LINKS).plan["u"].reason
    )
    assert emdsl.compile(text=LINKS, infer={"u": "meanfield", "v": "meanfield"}).plan["u"].method == "meanfield"


@pytest.mark.parametrize("method", ["quadrature", "mcmc(kernel = hmc)"])
def test_a_choice_that_is_made_elsewhere_is_refused_where_the_latent_is_declared(method: str) -> None:
    text = "model M\nfor n in N:\n    latent z[n] ~ Bernoulli(0.3)\n    observed x[n] ~ Normal(z[n], 1)\n"
    refusal = emdsl.compile(text=text, infer={"z": method}).refusal
    assert refusal is not None
    assert [p.span.line for p in refusal.problems] == [3]


def test_parts_that_nothing_ties_each_have_points_of_their_own() -> None:
    """Seven effects, each at points: among all choices of latents together it is the 127th. Of one that has no points
    there are none for the others."""
    part = """
        param s{k} : positive
        for g in G{k}:
            latent u{k}[g] ~ Normal(0, s{k})
            for n in N{k}[g]:
                observed y{k}[g, n] ~ Poisson(exp(u{k}[g]))
    """
    text = "\n".join(["model Seven", *(textwrap.dedent(part.format(k=k)) for k in range(7))])
    plan = emdsl.compile(text=text).plan
    assert {p.method for p in plan.values()} == {"quadrature"} and len(plan) == 7
    tied = """
        for t in T:
            latent walk[t] ~ Normal(0, 1) if t == 0 else Normal(walk[t-1], 1)
            observed c[t] ~ Poisson(exp(walk[t]))
    """
    plan = emdsl.compile(text=text + textwrap.dedent(tied)).plan
    assert not {p.method for p in plan.values()} & {"quadrature"}, plan


def test_what_points_do_not_touch_keeps_its_posterior() -> None:
    """Beside an effect at points a class that nothing ties to it had no posterior: its rows counted in every class."""
    text = """
        param s : positive
        param w : simplex[K]
        param m[K] : real
        for g in G:
            latent u[g] ~ Normal(0, s)
            observed y[g] ~ Poisson(exp(u[g]))
        for n in N:
            latent z[n] ~ Categorical(w)
            observed x[n] ~ Normal(m[z[n]], 1)
    """
    plan = emdsl.compile(text="model Two" + textwrap.dedent(text)).plan
    assert {n: p.method for n, p in plan.items()} == {"u": QUADRATURE, "z": ENUMERATED}
