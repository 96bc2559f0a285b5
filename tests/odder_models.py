"""Shapes of models by chance that the others lack: latents on no plate, equal states, sums and orders of latents that
are seen, effects that rows of ragged plates point at, families of the user's own, `infer` lines beside any shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from strategies import FAMILIES, GAUSSIAN, OWN, SHAPES, Draft, draw_count, givens, indent, observed

OWN |= {
    "Zeta({positive})": "family Zeta(k : count | a : positive) = k * log(a) - (k + 1) * log(1 + a)",
    "Arc({real}, {positive})": "family Arc(x : real | m : real, s : positive) = -log(pi) - log(s + (x - m)^2 / s)",
    "Half({positive})": "family Half(x : positive | s : positive) = log(2 / pi) / 2 - log(s) - x^2 / (2*s^2)",
    "Power({positive})": "family Power(x : unit | a : positive) = log(a) + (a - 1) * log(x)",
}  # fmt: skip


def on_no_plate(d: Draft, _: str) -> list[str]:
    """A latent that all rows share: a mean, a scale, a state; beside states of rows or not."""
    out, body = [], givens()
    kind = d.pick(("mean", "vector", "state", "rate", "two"))
    if d.chance(3):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    if kind == "state":
        out.append(f"latent c ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("c")
        body += observed(d, draw_count(d))
    elif kind == "rate":
        out.append(f"latent w ~ Gamma(2, {d.param('positive', False)})")
        family = d.pick(("Poisson(w * e[n])", "Normal(0, precision = w)", "Exponential(2 * w)"))
        body.append(f"observed y0[n] ~ {family}")
    elif kind == "vector":
        out.append(f"latent b : real[2] ~ MvNormal(zeros(2), {d.param('positive', False)} * eye(2))")
        body += observed(d, draw_count(d), GAUSSIAN, "b[0] + b[1] * x[n]")
    else:
        out.append(f"latent b ~ Normal({d.param('real', False)}, {d.param('positive', False)})")
        more = "b"
        if kind == "two":
            body.append(f"latent h[n] ~ Normal({d.pick(('0', 'b'))}, {d.param('positive', False)})")
            more = d.pick(("b + h[n]", "h[n]"))
        body += observed(d, draw_count(d), GAUSSIAN, more)
    return [*out, "for n in N:", *indent(body)]


def equal(d: Draft, _: str) -> list[str]:
    """What a row is by whether two states are equal, or a state is what data say."""
    body = [*givens(), "given g[n] : category[2]"]
    for z in ("z", "u"):
        body.append(f"latent {z}[n] ~ Categorical({d.param('simplex', False)})")
    test = d.pick(("z[n] == u[n]", "z[n] == g[n]", "z[n] != u[n]", "z[n] == 1 and u[n] == 0", "z[n] < u[n] + g[n]",
                   "z[n] == u[n] or x[n] < 0"))  # fmt: skip
    if "u[n]" not in test:
        body.pop()
    if d.chance(2):
        body.append(f"observed y0[n] ~ Normal({d.param('real', False)} if {test} else {d.param('real', False)}, 1)")
    else:
        name = d.pick(FAMILIES).partition("(")[0]
        kinds = tuple(f for f in FAMILIES if f.startswith(f"{name}("))  # of one support
        body.append(f"observed y0[n] ~ {d.family(kinds)} if {test} else {d.family(kinds)}")
    if d.chance(2):
        d.discrete.append("z[n]")
        body += [line.replace("y0", "y1") for line in observed(d, 1)]
    return ["for n in N:", *indent(body)]


def seen_together(d: Draft, _: str) -> list[str]:
    """Two latents of a row of which their sum, their difference, the larger, or whether one is larger, is seen."""
    body = givens()
    if d.chance(2):
        rate, other = d.param("positive", False), d.param("positive", False)
        body.append(f"latent k[n] ~ {d.pick((f'Poisson({rate})', f'Binomial(2, {rate} / (1 + {rate}))'))}")
        body.append(f"latent j[n] ~ {d.pick((f'Poisson({other})', f'Bernoulli({other} / (1 + {other}))'))}")
        body.append(f"observed y0[n] ~ Delta({d.pick(('k[n] + j[n]', 'j[n] + k[n]', 'k[n] + 2 * j[n]'))})")
    else:
        d.plain = True
        body.append(f"latent h[n] ~ {d.family(GAUSSIAN)}")
        body.append(f"latent k[n] ~ {d.family(GAUSSIAN)}")
        how = ("h[n] + k[n]", "h[n] - k[n]", "max(h[n], k[n])", "h[n] > k[n]", "max(h[n] + x[n], k[n])")
        body.append(f"observed y0[n] ~ Delta({d.pick(how)})")
    return ["for n in N:", *indent(body)]


def pointed_at(d: Draft, _: str) -> list[str]:
    """Rows of a plate, ragged or not, that point at elements of another: their state, effect or scale."""
    outer, inner = [], [*givens(), "given of[n] : index[G]"]
    kind = d.pick(("state", "effect", "both", "scale"))
    if kind in ("state", "both"):
        outer.append(f"latent z[g] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[of[n]]")
    if kind == "scale":
        outer.append(f"latent w[g] ~ Gamma(2, {d.param('positive', False)})")
        inner.append("observed y0[n] ~ Poisson(w[of[n]] * e[n])")
    elif kind == "state":
        inner += observed(d, draw_count(d))
    else:
        d.plain = True
        outer.append(f"latent b[g] ~ Normal(0, {d.param('positive', False)})")
        d.plain = False
        inner += observed(d, 1, GAUSSIAN, "b[of[n]]")
    if d.chance(2):
        return ["for g in G:", *indent(outer), "for n in N:", *indent(inner)]
    inner = [re.sub(r"\b(\w+)\[n\]", r"\1[s, n]", line) for line in inner]
    rows = f"    for n in {d.pick(('N', 'N[s]'))}:"
    return ["for g in G:", *indent(outer), "for s in S:", rows, *indent(indent(inner))]


def own(d: Draft, _: str) -> list[str]:
    """Families of the user's own, alone, under a state, as a latent's."""
    body = givens()
    if d.chance(2):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    for i in range(draw_count(d)):
        chosen = d.pick(tuple(OWN))
        d.declared[chosen] = OWN[chosen]
        slots = {k: d.argument(k) for k in ("real", "positive") if f"{{{k}}}" in chosen}
        body.append(f"observed y{i}[n] ~ {chosen.format(**slots)}")
    return ["for n in N:", *indent(body)]


def asked(d: Draft, _: str) -> list[str]:
    """Any other shape, with a line that asks for a way of inference of its latents, or of some."""
    shape = d.pick(tuple(n for n in SHAPES if n not in ODDER))
    body = SHAPES[shape](d, shape)
    latents = re.findall(r"latent (\w+)", "\n".join(body))
    if latents and not any(d.tail):
        some = latents if d.chance(2) else [d.pick(tuple(latents))]
        names = f"({', '.join(some)})" if len(some) > 1 and d.chance(3) else ", ".join(some)
        how = d.pick(("meanfield", "mcmc", "saem", "exact", "mcmc(kernel = slice)", "mcmc(kernel = metropolis)"))
        d.tail = [f"infer {names} by {how}"]
    return body


Shape = Callable[[Draft, str], list[str]]
ODDER: dict[str, Shape] = {
    "on no plate": on_no_plate, "equal": equal, "seen together": seen_together, "pointed at": pointed_at, "own": own,
}  # fmt: skip
SHAPES.update(ODDER)
ODDER["asked"] = SHAPES["asked"] = asked
