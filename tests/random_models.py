"""Random models with discrete latents, as text: families, arguments, ties, priors and latents by chance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

FAMILIES = (
    "Normal({real}, {positive})",
    "Normal({real}, var = {positive})",
    "Normal({real}, precision = {positive})",
    "LogNormal({real}, {positive})",
    "Laplace(1.5, {positive})",
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
PRIORS = {"real": "Normal(0.5, 2)", "positive": "Gamma(2, 1)", "unit": "Beta(2, 3)", "simplex": "Dirichlet([2, 3])"}


@dataclass
class Draft:
    """A model being written: declarations of parameters, how latents are called, what chance there is."""

    rng: np.random.Generator
    declared: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)  # "real, K" -> names
    latents: tuple[str, ...] = ()

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def param(self, kind: str, indexed: bool, size: int = 2) -> str:
        """A parameter's name, sometimes one that is used already."""
        key = f"{kind}, {indexed}, {size}"
        if self.names.get(key) and self.chance(0.2):
            return str(self.rng.choice(self.names[key]))
        name = f"{kind[0]}{len(self.declared)}"
        domain = f"simplex[{size}]" if kind == "simplex" else kind
        prior = f" ~ {PRIORS[kind]}" if self.chance(0.3) and size == 2 else ""
        self.declared.append(f"param {name}{'[2]' if indexed else ''} : {domain}{prior}")
        self.names.setdefault(key, []).append(name)
        return name

    def latent(self) -> str:
        return str(self.rng.choice(self.latents))

    def argument(self, kind: str) -> str:
        """An expression of that domain, in parameters, latents and givens."""
        if kind == "simplex":
            return f"{self.param('simplex', True, 3)}[{self.latent()}]"
        indexed = self.chance(0.6)
        name = self.param(kind, indexed)
        base = f"{name}[{self.latent()}]" if indexed else name
        forms = {
            "real": [base] * 3 + [f"{base} * x[n]", f"[-{base}, {base}][{self.latent()}]", f"2 * {base} + x[n]"],
            "positive": [base] * 3 + [f"{base} * e[n]", f"2 * {base}", f"[{base}, 3 * {base}][{self.latent()}]"],
            "unit": [base] * 3 + [f"1 - {base}"],
        }
        return str(self.rng.choice(forms[kind]))


def random_model(seed: int) -> str:
    """The text of one model; the same seed, the same text."""
    draft = Draft(np.random.default_rng(seed))
    body = ["given x[n] : real", "given e[n] : positive"]
    if draft.chance(0.3):
        body.append("latent z[n] ~ Bernoulli(" + draft.param("unit", False) + ")")
    else:
        body.append(
            f"latent z[n] ~ Categorical({'[0.3, 0.7]' if draft.chance(0.3) else draft.param('simplex', False)})"
        )
    draft.latents = ("z[n]",)
    if draft.chance(0.4):
        weights = draft.param("simplex", True) + "[z[n]]" if draft.chance(0.5) else draft.param("simplex", False)
        body.append(f"latent u[n] ~ Categorical({weights})")
        draft.latents = ("z[n]", "u[n]")
    for i in range(int(draft.rng.integers(1, 4))):
        family = FAMILIES[draft.rng.integers(len(FAMILIES))]
        slots = {
            kind: draft.argument(kind) for kind in ("real", "positive", "unit", "simplex") if f"{{{kind}}}" in family
        }
        body.append(f"observed y{i}[n] ~ {family.format(**slots)}")
    lines = ["model Random", *draft.declared, "for n in N:", *("    " + line for line in body)]
    return "\n".join(lines) + "\n"
