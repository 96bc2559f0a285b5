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


def u(d: Composed) -> str:
    once(d, "given u(n) : unit", d.rows)
    return "u(n)"


def k(d: Composed) -> str:
    once(d, "given many(n) : count", d.rows)
    return "many(n)"


def on(d: Composed) -> str:
    once(d, "given on(n) : bool", d.rows)
    return "on(n)"


def shares(d: Composed) -> str:
    once(d, "given shares(n) : simplex[2]", d.rows)
    return "shares(n)"


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


def state_of_a_state(d: Composed) -> str:
    shares = f"{d.param('simplex', True)}[{d.pick(d.discrete)}]" if d.discrete else d.param("simplex", False)
    d.rows.append(f"latent sub(n) ~ Categorical({shares})")
    return "sub(n)"


def drawn_to_the_one_before(d: Composed) -> str:
    """States that a factor of the rows ties, of shares that no parameter moves."""
    d.rows += [f"latent pot(n) ~ {d.pick(('Categorical([0.3, 0.7])', 'Bernoulli(0.5)'))}",
               "factor 0 if n == 0 else 0.7 * (pot(n) == pot(n-1))"]  # fmt: skip
    return "pot(n)"


STATES: tuple[Part, ...] = (
    row_state, row_state, half_seen_state, hidden_chain, group_state, shares_of_a_group, state_of_a_state,
    drawn_to_the_one_before,
)  # fmt: skip

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


def of_another_family(d: Composed) -> str:
    """A number of a row or of a group, or a count, that is no Gaussian."""
    s, u = d.param("positive", False), d.param("unit", False)
    law = d.pick((f"StudentT(4, 0, {s})", f"Laplace(0, {s})", "Uniform(-1, 2)", f"LogNormal(0, {s})", f"Gamma(2, {s})",
                  f"Exponential({s})", f"Beta(2, {s})", f"VonMises(0, {s})", f"Poisson({s})", f"Geometric({u})",
                  f"Binomial(3, {u})", f"NegativeBinomial(2, {u})"))  # fmt: skip
    if d.chance(2):
        d.groups.append(f"latent other[a] ~ {law}")
        return f"other[{group(d)}]"
    d.rows.append(f"latent other(n) ~ {law}")
    return "other(n)"


def spike(d: Composed) -> str:
    """An effect of one state, and 0 in the other; or what follows from others."""
    if not d.discrete or d.chance(4):
        d.rows += [f"latent h0(n) ~ Normal(0, {d.param('positive', False)})",
                   f"latent twice(n) ~ Delta(2 * h0(n) + {d.element('real')})"]  # fmt: skip
        return "twice(n)"
    law = f"Normal({d.pick(('0', d.param('real', False)))}, {d.param('positive', False)})"
    d.rows.append(f"latent spike(n) ~ Delta(0) if {d.pick(d.discrete)} == 0 else {law}")
    return "spike(n)"


EFFECTS: tuple[Part, ...] = (
    row_effect, group_effect, vector_effect, walk, shared_effect, nested_effect, of_another_family, spike
)  # fmt: skip

# ---------------------------------------------------------------- terms without latents

CURVES = (
    "{c} * abs({x})", "{c} * sqrt({e})", "{c} * {x}^2", "{c} * {x} / (1 + {e})", "{c} * log1p({e})", "{c} * sin({x})",
    "{c} * ({x} > 0)", "{c} * max({x}, 0)", "({c} if {x} < 0 else -{c})", "({c} if -0.5 < {x} < 0.5 else 0)",
    "({c} if {x} < -0.5 else 2 if {x} < 0.5 else -{c})", "({c} if not {x} < 0 and {e} < 1 else 1)", "exp(-{e}) * {c}",
    "{c} * logistic({x})", "{c} * tanh({x})", "sum({c} * {x}^k for k in 3)", "{c} * (n % 2)", "{c} * (n // 2)",
    "{c} * cos({x})", "{c} * lgamma({e})", "{c} * digamma({e})", "{c} * beta_ln({e}, 2)", "{c} * lchoose(5, n % 3)",
    "{c} * logsumexp([{x}, 0, {e}])", "{c} * logit({u})", "{c} * log({e})", "{c} * max([{x}, {e}, 1])", "{c} * {k}",
    "[{c} * k for k in 3][n % 3]", "({c} if {on} else 1)", "{c} * (n == LAST)", "({c} if n == LAST else {x})",
    "{c} * exp(-pi * {u})", "1e-1 * {c}", "{c} * Phi({x})", "sum({c} * k for k in 4 if k != n % 4)",
)  # fmt: skip


