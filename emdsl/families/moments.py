"""Mean and variance of a family, as the Gaussian that has them: a call in the family's own arguments.

An unseen observation enters a posterior by nothing, so that what is known of it are moments of what it depends on:

    E[y] = E[m(h)],   Var[y] = E[v(h)] + Var[m(h)],   the moments of  y' ~ Normal(m(h), v(h))

Of what may have no spread (a count, a share) y' has a variance of 1 more, which is taken off again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from emdsl.families.table import PRELUDE
from emdsl.language.model import Domain, Expr, Family, FamilyCall


class Told(NamedTuple):
    """In the language: the Gaussian; where the mean exists, and where the variance is finite (left out: always)."""

    gaussian: str
    mean_exists: str = ""
    variance_finite: str = ""


class Moments(NamedTuple):
    """The same, typed, in the arguments of the family."""

    gaussian: FamilyCall
    mean_exists: Expr | None
    variance_finite: Expr | None


_SHARES = "MvNormal({0}/{1}, (diag({0})/{1} - outer({0}, {0})/{1}^2)/({1} + 1) + eye(K))"

# By family, in the order of its declarations.
MOMENTS: Mapping[str, tuple[Told, ...]] = MappingProxyType(
    {
        "Bernoulli": (Told("Normal(p, var = p*(1 - p) + 1)"),),
        "Binomial": (
            Told("Normal(trials*p, var = trials*p*(1 - p) + 1)"),
            Told("Normal(trials*logistic(logit), var = trials*logistic(logit)*logistic(-logit) + 1)"),
        ),
        "Multinomial": (Told(""), Told("MvNormal(trials*p, trials*(diag(p) - outer(p, p)) + eye(K))")),
        "Poisson": (Told("Normal(rate, var = rate + 1)"), Told("Normal(exp(log_rate), var = exp(log_rate) + 1)")),
        "Geometric": (Told("Normal((1 - p)/p, var = (1 - p)/p^2 + 1)"),),
        "NegativeBinomial": (
            Told("Normal(size*(1 - p)/p, var = size*(1 - p)/p^2 + 1)"),
            Told("Normal(mean, var = mean + mean^2/size + 1)"),
        ),
        "Normal": (
            Told("Normal(mean, sd)"), Told("Normal(mean, var = var)"), Told("Normal(mean, precision = precision)"),
        ),
        "Laplace": (Told("Normal(mean, var = 2*scale^2)"),),
        "StudentT": (Told("Normal(mean, var = scale^2*(1 + 2/max(df - 2, 0.01)))", "df > 1", "df > 2"),),
        "Uniform": (Told("Normal((low + high)/2, var = (high - low)^2/12)"),),
        "Delta": (Told("Delta(value)"),),
        "LogNormal": (
            Told("Normal(exp(mean + sd^2/2), var = exp(2*mean + sd^2)*(exp(sd^2) - 1))"),
            Told("Normal(exp(mean + var/2), var = exp(2*mean + var)*(exp(var) - 1))"),
        ),
        "Exponential": (Told("Normal(1/rate, var = 1/rate^2)"),),
        "Gamma": (
            Told("Normal(shape/rate, var = shape/rate^2)"), Told("Normal(shape*scale, var = shape*scale^2)"),
        ),
        "InverseGamma": tuple(
            Told(
                f"Normal({b}/max(shape - 1, 0.01), var = {b}^2/max(shape - 1, 0.01)^2/max(shape - 2, 0.01))",
                "shape > 1", "shape > 2",
            )
            for b in ("rate", "scale")
        ),
        "Weibull": (
            Told(
                "Normal(scale*exp(lgamma(1 + 1/shape)), "
                "var = scale^2*exp(2*lgamma(1 + 1/shape))*(exp(lgamma(1 + 2/shape) - 2*lgamma(1 + 1/shape)) - 1))"
            ),
        ),
        "InverseGaussian": (Told("Normal(mean, var = mean^3/shape)"),),
        "Beta": (Told("Normal(a/(a + b), var = a*b/(a + b)^2/(a + b + 1))"),),
        "Dirichlet": (
            Told(_SHARES.format("concentration", "sum(concentration)")),
            Told("MvNormal(ones(K)/K, (eye(K)/K - outer(ones(K), ones(K))/K^2)/(K*concentration + 1) + eye(K))"),
        ),
        "MvNormal": (Told("MvNormal(mean, cov)"), Told("MvNormal(mean, precision = precision)")),
        "MvStudentT": (
            Told("MvNormal(mean, scale_matrix*(1 + 2/max(df - 2, 0.01)))", "df > 1", "df > 2"),
        ),
    }
)  # fmt: skip


@cache
def moments(family: Family, signature: int) -> Moments | None:
    """The moments of one parameterisation; None where they are not known."""
    from emdsl.language import parse_model

    known = () if family.user else MOMENTS.get(family.name, ())
    if signature >= len(known) or not known[signature].gaussian:
        return None
    told = known[signature]
    lines = [f"given {a.name} : {_spelled(a.domain)}" for a in family.signatures[signature].arguments]
    lines.append(f"observed x : {_spelled(Domain('real', family.x.domain.dims))} ~ {told.gaussian}")
    conditions = {"exists": told.mean_exists, "finite": told.variance_finite}
    lines += [f"let {name} = {condition}" for name, condition in conditions.items() if condition]
    model = parse_model("\n".join(("model Moments", *lines, "")), "moments.em", PRELUDE())
    gaussian = model.variable("x").distribution
    assert isinstance(gaussian, FamilyCall)
    lets = {let.name: let.body for let in model.lets}
    return Moments(gaussian, lets.get("exists"), lets.get("finite"))


def _spelled(domain: Domain) -> str:
    dims = domain.dims[:1] if domain.symmetric else domain.dims
    return domain.kind + (f"[{', '.join(map(str, dims))}]" if dims else "")
