"""More shapes of models by chance: chains with longer memories, vectors, three effects that cross, spikes, draws.

Each writes plates as the shapes of `strategies` do, which hold the families, parameters and ties.
"""

from __future__ import annotations

from strategies import GAUSSIAN, SHAPES, Draft, draw_count, givens, indent, observed


def lagged(d: Draft, _: str) -> list[str]:
    """A chain that remembers two steps, or data that read the step before, or transitions that read a covariate."""
    body = givens()
    kind = d.pick(("two", "numbers", "data", "covariate"))
    if kind == "two":
        first, second, later = (d.param("simplex", indexed) for indexed in (False, True, True))
        body.append(
            f"latent z[n] ~ Categorical({first}) if n == 0 else Categorical({second}[z[n-1]]) if n == 1 "
            f"else Categorical(0.3 * {second}[z[n-1]] + 0.7 * {later}[z[n-2]])"
        )
        d.discrete.append("z[n]")
        body += observed(d, 1)
    elif kind == "numbers":
        a, b, drift = d.param("real", False), d.param("real", False), d.param("positive", False)
        body.append(f"latent h[n] ~ Normal(0, 1) if n < 2 else Normal({a} * h[n-1] + {b} * h[n-2], var = {drift})")
        body += observed(d, draw_count(d), GAUSSIAN, "h[n]")
    else:
        if kind == "covariate":
            first, slope = d.param("simplex", False), d.param("real", True)
            move = f"logistic({slope}[z[n-1]] + 0.5 * x[n])"
            body.append(f"latent z[n] ~ Categorical({first}) if n == 0 else Categorical([{move}, 1 - {move}])")
        else:
            body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
        slope, spread = d.param("real", d.chance(2)), d.element("positive")
        coefficient = f"{slope}[z[n]]" if f"{slope}[2]" in " ".join(d.head) else slope
        start = d.element("real")
        body.append(f"observed y0[n] ~ Normal({start}, 1) if n == 0 else Normal({coefficient} * y0[n-1], {spread})")
    return ["for n in N:", *indent(body)]


def vectors(d: Draft, _: str) -> list[str]:
    """Vectors: observed with a state, or made of a latent vector by a matrix of loadings."""
    body = givens()
    state = d.chance(2)
    at, each = ("[z[n]]", "[2]") if state else ("", "")
    d.head += [f"param m{each} : real[2]", f"param S{each} : spd[2]", "param W : real[3, 2]", "param v : positive[3]"]
    if state:
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    if d.chance(2):
        d.head = [h for h in d.head if " W " not in h and " v " not in h]
        body.append(f"observed y0[n] ~ MvNormal(m{at}, {d.pick((f'S{at}', f'2 * S{at}'))})")
        if d.chance(2):
            body += [line.replace("y0[n]", "y1[n]") for line in observed(d, 1)]
    else:
        body.append(f"latent h[n] ~ MvNormal(zeros(2), {d.pick(('eye(2)', f'S{at}'))})")
        body.append(f"observed y0[n] ~ MvNormal({d.pick(('W @ h[n]', f'W @ (h[n] + m{at})'))}, diag(v))")
    text = "\n".join(body)
    read = {"param m": f"m{at}", "param S": f"S{at}", "param W": "W @", "param v": "diag(v)"}
    d.head = [h for h in d.head if h[:7] not in read or read[h[:7]] in text]
    return ["for n in N:", *indent(body)]


def three_effects(d: Draft, _: str) -> list[str]:
    """Three Gaussian effects that meet in the rows, sometimes with a class of each element of one."""
    body = [*givens(), *(f"given {i}[n] : index[{i.upper()}]" for i in "ijk")]
    body += observed(d, 1, GAUSSIAN, "u[i[n]] + v[j[n]] + w[k[n]]")
    out = []
    for size, name in zip("IJK", "uvw", strict=True):
        spread = d.param("positive", False)
        out += [f"for a{name} in {size}:", f"    latent {name}[a{name}] ~ Normal(0, var = {spread})"]
    if d.chance(2):
        d.tail = [f"infer u, v, w by {d.pick(('meanfield', 'mcmc'))}"]
    return [*out, "for n in N:", *indent(body)]


def spikes(d: Draft, _: str) -> list[str]:
    """Zeros of two kinds, and latents that are a point in some rows."""
    body = givens()
    body.append(f"latent z[n] ~ Bernoulli({d.param('unit', False)})")
    if d.chance(2):
        rest = d.pick(("Poisson({p})", "Poisson({p} * e[n])", "Binomial(4, {p} / (1 + {p}))"))
        body.append(f"observed y0[n] ~ Delta(0) if z[n] else {rest.format(p=d.param('positive', False))}")
    else:
        body.append(
            f"latent h[n] ~ Delta(0) if z[n] else Normal({d.param('real', False)}, {d.param('positive', False)})"
        )
        body += observed(d, draw_count(d), GAUSSIAN, "h[n]")
    return ["for n in N:", *indent(body)]


def no_family(d: Draft, _: str) -> list[str]:
    """A Gaussian latent that no family closes, of rows or of groups: at points, or drawn."""
    outer, inner = [], givens()
    if d.chance(3):
        outer.append(f"latent z[g] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[g]")
    outer.append(f"latent b[g] ~ Normal({d.element('real')}, {d.param('positive', False)})")
    slope = d.pick(("b[g]", "b[g] * x[n]", "0.5 * b[g] + x[n]"))
    inner.append(d.pick((f"observed y0[n] ~ Poisson(exp({slope}))", f"observed y0[n] ~ Bernoulli(logistic({slope}))",
                         f"observed y0[n] ~ Binomial(3, logistic({slope}))")))  # fmt: skip
    if d.chance(2):
        d.tail = [f"infer b by {d.pick(('mcmc', 'saem', 'quadrature'))}"]
    size = d.pick(("N", "N[g]"))
    inner = [line.replace("[n]", "[g, n]") for line in inner]
    return ["for g in G:", *indent(outer), f"    for n in {size}:", *indent(indent(inner))]


def branching(d: Draft, _: str) -> list[str]:
    """Latents of one family or another by what their data say."""
    body = givens()
    one, other = d.family(GAUSSIAN), d.family(GAUSSIAN)
    body.append(f"latent h[n] ~ {one} if x[n] < 0 else {other}")
    if d.chance(2):
        p, q = d.param("simplex", False), d.param("simplex", False)
        body.append(f"latent z[n] ~ Categorical({p}) if x[n] < 0.3 else Categorical({q})")
        d.discrete.append("z[n]")
    body += observed(d, draw_count(d), GAUSSIAN, d.pick(("h[n]", "2 * h[n]", "h[n] * x[n]")))
    return ["for n in N:", *indent(body)]


def mixed(d: Draft, _: str) -> list[str]:
    """Factors of a mean-field q over classes, scales and effects of one model."""
    body = givens()
    body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
    body.append(f"latent w[n] ~ Gamma(2, {d.param('positive', False)})")
    body.append(f"latent h[n] ~ Normal(0, {d.param('positive', False)})")
    m = d.param("real", True)
    body.append(f"observed y0[n] ~ Normal({m}[z[n]] + h[n], precision = w[n])")
    d.tail = [d.pick(("infer z, w, h by meanfield", "infer h, w by meanfield"))]
    return ["for n in N:", *indent(body)]


WIDER = {
    "lagged": lagged, "vectors": vectors, "three effects": three_effects, "spikes": spikes, "no family": no_family,
    "branching": branching, "mixed": mixed,
}  # fmt: skip
SHAPES.update(WIDER)
