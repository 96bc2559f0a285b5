"""Well-typed models by chance, as text: what Hypothesis draws and shrinks.

A model has a plate, sometimes with a second or a third one inside (all of one length, or ragged), discrete and
continuous latents, chains (of states, of numbers, of both side by side, one for each group), groups, parameters with
priors and ties by `let`, branches by data, observed variables of many families, some of the user's own, and sometimes a
line that asks for mean-field.
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
OWN = {"Ray({positive})": "family Ray(x : positive | s : positive) = log(x) - 2*log(s) - x^2 / (2*s^2)"}
PRIORS = {"real": "Normal(0.5, 2)", "positive": "Gamma(2, 1)", "unit": "Beta(2, 3)", "simplex": "Dirichlet([2, 3])"}


@dataclass
class Draft:
    """A model being written; `draw` is Hypothesis's."""

    draw: st.DrawFn
    head: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)  # infer lines
    declared: dict[str, str] = field(default_factory=dict)  # families of the user's own
    plain: bool = False  # arguments without data of rows
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
        if self.plain:
            return base
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
        chosen = self.pick((*options, *OWN) if options is FAMILIES else options)
        if chosen in OWN:
            self.declared[chosen] = OWN[chosen]
        slots = {k: self.argument(k) for k in ("real", "positive", "unit", "simplex") if f"{{{k}}}" in chosen}
        if also and "real" in slots:
            slots["real"] += f" + {also}"
        return chosen.format(**slots)


@st.composite
def models(draw: st.DrawFn) -> str:
    """The text of a model."""
    d = Draft(draw)
    shape = d.pick(tuple(SHAPES))
    body = SHAPES[shape](d, shape)
    return "\n".join(["model Random", *d.declared.values(), *d.head, *d.lets, *body, *d.tail]) + "\n"


def observed(d: Draft, count: int, options: tuple[str, ...] = FAMILIES, also: str = "") -> list[str]:
    """Observed variables of a row, sometimes of one family or another by what its data say."""
    out = []
    for i in range(count):
        family = d.family(options, also)
        if d.chance(6) and options is GAUSSIAN:
            family = f"{family} if x[n] < 0.2 else {d.family(options, also)}"
        out.append(f"observed y{i}[n] ~ {family}")
    return out


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


def group_chains(d: Draft, shape: str) -> list[str]:
    """A hidden chain in each group, of states or of numbers; of groups that share a length, or of any length."""
    inner = givens()
    if d.chance(2):
        first, later = d.param("simplex", False), d.param("simplex", True)
        inner.append(f"latent z[n] ~ Categorical({first}) if n == 0 else Categorical({later}[z[n-1]])")
        d.discrete.append("z[n]")
        inner += observed(d, draw_count(d))
    else:
        slope, drift = d.param("real", False) if d.chance(2) else "1", d.param("positive", False)
        inner.append(f"latent h[n] ~ Normal(0, 1) if n == 0 else Normal({slope} * h[n-1], var = {drift})")
        inner += observed(d, draw_count(d), GAUSSIAN, "h[n]")
    size = d.pick(("N", "N[g]"))
    inner = [line.replace("[n-1]", "[g, n-1]").replace("[n]", "[g, n]") for line in inner]
    return ["for g in G:", f"    for n in {size}:", *indent(indent(inner))]


def two_chains(d: Draft, _: str) -> list[str]:
    """Two hidden chains side by side that meet in what is observed."""
    body = givens()
    for z in ("z", "u"):
        first, later = d.param("simplex", False), d.param("simplex", True)
        body.append(f"latent {z}[n] ~ Categorical({first}) if n == 0 else Categorical({later}[{z}[n-1]])")
        d.discrete.append(f"{z}[n]")
    body += observed(d, draw_count(d))
    if d.chance(3):
        d.tail = ["infer z, u by meanfield"]
    return ["for n in N:", *indent(body)]


def nested(d: Draft, _: str) -> list[str]:
    """Gaussian effects of groups inside groups, or a class of each outer group."""
    outer = []
    if d.chance(3):
        outer.append(f"latent z[g] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[g]")
    d.plain = True
    outer.append(f"latent a[g] ~ Normal(0, {d.element('positive')})")
    middle = [
        f"latent b[g, m] ~ {d.pick(('Normal(0, {s})', 'Normal(a[g], var = {s})')).format(s=d.param('positive', False))}"
    ]
    inner = observed(d, 1, GAUSSIAN, "a[g] + b[g, m]" if "a[g]" not in middle[0] else "b[g, m]")
    inner = givens() * any("x[n]" in line for line in inner) + inner
    inner = [line.replace("[n]", "[g, m, n]") for line in inner]
    sizes = d.pick(("M; N", "M[g]; N")).split("; ")
    return [
        "for g in G:", *indent(outer), f"    for m in {sizes[0]}:", *indent(indent(middle)),
        f"        for n in {sizes[1]}:", *indent(indent(indent(inner))),
    ]  # fmt: skip


def pair(d: Draft, _: str) -> list[str]:
    """Two Gaussian latents of a row, one sometimes about the other, that meet in what is observed."""
    body = givens()
    if d.chance(3):
        body.append(f"latent z[n] ~ Categorical({d.param('simplex', False)})")
        d.discrete.append("z[n]")
    body.append(f"latent h[n] ~ {d.family(GAUSSIAN)}")
    body.append(f"latent k[n] ~ {d.family(GAUSSIAN, 'h[n]' if d.chance(2) else '')}")
    body += observed(d, draw_count(d), GAUSSIAN, d.pick(("h[n] + k[n]", "h[n] - k[n]", "k[n]")))
    if d.chance(3):
        d.tail = ["infer h, k by meanfield"]
    return ["for n in N:", *indent(body)]


def draw_count(d: Draft) -> int:
    return d.draw(st.integers(1, 2))


def indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


SHAPES = {
    "rows": rows, "more rows": rows, "chain": chain, "groups": groups, "ragged": groups, "crossed": crossed,
    "scale": scale, "group chains": group_chains, "two chains": two_chains, "nested": nested, "pair": pair,
}  # fmt: skip