PRODUCTS = (
    "{v} @ beta", "sum(beta[i] * {v}[i] for i in 2)", "beta @ A @ {v}", "{v} @ A.T @ beta", "(inv(A) @ beta)[0] * {x}",
    "beta[0] * quad(A, {v})", "beta[1] * trace(A) + beta[0] * logdet(A)", "(outer({v}, {v}) @ beta)[0]",
    "sum([beta[i] for i in 2])", "diag(A) @ beta", "{shares} @ beta",
)  # fmt: skip


def filled(d: Composed, term: str) -> str:
    """A term with givens of the row."""
    for name, given in (("{x}", x), ("{e}", e), ("{v}", v), ("{u}", u), ("{k}", k), ("{on}", on), ("{shares}", shares)):
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


def of_the_past(d: Composed) -> str:
    """Of data that depend on those of the row before."""
    s, c = d.param("positive", False), d.element("real")
    d.rows.append(f"observed past(n) ~ Normal(0, 1) if n == 0 else Normal({c} * past(n-1), {s})")
    return d.pick(("past(n)", f"{d.element('real')} * past(n)", "(past(n-1) if n > 0 else 0)"))


def in_a_loop(d: Composed) -> str:
    """Parameters that a loop declares, each with a prior of its own."""
    d.head += [
        "size K = 2",
        "given middle[K] : real",
        "for lev in K:",
        "    param each[lev] : real ~ Normal(middle[lev], 1)",
    ]
    return f"each[{d.pick(d.discrete)}]" if d.discrete else d.pick(("each[1]", "each[0] - each[1]"))


TERMS: tuple[Part, ...] = (curve, curve, named, of_vectors, of_levels, of_sizes, of_the_past, in_a_loop)

# ---------------------------------------------------------------- latents whose data are their own

# the law of a latent, of a group or of a row, and of what is seen of it; {real} and {positive} are parameters of the
# latent's law, {r} and {p} of the data's
OWN_DATA = (
    ("Beta(2, {positive})", "Bernoulli({l})"), ("Beta(2, {positive})", "Binomial(3, {l})"),
    ("Beta(2, 3)", "Geometric({l})"), ("Beta({positive}, 2)", "NegativeBinomial(2, {l})"),
    ("Gamma(2, {positive})", "Poisson({l})"), ("Gamma({positive}, 1)", "Exponential({l})"),
    ("Gamma(2, {positive})", "Gamma(2, {p} * {l})"), ("Gamma(2, {positive})", "Normal({r}, precision = {l})"),
    ("Exponential({positive})", "Poisson({l} * {e})"), ("Uniform(0, 1)", "Bernoulli({l})"),
    ("InverseGamma(3, {positive})", "Normal({r}, var = {p} * {l})"), ("LogNormal({real}, {positive})", "Poisson({l})"),
    ("VonMises({real}, {positive})", "VonMises({l}, {p})"), ("Dirichlet([1, 2, 2])", "Categorical({l})"),
    ("Dirichlet({positive} * ones(3))", "Multinomial({l}, trials = 4)"),
    ("InverseGamma(3, scale = {positive})", "Normal({r}, var = {l})"),
    ("Wishart(4, eye(2))", "MvNormal([{r}, 1], precision = {l})"), ("Weibull(1.5, {positive})", "Exponential({l})"),
    ("InverseWishart(5, {positive} * eye(2))", "MvNormal([{r}, {r}], {l})"), ("InverseGaussian(2, 1)", "Poisson({l})"),
    ("MvStudentT(5, zeros(2), {positive} * eye(2))", "MvNormal({l}, eye(2))"),
    ("Normal({real}, 1)", "Normal(0, exp({l}))"),
    ("MvNormal(zeros(2), {positive} * eye(2))", "MvNormal([{l}[0] + {r}, {l}[1]], {p} * eye(2))"),
    ("Binomial(3, 0.4)", "Binomial({l}, {share})"), ("Poisson({positive})", "Binomial({l}, {share})"),
)  # fmt: skip

