"""Still more shapes of models by chance: the rest of the families and links, penalties, domains of parameters, cut and
censored data, trees, counts that are not seen, documents, data that other data read.

Found by counting which rungs, rules and families the shapes before these never reach.
"""

from __future__ import annotations

from strategies import GAUSSIAN, PRIORS, SHAPES, Draft, draw_count, givens, indent, observed

OTHERS = (
    "Weibull(1.5, {positive})",
    "InverseGaussian({positive}, 2)",
    "Beta(2, {positive})",
    "StudentT(4, {real}, {positive})",
    "VonMises(0.3, {positive})",
    "Gamma({positive}, 2)",
    "InverseGamma(3, scale = {positive})",
    "LogNormal({real}, var = {positive})",
    "NegativeBinomial(3, mean = {positive})",
    "Bernoulli(logit = {real})",
    "Binomial(4, logit = {real})",
    "Poisson(log_rate = {real})",
)


def other_families(d: Draft, _: str) -> list[str]:
    """Rows of the families and links that `FAMILIES` leaves out, with a state or without, sometimes a penalty."""
    body = givens()
    if not d.chance(3):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    body += observed(d, draw_count(d), OTHERS)
    scalars = [h.split()[1] for h in d.head if h.endswith((": real", ": positive"))]
    if scalars and d.chance(2):
        d.tail = [f"factor -0.5 * ({d.pick(scalars)} - 1)^2"]
    return ["for n in N:", *indent(body)]


def domains(d: Draft, _: str) -> list[str]:
    """Parameters with bounds, an order, a sum of 0; sometimes with a prior."""
    body = givens()
    state = d.chance(2)
    if state:
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
    kind = d.pick(("ordered[2]", "zero_sum[2]", "bounded", "half"))
    at = "z[n]" if state else "g[n]"
    if not state:
        body.append("given g[n] : index[2]")
    if kind in ("bounded", "half"):
        domain, law = ("real(min = -1, max = 3)", "") if kind == "bounded" else ("positive(min = 0.2)", "")
        d.head.append(f"param q[2] : {domain}{law}")
    else:
        d.head.append(f"param q : {kind}")
    spread = d.param("positive", False)
    body.append(f"observed y0[n] ~ {d.pick((f'Normal(q[{at}], {spread})', f'Normal(q[{at}] * x[n] + 1, {spread})'))}")
    return ["for n in N:", *indent(body)]


def cut(d: Draft, _: str) -> list[str]:
    """Data of a cut family, or a Gaussian that is seen up to a limit or by its sign."""
    body = givens()
    kind = d.pick(("cut", "limit", "sign"))
    mean, spread = d.param("real", False), "1" if kind == "sign" else d.param("positive", False)
    if kind == "cut":
        body.append(f"observed y0[n] : real(min = -1) ~ Normal({mean}, {spread})")
    elif kind == "limit":
        body += [f"latent h[n] ~ Normal({mean} + x[n], {spread})", "observed y0[n] ~ Delta(min(h[n], 1))"]
    else:
        body += [f"latent h[n] ~ Normal({mean} * x[n], {spread})", "observed y0[n] ~ Delta(h[n] > 0)"]
    return ["for n in N:", *indent(body)]


def trees(d: Draft, _: str) -> list[str]:
    """A tree of states or of numbers: each element has a parent before it."""
    body = [*givens(), "given up[n] : index[N]"]
    if d.chance(2):
        first, later = d.param("simplex", False), d.param("simplex", True)
        body.append(f"latent z[n] ~ Categorical({first}) if n == 0 else Categorical({later}[z[up[n]]])")
        d.discrete.append("z[n]")
        body += observed(d, 1)
    else:
        drift = d.param("positive", False)
        body.append(f"latent h[n] ~ Normal(0, 1) if n == 0 else Normal(h[up[n]], var = {drift})")
        body += observed(d, 1, GAUSSIAN, "h[n]")
    return ["for n in N:", *indent(body)]


def unseen_counts(d: Draft, _: str) -> list[str]:
    """A count that is not seen, of which some are, or that moves the data."""
    body = givens()
    rate = d.param("positive", False)
    body.append(f"latent k[n] ~ {d.pick((f'Poisson({rate})', f'Binomial(3, {rate} / (1 + {rate}))'))}")
    share = d.param("unit", False)
    body.append(f"observed y0[n] ~ {d.pick((f'Binomial(k[n], {share})', f'Normal(k[n] + {share}, 1)'))}")
    return ["for n in N:", *indent(body)]


def documents(d: Draft, _: str) -> list[str]:
    """Shares of groups with a Dirichlet law, and the states of the rows inside."""
    words = d.param("simplex", True, 3)
    d.head.append("param c : positive[2]")
    size = d.pick(("N", "N[g]"))
    d.tail = [d.pick(("infer t, z by meanfield", "infer t by mcmc", ""))]
    return [
        "for g in G:", "    latent t[g] ~ Dirichlet(c)", f"    for n in {size}:",
        "        latent z[g, n] ~ Categorical(t[g])",
        f"        observed y0[g, n] ~ Categorical({words}[z[g, n]])",
    ]  # fmt: skip


def read_data(d: Draft, _: str) -> list[str]:
    """Data that other data read: where one is missing it is a latent."""
    body = givens()
    if d.chance(2):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    body += observed(d, 1, GAUSSIAN)
    slope, spread = d.element("real"), d.element("positive")
    body.append(f"observed w[n] ~ Normal({slope} * y0[n], {spread})")
    return ["for n in N:", *indent(body)]


def count_vectors(d: Draft, _: str) -> list[str]:
    """Vectors of counts of a state."""
    shares = d.param("simplex", True, 3)
    body = [f"latent z[n] ~ Bernoulli({d.param('unit', False)})"]
    body.append(f"observed y0[n] ~ {d.pick((f'Multinomial({shares}[z[n]])', f'Multinomial({shares}[z[n]], 3)'))}")
    return ["for n in N:", *indent(body)]


def priors(d: Draft, _: str) -> list[str]:
    """A prior on every parameter, those of a state each by itself."""
    out = observed_rows(d)
    names = {"real": PRIORS["real"], "positive": "InverseGamma(2, 1)", "unit": PRIORS["unit"]}
    d.head = [h if "~" in h or "simplex" in h else f"{h} ~ {names[h.split()[-1]]}" for h in d.head]
    return out


def observed_rows(d: Draft) -> list[str]:
    """Rows with a state, for a shape that changes what was declared."""
    body = [*givens(), f"latent z[n] ~ Categorical({d.param('simplex', False)})"]
    d.discrete.append("z[n]")
    return ["for n in N:", *indent([*body, *observed(d, draw_count(d))])]


RARER = {
    "other families": other_families, "domains": domains, "cut": cut, "trees": trees, "unseen counts": unseen_counts,
    "documents": documents, "read data": read_data, "count vectors": count_vectors, "priors": priors,
}  # fmt: skip
SHAPES.update(RARER)
