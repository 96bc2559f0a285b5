"""Models put together by chance from parts: states, effects and fixed terms that meet in what is observed.

A shape of `strategies` writes one structure and varies its families; here any part may stand beside any other, under
plates that are nested, ragged or pointed at, with priors that read parameters, `infer` lines and odd names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from strategies import Draft, indent

Part = Callable[["Composed"], str]  # what it adds to the mean, or a state; `x(n)` is x of the row, under any plates


def once(d: Composed, line: str, place: list[str] | None = None) -> None:
    place = d.head if place is None else place
    if line not in place:
        place.append(line)


# ---------------------------------------------------------------- what a row is given


def x(d: Composed) -> str:
    once(d, "given x(n) : real", d.rows)
    return "x(n)"


def e(d: Composed) -> str:
    once(d, "given e(n) : positive", d.rows)
    return "e(n)"


def v(d: Composed) -> str:
    once(d, "given v(n) : real[2]", d.rows)
    return "v(n)"


def level(d: Composed) -> str:
    """A level of three."""
    once(d, "given g(n) : index[3]", d.rows)
    return "g(n)"


def group(d: Composed) -> str:
    """The element of another plate that the row points at."""
    once(d, "given of(n) : index[G]", d.rows)
    return "of(n)"


# ---------------------------------------------------------------- states of two levels


def of_a_law(d: Composed) -> str:
    p, u = d.param("simplex", False), d.param("unit", False)
    return d.pick((f"Categorical({p})", f"Bernoulli({u})", "Categorical([0.3, 0.7])", f"Binomial(1, {u})",
                   f"Categorical([{u}, 1 - {u}])", f"Categorical(softmax([0, {d.param('real', False)} * {x(d)}]))",
                   f"Bernoulli(logit = {d.param('real', False)} + {x(d)})"))  # fmt: skip


def row_state(d: Composed) -> str:
    d.rows.append(f"latent z(n) ~ {of_a_law(d)}")
    return "z(n)"


def half_seen_state(d: Composed) -> str:
    """Seen, but where it is missing: there it is a latent."""
    d.rows.append(f"observed half(n) : category[2] ~ Categorical({d.param('simplex', False)})")
    return "half(n)"


def hidden_chain(d: Composed) -> str:
    first, later = d.param("simplex", False), d.param("simplex", True)
    back = d.pick(("n-1", "n-1", "n-2"))
    start = "n == 0" if back == "n-1" else "n < 2"
    d.rows.append(f"latent hid(n) ~ Categorical({first}) if {start} else Categorical({later}[hid({back})])")
    return "hid(n)"


def group_state(d: Composed) -> str:
    once(d, f"latent kind[a] ~ Categorical({d.param('simplex', False)})", d.groups)
    return f"kind[{group(d)}]"


def shares_of_a_group(d: Composed) -> str:
    d.groups.append(f"latent share[a] ~ Dirichlet({d.pick(('[1, 2]', '2 * ones(2)'))})")
    d.rows.append(f"latent topic(n) ~ Categorical(share[{group(d)}])")
    return "topic(n)"


STATES: tuple[Part, ...] = (row_state, row_state, half_seen_state, hidden_chain, group_state, shares_of_a_group)

# ---------------------------------------------------------------- Gaussian effects


def row_effect(d: Composed) -> str:
    mean = d.pick(("0", d.element("real")))
    d.rows.append(f"latent h(n) ~ Normal({mean}, {d.element('positive')})")
    return d.pick(("h(n)", f"{d.param('real', False)} * h(n)", f"h(n) * {x(d)}"))


def group_effect(d: Composed) -> str:
    d.groups.append(f"latent b[a] ~ Normal({d.pick(('0', d.param('real', False)))}, {d.param('positive', False)})")
    return d.pick((f"b[{group(d)}]", f"b[{group(d)}] * {x(d)}"))


def vector_effect(d: Composed) -> str:
    d.head.append("param S : spd[2]")
    d.groups.append("latent w[a] ~ MvNormal(zeros(2), S)")
    return d.pick((f"w[{group(d)}] @ {v(d)}", f"{v(d)} @ w[{group(d)}]", f"w[{group(d)}][0] - w[{group(d)}][1]"))


def walk(d: Composed) -> str:
    """A random walk, a damped one, or one whose steps are as long as the time between."""
    s = d.param("positive", False)
    step = d.pick((f"walk(n-1), {s}", f"{d.param('real', False)} * walk(n-1), {s}", f"walk(n-1), var = {s} * {e(d)}"))
    d.rows.append(f"latent walk(n) ~ Normal(0, 1) if n == 0 else Normal({step})")
    return "walk(n)"


def shared_effect(d: Composed) -> str:
    d.before.append(f"latent all_share ~ Normal({d.pick(('0', d.param('real', False)))}, 2)")
    return "all_share"


def nested_effect(d: Composed) -> str:
    """An effect about another one."""
    d.before.append(f"latent top ~ Normal(0, {d.param('positive', False)})")
    d.groups.append(f"latent nest[a] ~ Normal(top, {d.param('positive', False)})")
    return f"nest[{group(d)}]"


EFFECTS: tuple[Part, ...] = (row_effect, group_effect, vector_effect, walk, shared_effect, nested_effect)

# ---------------------------------------------------------------- terms without latents

CURVES = (
    "{c} * abs({x})", "{c} * sqrt({e})", "{c} * {x}^2", "{c} * {x} / (1 + {e})", "{c} * log1p({e})", "{c} * sin({x})",
    "{c} * ({x} > 0)", "{c} * max({x}, 0)", "({c} if {x} < 0 else -{c})", "({c} if -0.5 < {x} < 0.5 else 0)",
    "({c} if {x} < -0.5 else 2 if {x} < 0.5 else -{c})", "({c} if not {x} < 0 and {e} < 1 else 1)", "exp(-{e}) * {c}",
    "{c} * logistic({x})", "{c} * tanh({x})", "sum({c} * {x}^k for k in 3)", "{c} * (n % 2)", "{c} * (n // 2)",
)  # fmt: skip


PRODUCTS = (
    "{v} @ beta", "sum(beta[i] * {v}[i] for i in 2)", "beta @ A @ {v}", "{v} @ A.T @ beta", "(inv(A) @ beta)[0] * {x}",
    "beta[0] * quad(A, {v})", "beta[1] * trace(A) + beta[0] * logdet(A)", "(outer({v}, {v}) @ beta)[0]",
    "sum([beta[i] for i in 2])", "diag(A) @ beta",
)  # fmt: skip


def filled(d: Composed, term: str) -> str:
    """A term with givens of the row."""
    for name, given in (("{x}", x), ("{e}", e), ("{v}", v)):
        term = term.replace(name, given(d)) if name in term else term
    return term


def curve(d: Composed) -> str:
    return filled(d, d.pick(CURVES).replace("{c}", d.element("real")))


def named(d: Composed) -> str:
    """A curve that has a name, in the plate."""
    d.rows.append(f"let line(n) = {curve(d)}")
    return "line(n)"


def of_vectors(d: Composed) -> str:
    d.head.append("param beta : real[2]" + d.pick(("", " ~ Normal(0, 2)", " ~ MvNormal(zeros(2), 3 * eye(2))")))
    once(d, "let A = [[2, 0.5], [0.5, 1]]")
    return filled(d, d.pick(PRODUCTS))


def of_levels(d: Composed) -> str:
    """An effect of each level: in order, adding up to 0, in steps, shared by two of them, about a common mean."""
    kind = d.pick(("ordered", "zero_sum", "steps", "table", "shrunk", "held"))
    g = level(d)
    if kind in ("ordered", "zero_sum"):
        d.head.append(f"param l : {kind}[3]")
        return f"l[{g}]"
    if kind == "steps":
        d.head.append("param l[2] : positive")
        return f"cumsum(concat(0, l))[{g}]"
    if kind == "table":
        d.head += ["param l[2] : real", "let place = [0, 1, 1]"]
        return f"l[place[{g}]]"
    if kind == "held":
        d.head += ["param l[2] : real", "let all = concat(0, l)"]
        return f"all[{g}]"
    mean, spread = d.param("real", False), d.pick(("1", "tau"))
    d.head += ["given tau : positive = 1.5"] * (spread == "tau")
    d.head.append(f"param l[3] : real ~ Normal({mean}, {spread})")
    return f"l[{g}]"


def of_sizes(d: Composed) -> str:
    d.head += ["size Q = 2", "size R = Q + 1", "param y[R] : real ~ Normal(0, 1)", "given at[R] : real"]
    return d.pick(("y @ at", "sum(y[q] * at[q] for q in R)", "y[Q] - y[0]"))


TERMS: tuple[Part, ...] = (curve, curve, named, of_vectors, of_levels, of_sizes)

# ---------------------------------------------------------------- what is observed

LINEAR = ("Normal({m}, {s})", "Normal({m}, var = {s})", "Normal({m}, precision = {s})", "Normal({m}, {s} * {e})",
          "Normal({m}, sqrt({s}))")  # fmt: skip
LINKED = (
    "StudentT(4, {m}, {s})", "Laplace({m}, {s})", "LogNormal({m}, {s})", "Poisson(log_rate = {m})", "Poisson(exp({m}))",
    "Bernoulli(logit = {m})", "Bernoulli(Phi({m}))", "Binomial(3, logit = {m})", "Binomial(trials = 2, p = Phi({m}))",
    "Categorical(softmax([0, {m}, -({m})]))", "Categorical(logits = [0, {m}])", "Gamma(2, rate = exp({m}))",
    "Gamma(2, scale = exp({m}))", "Exponential(exp(-({m})))", "NegativeBinomial(2, mean = exp({m}))",
    "Weibull(1.5, exp({m}))", "InverseGaussian(exp({m}), {s})", "VonMises({m}, {s})", "Beta(2, exp({m}))",
    "InverseGamma(3, scale = exp({m}))", "Geometric(logistic({m}))",
)  # fmt: skip
VECTORS = ("MvNormal([{m}, 1], T)", "MvNormal({m} * ones(2), precision = T)", "MvStudentT(5, [{m}, -({m})], T)",
           "MvNormal([{m}, 0], diag([{s}, 1]))")  # fmt: skip


def density(d: Composed, chosen: str, mean: str) -> str:
    if "{s}" in chosen:
        chosen = chosen.replace("{s}", d.element("positive"))
    if "{e}" in chosen:
        chosen = chosen.replace("{e}", e(d))
    if "T)" in chosen:
        once(d, f"param T : spd[2]{' ~ InverseWishart(4, eye(2))' * (chosen in VECTORS[:2])}")
    return chosen.replace("{m}", mean)


def seen(d: Composed, name: str, options: tuple[str, ...], mean: str) -> None:
    """An observed variable: of one density, of one or another, with a point, cut, or seen up to a limit."""
    kind = d.pick(options)
    what = density(d, kind, mean)
    how = d.pick(("plain", "plain", "branch", "zero", "cut", "limit"))
    domain = ""
    if how == "branch":
        what = f"{what} if {x(d)} < 0.2 else {density(d, kind, d.element('real'))}"
    elif how == "zero" and what.startswith(("Poisson", "NegativeBinomial", "Geometric")) and d.discrete:
        what = f"Delta(0) if {d.pick(d.discrete)} else {what}"
    elif how == "cut" and what.startswith("Normal"):
        domain = " : real(min = -2)"
    elif (
        how == "limit" and what.startswith(("Normal", "Gamma", "Exponential", "Weibull", "LogNormal")) and name == "y0"
    ):
        d.rows.append(f"latent time(n) ~ {what}")
        what = d.pick((f"Delta(min(time(n), {e(d)}))", f"Delta(time(n) > {e(d)})"))
    d.rows.append(f"observed {name}(n){domain} ~ {what}")


# ---------------------------------------------------------------- the whole


@dataclass
class Composed(Draft):
    """A draft with the plates around its rows."""

    before: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)


def composed(draft: Draft) -> list[str]:
    """States, effects and terms, which meet in one or two observed variables; plates around them."""
    d = Composed(draft.draw, draft.head, draft.tail)
    d.discrete += [part(d) for part in some(d, STATES, 2)]
    effects = [part(d) for part in some(d, EFFECTS, d.pick((0, 1, 1, 2)))]
    mean = d.pick((" + ", " - ")).join([d.element("real"), *effects, *(part(d) for part in some(d, TERMS, 2))])
    options = LINEAR if effects and not d.chance(4) else LINEAR + LINKED + VECTORS
    for i in range(d.pick((1, 1, 2))):
        seen(d, f"y{i}", options, mean if i == 0 else d.element("real"))
    if "kind[a]" in " ".join(d.groups) and d.chance(2):
        d.head.append("param link[2, 2] : unit")
        d.before += ["for i in G:", "    for j in G if j < i:",
                     "        observed edge[i, j] ~ Bernoulli(link[kind[i], kind[j]])"]  # fmt: skip
    scalars = [h.split()[1] for h in d.head if re.match(r"param \w+ : (real|positive)$", h)]
    if scalars and d.chance(6):
        d.before.append(f"factor -0.5 * ({d.pick(scalars)} - 1)^2")
    asked(d)
    draft.lets += d.lets
    return plates(d)


def some(d: Draft, parts: tuple[Part, ...], most: int) -> list[Part]:
    """Up to so many parts, none of them twice."""
    return d.draw(st.lists(st.sampled_from(parts), max_size=most, unique=True))


def asked(d: Composed) -> None:
    """A line that asks for a way of inference."""
    latents = re.findall(r"latent (\w+)", "\n".join([*d.before, *d.groups, *d.rows]))
    if not latents or not d.chance(5):
        return
    names = latents if d.chance(2) else [d.pick(latents)]
    group = len(names) > 1 and d.chance(2)
    how = d.pick(("meanfield", "meanfield", "exact", "quadrature", "saem", "mcmc", "mcmc(kernel = slice)"))
    d.tail.append(f"infer {'(' * group}{', '.join(names)}{')' * group} by {how}")


def plates(d: Composed) -> list[str]:
    """The rows by themselves, in each of some groups, or in the groups that they would point at."""
    text = "\n".join(d.rows)
    outer, size, here = "", "N", r"\1[\2]"
    if (d.groups and d.chance(3)) or (not d.groups and d.chance(5)):
        outer, here = ("a", r"\1[a, \2]") if d.groups else ("s", r"\1[s, \2]")
        size = d.pick(("N", f"N[{outer}]"))
    if outer == "a":
        text = text.replace("given of(n) : index[G]\n", "").replace("[of(n)]", "[a]")
    text = re.sub(r"\b(\w+)\((n(?:-\d)?)\)", here, text)
    rows = [f"for n in {size}:", *indent(text.split("\n"))]
    if outer == "a":
        return [*d.before, "for a in G:", *indent([*d.groups, *rows])]
    groups = ["for a in G:", *indent(d.groups)] if d.groups else []
    return [*d.before, *groups, *(["for s in S:", *indent(rows)] if outer else rows)]


NAMES = ("μ", "lambda", "np", "self", "Σ", "a_name_that_is_wider_than_most_columns", "size_", "class", "β_1")


def renamed(d: Draft, text: str) -> str:
    """The same model with odd names for some that it declares."""
    declared = sorted(set(re.findall(r"(?:param|latent|let) (\w+)", text)))
    for name in d.draw(st.permutations(NAMES))[:2]:
        old = d.pick(declared)
        if old not in NAMES:
            text = re.sub(rf"\b{old}\b", name, text)
    return text


@st.composite
def composed_models(draw: st.DrawFn) -> str:
    """The text of a model."""
    d = Draft(draw)
    body = composed(d)
    text = "\n".join(["model Composed", *d.head, *d.lets, *body, *d.tail]) + "\n"
    return renamed(d, text) if d.chance(4) else text
