"""Well-typed models by chance, as text: what Hypothesis draws and shrinks.

A model has a plate, sometimes with a second one inside (all of one length, or ragged), discrete and continuous latents,
chains, groups, parameters with priors and ties by `let`, and observed variables of many families.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

# families, with the kinds of their arguments
FAMILIES = (
    "Normal({real}, {positive})",
    "Normal({real}, var = {positive})",
    "Normal({real}, precision = {positive})",
    "LogNormal({real}, {positive})",
    "Laplace(0.5, {positive})",
    "Exponential({positive})",
    "Gamma(2, {positive})",
    "InverseGamma(3, {positive})",
    "Poisson({positive})",
    "Bernoulli({unit})",
    "Binomial(3, {unit})",
    "Geometric({unit})",
    "NegativeBinomial(2, {unit})",
    "Categorical({simplex})",
)
GAUSSIAN = FAMILIES[:3]
PRIORS = {"real": "Normal(0.5, 2)", "positive": "Gamma(2, 1)", "unit": "Beta(2, 3)", "simplex": "Dirichlet([2, 3])"}


@dataclass
class Draft:
    """A model being written; `draw` is Hypothesis's."""

    draw: st.DrawFn
    head: list[str] = field(default_factory=list)
    lets: list[str] = field(default_factory=list)
    known: dict[str, list[str]] = field(default_factory=dict)
    discrete: list[str] = field(default_factory=list)  # latents of two levels, as they are called here
    normal: list[str] = field(default_factory=list)  # Gaussian latents

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def pick(self, options: list[str] | tuple[str, ...]) -> str:
        return self.draw(st.sampled_from(options))

    def param(self, kind: str, indexed: bool, levels: int = 2) -> str:
        """A parameter, sometimes one that is used already."""
        key = f"{kind} {indexed} {levels}"
        if self.known.get(key) and self.chance(5):
            return self.pick(self.known[key])
        name = f"{kind[0]}{len(self.head)}"
        prior = f" ~ {PRIORS[kind]}" if levels == 2 and self.chance(4) else ""
        domain = f"simplex[{levels}]" if kind == "simplex" else kind
        self.head.append(f"param {name}{'[2]' if indexed else ''} : {domain}{prior}")
        self.known.setdefault(key, []).append(name)
        return name

    def element(self, kind: str, levels: int = 2) -> str:
        """A parameter, by the state of a latent or not."""
        if self.discrete and self.chance(2):
            return f"{self.param(kind, True, levels)}[{self.pick(self.discrete)}]"
        return self.param(kind, False, levels)

    def argument(self, kind: str) -> str:
        """An expression of that domain, in parameters, latents and givens."""
        if kind == "simplex":
            return self.element("simplex", 3)
        base = self.element(kind)
        forms = {
            "real": ["{b}", "{b} * x[n]", "2 * {b} + x[n]", "{b} - 1"],
            "positive": ["{b}", "{b} * e[n]", "2 * {b}"],
            "unit": ["{b}", "1 - {b}"],
        }
        if self.chance(4) and kind != "unit":
            return self.tied(kind, base)
        return self.pick(forms[kind]).format(b=base)

    def tied(self, kind: str, base: str) -> str:
        """A `let` that two places may share."""
        if "[" in base:
            return base
        name = f"t{len(self.lets)}"
        self.lets.append(f"let {name} = {'-' if kind == 'real' else '3 * '}{base}")
        return name

    def family(self, options: tuple[str, ...], also: str = "") -> str:
        chosen = self.pick(options)
        slots = {k: self.argument(k) for k in ("real", "positive", "unit", "simplex") if f"{{{k}}}" in chosen}
        if also and "real" in slots:
            slots["real"] += f" + {also}"
        return chosen.format(**slots)


@st.composite
def models(draw: st.DrawFn) -> str:
    """The text of a model."""
    d = Draft(draw)
    shape = d.pick(("rows", "rows", "chain", "groups", "ragged", "crossed", "scale"))
    write = {"rows": rows, "chain": chain, "groups": groups, "ragged": groups, "crossed": crossed, "scale": scale}
    body = write[shape](d, shape)
    return "\n".join(["model Random", *d.head, *d.lets, *body]) + "\n"


