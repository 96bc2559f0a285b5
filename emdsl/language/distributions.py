"""Distributions: which family and parameterisation, what its arguments are, what the variate is."""

from __future__ import annotations

from dataclasses import replace

from emdsl.errors import Span
from emdsl.language import syntax as s
from emdsl.language.arguments import check_domain
from emdsl.language.bounds import other_values
from emdsl.language.domains import allows
from emdsl.language.expressions import condition, typed
from emdsl.language.functions import FUNCTIONS, show
from emdsl.language.lengths import rename
from emdsl.language.mixed import is_atom
from emdsl.language.model import Branch, Dist, Domain, Expr, Family, FamilyCall, Shape, Signature, Size
from emdsl.language.scope import Env, unknown_function, wrong


def family_of(node: s.Node, env: Env) -> tuple[s.Apply, Family]:
    """The family call at a leaf. Raises Stop where none stands there."""
    if not isinstance(node, s.Apply):
        hint = "a fixed value is `Delta(value)`" if "Delta" in env.scope.families else None
        raise wrong("E042", "expected a distribution", node.span, hint)
    family = env.scope.families.get(node.name)
    if family is None:
        if node.name in FUNCTIONS:
            raise wrong(
                "E042", f"`{node.name}` is a function, not a distribution", node.span, "a fixed value is `Delta(value)`"
            )
        raise unknown_function(node.name, env.scope, node.name_span, families=True)
    return node, family


def distribution(node: s.Node, env: Env, domain: Domain, array: Shape, name: str) -> Dist:
    """The distribution that follows `~`, for a variable `name` of this domain. Raises Stop."""
    if isinstance(node, s.Conditional):
        cond = condition(node.cond, env)
        then = distribution(node.then, env.guarded(cond, True), domain, array, name)
        other = distribution(node.other, env.guarded(cond, False), domain, array, name)
        if array and _with_array(then, domain) != _with_array(other, domain):
            then, other = (d if _with_array(d, domain) else _over(d, array) for d in (then, other))
        return Branch(cond, then, other, node.span)
    call, family = family_of(node, env)
    return _call(call, family, env, domain, array, name)


def _with_array(dist: Dist, domain: Domain) -> bool:
    """Whether the array's axes belong to the variate: an argument has them."""
    if isinstance(dist, Branch):
        return _with_array(dist.then, domain)
    return len(dist.event) > len(domain.dims)


def _over(dist: Dist, array: Shape) -> Dist:
    """The same for each element of an array: where one branch has its axes, the others have them too."""
    if isinstance(dist, Branch):
        return replace(dist, then=_over(dist.then, array), other=_over(dist.other, array))
    return replace(dist, event=(*array, *dist.event))


def _call(node: s.Apply, family: Family, env: Env, domain: Domain, array: Shape, name: str) -> FamilyCall:
    if node.clauses:
        raise wrong("E040", "a family's arguments are expressions", node.span, signatures(family))
    written = _matched(node, family)
    values = {k: typed(v, env) for k, v in (_named(node, family.signatures[written[0]])).items()}
    own = family.x.domain
    refusal = allows(domain, own) if not is_atom(family) else None
    if refusal:
        raise wrong("E044", f"`{name}` cannot be {family.name}: {refusal}", node.span)
    if len(domain.dims) < len(own.dims):
        raise wrong(
            "E044", f"{family.name} is about {_rank(len(own.dims))}, `{name}` is {_rank(len(domain.dims))}", node.span
        )
    extra = len(domain.dims) - len(own.dims)
    index = _by_rank(family, written, values, extra, array)
    signature = family.signatures[index]
    with_array = bool(array) and any(
        len(v.shape) == len(array) + extra + len(_own(signature, k).dims) != extra + len(_own(signature, k).dims)
        for k, v in values.items()
    )
    event = (array if with_array else ()) + domain.dims
    extra += len(array) if with_array else 0
    local: dict[str, Size] = {n: env.scope.lengths.fresh() for n in family.sizes}
    _bind_variate(family, event, extra, domain, local, env, node.span, name)
    for argument, value in values.items():
        wanted = _own(signature, argument)
        _bind_argument(family, argument, wanted, value, event[:extra], local, env, name)
        check_domain(family, argument, wanted, value, env)
    args = tuple((a.name, values[a.name]) for a in signature.arguments if a.name in values)
    made = FamilyCall(family, index, args, event, tuple(local.items()), node.span)
    refusal = None if is_atom(family) else other_values(domain, made, env.scope.lengths)
    if refusal:
        raise wrong("E044", f"`{name}` cannot be {family.name}: {refusal}", node.span)
    return made


def _own(signature: Signature, argument: str) -> Domain:
    return next(a.domain for a in signature.arguments if a.name == argument)


def _rank(rank: int) -> str:
    return {0: "a number", 1: "a vector", 2: "a matrix"}.get(rank, f"an array of {rank} axes")


# ---------------------------------------------------------------------------- parameterisations