# two latents of a row of which one number is seen
TOGETHER = (
    ("Exponential({p})", "Exponential({p})", "min({l}, {m})"),
    ("Weibull(1.5, {p})", "Exponential({p})", "min({l}, {m})"),
    ("Normal({r}, 1)", "Normal({r}, 1)", "max({l}, {m})"), ("Normal({r}, 1)", "Normal({r}, {p})", "{l} > {m}"),
    ("Poisson({p})", "Poisson({p})", "{l} + {m}"), ("Binomial(2, {share})", "Bernoulli({share})", "{l} + 2 * {m}"),
    ("Normal({r}, {p})", "Normal(0, {p})", "{l} + {m}"), ("Gamma(2, {p})", "Gamma(2, {p})", "max({l}, {m})"),
)  # fmt: skip

# what is observed beside the rest, of parameters by state
BESIDE = (
    "Multinomial({simplex}, trials = 5)", "Multinomial({simplex})", "Dirichlet({p} * ones(3))", "Beta({p}, {p})",
    "Wishart(4, T)", "InverseWishart(5, T)", "Uniform(0, 3)", "Dirichlet([{p}, {p}, 1])", "Binomial({k}, {share})",
    "MvNormal([{r}, 1], diag(q) @ R @ diag(q))", "MvNormal([{r}, {r}], L @ L.T)", "MvStudentT(5, [{r}, 0], {p} * R)",
    "Delta(0) if {on} else Exponential({p})", "Categorical([{share} / 2, {share} / 2, 1 - {share}])",
    "InverseGaussian({p}, {p})", "Weibull({p}, {p})", "VonMises({r}, {p})", "Laplace({r}, {p})",
)  # fmt: skip


MATRICES = (
    ("T)", "param T : spd[2]"), ("R", "param R : correlation[2]"), ("diag(q)", "param q : positive[2]"),
    ("L @", "param below : real"), ("L @", "let L = [[1, 0], [below, 1]]"),
)  # fmt: skip


def of_rows(d: Composed, law: str) -> str:
    """A law with parameters and givens of the row."""
    for name, kind in (("{r}", "real"), ("{p}", "positive"), ("{share}", "unit")):
        while name in law:
            law = law.replace(name, d.element(kind), 1)
    if "{simplex}" in law:
        law = law.replace("{simplex}", d.element("simplex", 3))
    for name, line in MATRICES:
        if name in law and not any(h.startswith(line) for h in d.head):
            d.head.append(line)
    return filled(d, law)


def own_data(d: Composed) -> None:
    law, seen_by = d.pick(OWN_DATA)
    for kind in ("real", "positive"):
        law = law.replace(f"{{{kind}}}", d.param(kind, False)) if f"{{{kind}}}" in law else law
    name = "own(n)"
    if d.chance(2):
        d.groups.append(f"latent own[a] ~ {law}")
        name = f"own[{group(d)}]"
    else:
        d.rows.append(f"latent own(n) ~ {law}")
    d.rows.append(f"observed c0(n) ~ {of_rows(d, seen_by.replace('{l}', name))}")


def together(d: Composed) -> None:
    first, second, how = d.pick(TOGETHER)
    d.rows += [f"latent one(n) ~ {of_rows(d, first)}", f"latent two(n) ~ {of_rows(d, second)}"]
    d.rows.append(f"observed c1(n) ~ Delta({how.replace('{l}', 'one(n)').replace('{m}', 'two(n)')})")


def beside(d: Composed) -> None:
    d.rows.append(f"observed c2(n) ~ {of_rows(d, d.pick(BESIDE))}")


def left_out(d: Composed) -> None:
    """Rows that their place or the data leave out."""
    d.left = d.pick(("n > 0", "n % 2 == 0", f"{x(d)} > 0", f"{x(d)} > 0 or n < 2", "n < LAST"))
    kept = d.pick(("Normal({r}, {p})", "Poisson({p})", "Bernoulli({share})", "Exponential({p})"))
    d.some_rows.append(f"observed c3(n) ~ {of_rows(d, kept)}")