def observed(d: Draft, count: int, options: tuple[str, ...] = FAMILIES, also: str = "") -> list[str]:
    return [f"observed y{i}[n] ~ {d.family(options, also)}" for i in range(count)]


def givens() -> list[str]:
    return ["given x[n] : real", "given e[n] : positive"]


def rows(d: Draft, _: str) -> list[str]:
    """Rows by themselves, with none to two discrete latents and sometimes a Gaussian one."""
    body = givens()
    if not d.chance(6):
        if d.chance(3):
            body.append(f"latent z[n] ~ Bernoulli({d.param('unit', False)})")
        else:
            body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    if d.discrete and d.chance(3):
        body.append(f"latent u[n] ~ Categorical({d.element('simplex')})")
        d.discrete.append("u[n]")
    if d.chance(3):
        body.append(f"latent h[n] ~ {d.family(GAUSSIAN)}")
        loading = "h[n]" if d.chance(2) else f"{d.param('real', False)} * h[n]"
        body += observed(d, draw_count(d), GAUSSIAN, loading)
    else:
        body += observed(d, draw_count(d))
    return ["for n in N:", *indent(body)]


def chain(d: Draft, _: str) -> list[str]:
    """A hidden chain, of states or of numbers."""
    body = givens()
    if d.chance(2):
        first, later = d.param("simplex", False), d.param("simplex", True)
        body.append(f"latent z[n] ~ Categorical({first}) if n == 0 else Categorical({later}[z[n-1]])")
        d.discrete.append("z[n]")
        body += observed(d, draw_count(d))
    else:
        drift, slope = d.param("positive", False), d.param("real", False) if d.chance(2) else "1"
        body.append(f"latent h[n] ~ Normal(0, 1) if n == 0 else Normal({slope} * h[n-1], var = {drift})")
        body += observed(d, draw_count(d), GAUSSIAN, "h[n]")
    return ["for n in N:", *indent(body)]


def groups(d: Draft, shape: str) -> list[str]:
    """Latents of groups, and rows inside them: all groups of one size, or each of its own."""
    outer = []
    if d.chance(2):
        outer.append(f"latent z[g] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[g]")
    normal = not d.discrete or d.chance(2)
    if normal:
        spread = d.pick(("Normal(0, {s})", "Normal(0, var = {s})")).format(s=d.element("positive"))
        outer.append(f"latent b[g] ~ {spread}")
    inner = givens()
    inner += observed(d, draw_count(d), GAUSSIAN if normal else FAMILIES, "b[g]" if normal else "")
    size = "N[g]" if shape == "ragged" else "N"
    inner = [line.replace("[n]", "[g, n]") for line in inner]
    return ["for g in G:", *indent(outer), f"    for n in {size}:", *indent(indent(inner))]


def crossed(d: Draft, _: str) -> list[str]:
    """Two Gaussian effects that meet in the rows, by given indices."""
    body = [*givens(), "given i[n] : index[I]", "given j[n] : index[J]"]
    body += observed(d, 1, GAUSSIAN, "u[i[n]] + v[j[n]]")
    first, second = d.param("positive", False), d.param("positive", False)
    return [
        "for a in I:", f"    latent u[a] ~ Normal(0, var = {first})",
        "for b in J:", f"    latent v[b] ~ Normal(0, {second})",
        "for n in N:", *indent(body),
    ]  # fmt: skip


def scale(d: Draft, _: str) -> list[str]:
    """A Gamma latent that is a rate or a precision, alone or beside a state."""
    body = givens()
    if d.chance(3):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    shape = d.pick(("2", "1.5", d.element("positive")))
    body.append(f"latent w[n] ~ Gamma({shape}, {d.element('positive')})")
    families = (
        "Normal({real}, precision = w[n] * {positive})",
        "Poisson(w[n] * {positive})",
        "Exponential(w[n] * {positive})",
        "Gamma(2, w[n] * {positive})",
    )
    return ["for n in N:", *indent([*body, *observed(d, draw_count(d), families)])]


def draw_count(d: Draft) -> int:
    return d.draw(st.integers(1, 2))


def indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
