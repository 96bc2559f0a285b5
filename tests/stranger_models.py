"""Still more shapes of models by chance: rows left out, links, times that are cut, points, sums over rows, defaults.

Each writes plates as the shapes of `strategies` do, which hold the families, parameters and ties.
"""

from __future__ import annotations

from strategies import FAMILIES, GAUSSIAN, SHAPES, Draft, draw_count, givens, indent, observed

TIMES = ("Exponential({a})", "Weibull({a}, {b})", "Gamma({a}, {b})", "LogNormal({m}, {a})", "Normal({m}, {a})")


def left_out(d: Draft, _: str) -> list[str]:
    """Rows that the data, their place or a parity leave out, beside rows that all stand."""
    kept = d.pick(("x[n] > 0", "n > 0", "n % 2 == 0", "x[n] > 0 or n < 2"))
    body = [*givens(), f"latent z[n] ~ Categorical({d.param('simplex', False)})"]
    d.discrete.append("z[n]")
    inside = observed(d, 1)
    outside = f"observed w[n] ~ {d.family(FAMILIES)}"
    return ["for n in N:", *indent([*body, outside]), f"for n in N if {kept}:", *indent(inside)]


def links(d: Draft, _: str) -> list[str]:
    """Regressions by links, of rows or within states, sums over covariates, shares by softmax."""
    d.head += ["param c : real[2]", "given shift : real = 0.3"]
    d.plain = True
    body = ["given v[n] : real[2]", "given x[n] : real", "given e[n] : positive"]
    mean = d.pick(("v[n] @ c", "sum(c[j] * v[n][j] for j in 2)", "c[0] * x[n] + c[1] * x[n]^2", "v[n] @ c + shift"))
    if d.chance(2):
        body.append(f"latent z[n] ~ Categorical({d.pick(('softmax(concat(0, c[0] * x[n]))', '[0.4, 0.6]'))})")
        d.discrete.append("z[n]")
        mean = f"{mean} + {d.param('real', True)}[z[n]]"
    kinds = ("Bernoulli(logit = {})", "Poisson(log_rate = {})", "Binomial(3, logit = {})", "Normal({}, e[n])",
             "Bernoulli(Phi({}))", "StudentT(4, {}, 1)", "Categorical(softmax(concat(0, {})))")  # fmt: skip
    body.append(f"observed y0[n] ~ {d.pick(kinds).format(mean)}")
    return ["for n in N:", *indent(body)]


def times(d: Draft, _: str) -> list[str]:
    """Times of which some are cut, the first or the last of two, intervals and thresholds."""
    body = [*givens(), "given c[n] : positive"]
    if d.chance(3):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")

    def time() -> str:
        return d.pick(TIMES).format(a=d.element("positive"), b=d.element("positive"), m=d.element("real"))

    body.append(f"latent u[n] ~ {time()}")
    how = d.pick(("min(u[n], c[n])", "u[n] > c[n]", "(u[n] > c[n]) + (u[n] > 2 * c[n])", "two", "max(u[n], c[n])"))
    if how == "two":
        body.append(f"latent v[n] ~ {time()}")
        how = d.pick(("min(u[n], v[n])", "max(u[n], v[n])"))
    body.append(f"observed y0[n] ~ Delta({how})")
    return ["for n in N:", *indent(body)]


def at_points(d: Draft, _: str) -> list[str]:
    """A latent that no family closes, of a row or of a group."""
    d.plain = True
    spread = d.param("positive", False)
    seen = ("Bernoulli(logit = {a} + {h})", "Poisson(log_rate = {a} + {h})", "Normal({a}, exp({h}))",
            "Binomial(3, Phi({a} + {h}))", "StudentT(3, {a} + {h}, 1)", "Laplace({a} + {h}, 1)")  # fmt: skip
    density = d.pick(seen)
    if d.chance(2):
        body = [
            f"latent h[n] ~ {d.pick(('Normal(0, {s})', 'Laplace(0, {s})', 'StudentT(5, 0, {s})')).format(s=spread)}"
        ]
        body += [
            f"observed y{i}[n] ~ {density.format(a=d.param('real', False), h='h[n]')}" for i in range(draw_count(d))
        ]
        return ["for n in N:", *indent(body)]
    inner = f"observed y0[g, n] ~ {density.format(a=d.param('real', False), h='h[g]')}"
    return ["for g in G:", f"    latent h[g] ~ Normal(0, {spread})", "    for n in N:", f"        {inner}"]


def of_all_rows(d: Draft, _: str) -> list[str]:
    """Sums over other rows, cumulated ones, neighbours in a list, bounds by givens, tables that data look up."""
    a, spread = d.param("real", False), d.param("positive", False)
    d.head += ["given top : positive = 2.5", "param r : real(min = -1, max = top)"]
    means = (
        f"{a} + r * sum(x[j] for j in N if j < n)", f"{a} * max(x) + r", f"r + sum({a} * x[j] for j in N)",
        f"[{a}, r, {a} + r][n % 3]", f"{a} if x[n] < 0 else r * x[n]", f"r * cumsum([{a}, 1, {a}])[n % 3]",
    )  # fmt: skip
    mean = d.pick(means)
    return ["for n in N:", "    given x[n] : real", f"    observed y0[n] ~ Normal({mean}, {spread})"]


def matrices(d: Draft, _: str) -> list[str]:
    """Correlations with their scales, matrices of few parameters, Student vectors, precisions."""
    spread = d.param("positive", False)
    d.head += ["param R : correlation[2]", "param m : real[2]", "param q : positive[2]"]
    cov = d.pick(("diag(q) @ R @ diag(q)", f"{spread} * R", f"diag(q) + {spread} * ones(2, 2)", f"{spread}^2 * eye(2)"))
    if d.chance(2):
        d.plain = True
        lines = [
            f"latent h[n] : real[2] ~ MvNormal(m, {cov})",
            f"observed y0[n] ~ {d.family(GAUSSIAN, 'h[n][0] - h[n][1]')}",
        ]
        return ["for n in N:", *indent(lines)]
    family = d.pick((f"MvNormal(m, {cov})", f"MvNormal(m, precision = {cov})", f"MvStudentT(5, m, {cov})"))
    return ["for n in N:", f"    observed y0[n] : real[2] ~ {family}"]


STRANGER = {
    "left out": left_out, "links": links, "times": times, "at points": at_points, "of all rows": of_all_rows,
    "matrices": matrices,
}  # fmt: skip
SHAPES.update(STRANGER)
