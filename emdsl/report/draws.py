"""What a derivation says of latents that are drawn: which, by what, and how the fit rests on them."""

from __future__ import annotations

from collections.abc import Iterator, Set

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.derive.posteriors.draws import KERNELS, Drawn, Sampling
from emdsl.language.model import ModelText
from emdsl.language.transform import expressions_of, names_in
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.joint import density, log_density
from emdsl.report.lets import read_through
from emdsl.report.page import Say, Show, Step, names_of

END = (
    "At the end a sample at the estimate tells its error, and Newton steps on the mean score take the rest of the way "
    "(Louis 1982)."
)


def drawn_step(draws: Sampling, model: ModelText, parts: tuple[str, ...]) -> Step:
    """The step that stands where an exact posterior would."""
    names = names_of(*draws.latents)
    several = len(draws.latents) > 1
    drawn = "are drawn: to all that follows they are data" if several else "is drawn: to all that follows it is data"
    observed = [v.name for v in model.of_kind("observed") if v.name not in draws.latents]
    mean = f.Mean(f.Apply(f.Name("T"), (f.Listed(tuple(map(f.Name, (*draws.latents, *observed)))),)))
    body: list[Say | Show] = [
        Say(f"{names} {drawn}, drawn anew in each E-step. {_exact(draws)}".rstrip()),
        Say(" ".join(map(_group, draws.groups)), reason=True),
        Say("Given all else there holds"),
        *(Show(_conditional(g, model), part="conditional") for g in draws.groups),
        Say("A statistic"),
        Show(mean, part="mean"),
        *(_score(draws, model, observed) if "score" in parts else [Say("is its average over the draws.")]),
        Say(_climb(draws)),
    ]
    facts = {
        "kind": "draws", "method": draws.method, "code": "climb_by_draws",
        "groups": [{"latents": list(g.latents), "kernel": g.kernel, "reason": g.reason} for g in draws.groups],
    }  # fmt: skip
    return Step(f"The draws of {', '.join(draws.latents)}", tuple(body), facts, parts)


def _conditional(g: Drawn, model: ModelText) -> Formula:
    """`log p(b | all else) = log p(b | ...) + log p(y | b, ...) + const`: the densities that hold a group."""
    terms = []
    for v in model.variables:
        if v.distribution is None:
            continue
        read = read_through({n for e in expressions_of(v.distribution) for n in names_in(e)}, model.lets)
        if {v.name, *read} & set(g.latents):
            terms.append(log_density([v.name], [w.name for w in model.variables if w.name in read - {v.name}]))
    left = density(tuple(map(f.Name, g.latents)), (f.Word("all else"),))
    return f.Relation("=", left, f.plus(*terms, f.Word("const")))


def _score(draws: Sampling, model: ModelText, observed: list[str]) -> Iterator[Say | Show]:
    """`d log p(y | theta) = E[d log p(b, y | theta)]` by each parameter."""
    params = [v.name for v in model.of_kind("param")]
    said = (
        "is its average over the draws. By each parameter the slope of the log-likelihood is the mean of that of the "
    )
    yield Say(f"{said}log joint (Fisher's identity):")
    by = f.Word(next((c for c in ("theta", "eta") if c not in params), "theta"))
    data = log_density(observed, params) if observed else f.of("log", f.Word("Z"))
    whole = f.Slope(log_density([*draws.latents, *observed], params), by)
    yield Show(f.Relation("=", f.Slope(data, by), f.Mean(whole)), part="score")


def _exact(draws: Sampling) -> str:
    if not draws.rest:
        return ""
    told = f"What is exact given them, {names_of(*draws.rest)}, is summed out at each draw (Rao and Blackwell)"
    return f"{told}, and drawn only for the others to move by. " if draws.moved else f"{told}. "


def _group(g: Drawn) -> str:
    side = ""
    if g.elimination is None:
        plates = ", ".join(i.dim for i in g.batch)
        side = f", the elements over {plates} side by side" if plates else ", all elements together"
    without = ", on the density in which what is exact is summed out"
    return f"{names_of(*g.latents)}: {KERNELS[g.kernel].said}{without if g.collapsed else ''}{side}; {g.reason}."


def _climb(draws: Sampling) -> str:
    if draws.method == "saem":
        return (
            f"Stochastic approximation EM (Delyon, Lavielle and Moulines 1999): {draws.warm} iterations with "
            f"statistics of the last draws, then steps that fall as k^-0.7, the iterates averaged. {END}"
        )
    return (
        "Monte Carlo EM: the sample grows until a lower bound of what a step gains in Q is positive, and the climb "
        f"ends where the upper bound is negligible (Caffo, Jank and Jones 2005). {END}"
    )


def objective_of_draws(draws: Sampling) -> str:
    """What is reported where there is no log-likelihood."""
    return (
        "There is no log-likelihood here. What is reported is the log density of the data together with the draws, "
        "averaged over these, computed in the same pass as the statistics; it moves by chance, and says little of how "
        "well the model fits"
    )


def over_draws(e: Expr, drawn: Set[str], inside: bool = False) -> Expr:
    """A statistic, or what is made of some, with the mean over draws of what holds them; `inside` a sum a product has
    one mean, outside each sum is a statistic of its own."""
    if not x.variables(e) & drawn:
        return e
    match e:
        case x.Sum(ix, body):
            return x.Sum(ix, over_draws(body, drawn, True))
        case x.Mul(factors):
            held = _held(e, drawn)
            apart = len(held) == 1 or (not inside and all(_of_statistics(p, drawn) for p in held))
            each = [over_draws(p, drawn, inside) for p in held] if apart else [x.Fn("E", (x.mul(*held),))]
            return x.mul(*(p for p in factors if p not in held), *each)
        case x.Add(terms) if not inside:
            return x.add(*(over_draws(t, drawn) for t in terms))
        case x.Pow(base, exponent) if not inside and exponent != x.num(2):
            return x.power(over_draws(base, drawn), exponent)
    return x.Fn("E", (e,))


def each_over_draws(e: Expr, drawn: Set[str]) -> Expr:
    """The same of each term of a sum: of data, too, a mean over draws."""
    if not drawn:
        return e
    out = []
    for t in x.terms_of(e):
        held = _held(t, drawn)
        if len(held) == 1 and isinstance(held[0], x.Add):
            out.append(x.mul(*(p for p in x.factors_of(t) if p not in held), each_over_draws(held[0], drawn)))
        else:
            out.append(over_draws(t, drawn, inside=True))
    return x.add(*out)


def _of_statistics(e: Expr, drawn: Set[str]) -> bool:
    """Whether a factor is made of sums alone, each of which has a mean of its own: no square, of which one is taken."""
    match e:
        case x.Sum():
            return True
        case x.Pow(base, exponent):
            return exponent != x.num(2) and _of_statistics(base, drawn)
        case x.Add(terms):
            return all(_of_statistics(x.mul(*_held(t, drawn)), drawn) for t in terms if x.variables(t) & drawn)
    return False


def _held(e: Expr, drawn: Set[str]) -> list[Expr]:
    return [p for p in x.factors_of(e) if x.variables(p) & drawn]