EXTRAS = (own_data, together, beside, left_out)

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
    left: str = ""  # the condition of a plate, and what stands in it
    some_rows: list[str] = field(default_factory=list)

    def param(self, kind: str, indexed: bool, levels: int = 2) -> str:
        """As of any draft, sometimes with a prior of another family."""
        before = len(self.head)
        name = super().param(kind, indexed, levels)
        if len(self.head) > before and "~" not in self.head[-1] and kind in MORE_PRIORS and self.chance(6):
            self.head[-1] += f" ~ {self.pick(MORE_PRIORS[kind])}"
        return name

    def element(self, kind: str, levels: int = 2) -> str:
        """As of any draft; of a state sometimes in order, or adding up to 0."""
        if kind == "real" and self.discrete and self.chance(8):
            self.head.append(f"param level{len(self.head)} : {self.pick(('ordered[2]', 'zero_sum[2]'))}")
            return f"level{len(self.head) - 1}[{self.pick(self.discrete)}]"
        return super().element(kind, levels)


MORE_PRIORS = {
    "real": ("Laplace(0, 1)", "StudentT(4, 0, 2)", "Normal(0, var = 2)", "Uniform(-9, 9)"),
    "positive": ("LogNormal(0, 1)", "Exponential(1)", "InverseGamma(2, 1)", "Weibull(1.5, 2)", "InverseGaussian(1, 2)",
                 "Gamma(2, scale = 1)"),
    "unit": ("Uniform(0, 1)", "Beta(1, 2)"),
}  # fmt: skip


def composed(draft: Draft) -> list[str]:
    """States, effects and terms, which meet in one or two observed variables; plates around them."""
    d = Composed(draft.draw, draft.head, draft.tail)
    d.discrete += [part(d) for part in some(d, STATES, 2)]
    effects = [part(d) for part in some(d, EFFECTS, d.pick((0, 1, 1, 2)))]
    mean = d.pick((" + ", " - ")).join([d.element("real"), *effects, *(part(d) for part in some(d, TERMS, 2))])
    options = LINEAR if effects and not d.chance(4) else LINEAR + LINKED + VECTORS
    for i in range(d.pick((1, 1, 2))):
        seen(d, f"y{i}", options, mean if i == 0 else d.element("real"))
    for extra in d.draw(st.lists(st.sampled_from(EXTRAS), max_size=d.pick((0, 0, 1, 2)), unique=True)):
        extra(d)
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
    if not latents or not d.chance(2):
        return
    names = latents if d.chance(2) else [d.pick(latents)]
    group = len(names) > 1 and d.chance(2)
    how = d.pick(
        (
            "meanfield",
            "meanfield",
            "exact",
            "quadrature",
            "saem",
            "mcmc",
            "mcmc(kernel = slice)",
            "mcmc(kernel = gibbs)",
            "mcmc(kernel = hmc)",
            "mcmc(kernel = metropolis)",
            "saem(kernel = slice)",
        )
    )
    d.tail.append(f"infer {'(' * group}{', '.join(names)}{')' * group} by {how}")


def plates(d: Composed) -> list[str]:
    """The rows by themselves, in each of some groups, or in the groups that they would point at."""
    text = "\n".join([*d.rows, *["", *d.some_rows] * bool(d.left)])
    outer, size, here = "", "N", r"\1[\2]"
    if (d.groups and d.chance(3)) or (not d.groups and d.chance(5)):
        outer, here = ("a", r"\1[a, \2]") if d.groups else ("s", r"\1[s, \2]")
        size = d.pick(("N", f"N[{outer}]"))
    if outer == "a":
        text = text.replace("given of(n) : index[G]\n", "").replace("[of(n)]", "[a]")
    text, left = (
        re.sub(r"\b(\w+)\((n(?:-\d)?)\)", here, part).replace("LAST", f"{size} - 1") for part in (text, d.left)
    )
    every, *some_rows = text.split("\n\n")
    rows = [f"for n in {size}:", *indent(every.split("\n"))]
    for part in some_rows:
        rows += [f"for n in {size} if {left}:", *indent(part.split("\n"))]
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