def signatures(family: Family) -> str:
    """`Normal(mean, sd) or Normal(mean, var)`."""
    shown = []
    for sig in family.signatures:
        names = [f"{a.name}{' (optional)' if a.name in sig.optional else ''}" for a in sig.arguments]
        form = f"{family.name}({', '.join(names)})"
        if form not in shown:
            shown.append(form)
    return "write " + " or ".join(f"`{x}`" for x in shown)


def _matched(node: s.Apply, family: Family) -> list[int]:
    """The parameterisations whose names fit what is written, first declared first."""
    keywords = [k.name for k in node.keywords]
    for k in node.keywords:
        if keywords.count(k.name) > 1:
            raise wrong("E040", f"`{k.name}` is given twice", k.span)
    fitting = []
    for index, sig in enumerate(family.signatures):
        names = [a.name for a in sig.arguments]
        given = names[: len(node.args)] + keywords
        needed = [n for n in names if n not in sig.optional]
        if (
            len(node.args) <= len(names)
            and len(set(given)) == len(given)
            and set(given) <= set(names)
            and set(needed) <= set(given)
        ):
            fitting.append(index)
    if fitting:
        return fitting
    known = {a.name for sig in family.signatures for a in sig.arguments}
    strange = next((k for k in node.keywords if k.name not in known), None)
    if strange is not None:
        raise wrong("E040", f"{family.name} has no argument `{strange.name}`", strange.span, signatures(family))
    count = len(node.args)
    plain = (
        [f"{count} argument{'s' if count != 1 else ''}{' by position' if keywords else ''}"]
        if count or not keywords
        else []
    )
    given_text = " and ".join(plain + [f"`{k}`" for k in keywords])
    raise wrong("E040", f"{family.name} cannot be made of {given_text}", node.span, signatures(family))


def _named(node: s.Apply, signature: Signature) -> dict[str, s.Node]:
    names = [a.name for a in signature.arguments]
    out: dict[str, s.Node] = dict(zip(names, node.args, strict=False))
    return {**out, **{k.name: k.value for k in node.keywords}}


def _by_rank(family: Family, candidates: list[int], values: dict[str, Expr], extra: int, array: Shape) -> int:
    """Among parameterisations of the same names, the first whose ranks fit (a symmetric Dirichlet's scalar)."""
    for index in candidates:
        sig = family.signatures[index]
        if set(values) - {a.name for a in sig.arguments}:
            continue
        ranks = [(len(_own(sig, k).dims), len(v.shape)) for k, v in values.items()]
        if all(r in (own, own + extra, own + extra + len(array)) for own, r in ranks):
            return index
    return candidates[0]


# ---------------------------------------------------------------------------- lengths


def _bind_variate(
    family: Family, event: Shape, extra: int, domain: Domain, local: dict[str, Size], env: Env, span: Span, name: str
) -> None:
    lengths = env.scope.lengths
    own = tuple(rename(d, local) for d in family.x.domain.dims)
    if not lengths.equate_shapes(own, event[extra:], span):
        shown = f"{show(lengths.settle(own))}, `{name}` is {show(lengths.settle(event))}"
        raise wrong("E030", f"{family.name} is about {shown}", span, lengths.because())
    levels = family.x.domain.levels
    if (
        levels is not None
        and domain.levels is not None
        and not lengths.equate(rename(levels, local), domain.levels, span)
    ):
        raise wrong("E030", f"`{name}` has {lengths.known(domain.levels)} levels, {family.name} here has others", span)


def _bind_argument(
    family: Family,
    argument: str,
    wanted: Domain,
    value: Expr,
    leading: Shape,
    local: dict[str, Size],
    env: Env,
    name: str,
) -> None:
    lengths = env.scope.lengths
    own = tuple(rename(d, local) for d in wanted.dims)
    if not value.shape and len(own) == 1 and wanted.kind == "positive":
        return  # one number for every entry
    shape = leading + own if leading and len(value.shape) == len(leading) + len(own) else own
    if lengths.equate_shapes(shape, value.shape, value.span):
        return
    found, asked = show(lengths.settle(value.shape)), show(lengths.settle(shape))
    if len(value.shape) != len(shape):
        raise wrong(
            "E032",
            f"{family.name}'s `{argument}` is {asked}, not {found}",
            value.span,
            _rank_hint(wanted, value, name, family),
        )
    raise wrong("E030", f"{family.name}'s `{argument}` is {asked} here, not {found}", value.span, lengths.because())


def _rank_hint(wanted: Domain, value: Expr, name: str, family: Family) -> str | None:
    if not wanted.dims and len(value.shape) == 1 and not family.x.domain.dims:
        form = f"`{name} : {family.x.domain.kind}[D] ~ {family.name}(...)`"
        return f"for a vector of independent elements declare the domain: {form}"
    if wanted.kind == "spd" and not value.shape:
        return "a multiple of the identity is `s2 * eye(D)`"
    if wanted.kind == "spd" and len(value.shape) == 1:
        return "a diagonal matrix is `diag(v)`"
    if len(wanted.dims) == 1 and not value.shape:
        return "`zeros(D)` and `ones(D)` make vectors; `[a, b]` stacks numbers"
    return None
