"""Derivations as people read them: values as computed, well-formed in every form, safe with any name."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zlib import crc32

import algebra
import numpy as np
import pytest
from gallery import MODELS, compiled, told
from test_theorem import GALLERY, TEXTS, planned, point, world

import emdsl
from emdsl.cli import run
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.made import COV
from emdsl.derive.joint.plates import home_of
from emdsl.derive.numbering import numbers
from emdsl.derive.plan import Plan
from emdsl.derive.updates.quadratic import Linear
from emdsl.derive.updates.rules import Closed, Simplex, Spread
from emdsl.generate.module import module_functions
from emdsl.generate.printer import Printer
from emdsl.report import formula as f
from emdsl.report.abbreviated import abbreviated
from emdsl.report.breaking import broken, width
from emdsl.report.derivation import Derivation
from emdsl.report.difference import difference
from emdsl.report.equations import left_side, readable
from emdsl.report.expected import averaged, opened
from emdsl.report.explicit import explicit, normalised, twins
from emdsl.report.formula import Relation, Word
from emdsl.report.gathered import gathered
from emdsl.report.known import known
from emdsl.report.latex import INNER, WIDE
from emdsl.report.maxima import _at_root, slope_of
from emdsl.report.measure import measure
from emdsl.report.page import Say, Show, Step
from emdsl.report.places import places, told_lines, whole
from emdsl.report.tidy import tidy
from emdsl.report.together import means_of_products
from emdsl.report.typeset import typeset
from emdsl.report.unicode import folded, lines, text
from emdsl.report.unopened import unopened
from emdsl.report.walking import rebuilt

GOES_ROUND = {"forest"}  # parents drawn at random make a cycle, at which nothing can be evaluated
SOME = [*GALLERY, *[n for n in TEXTS if n not in {*GALLERY, *GOES_ROUND} and crc32(n.encode()) % 4 == 0]]
HOSTILE = """model Names_of_$$
param lambda : positive
param N_1 : positive
param θ : real
param S_x : real
param beta_ : positive
for n in M:
    latent   E[n] ~ Bernoulli(0.3)
    observed I[n] ~ Normal(θ + S_x * n, lambda) if E[n] == 1 else Normal(θ, N_1 * beta_)
""".replace("_of_$$", "")


# ------------------------------------------------------------------ values


Slots = tuple[Any, ...]


def as_derived(update: Any) -> list[tuple[Slots, x.Expr]]:
    """An update's value by its rule, with the indices it has; of a linear system what is zero, row by row."""
    name, rule = update.params[0], update.rule
    if isinstance(rule, Simplex):
        left, right = normalised(name, rule.axes, rule.counts)
        return [(left.idx, right)] if isinstance(left, x.El) else []
    if isinstance(rule, Spread) and not rule.precision:
        return [(rule.axes, x.mul(rule.scatter, x.power(rule.weight, x.num(-1))))]
    if isinstance(rule, Closed) and len(rule.root.candidates) == 1:
        return [(rule.axes, rule.root.value)]
    if isinstance(rule, Linear) and len(rule.columns) == 1 and not rule.second:
        return [(rule.columns[0].slots, x.mul(rule.right[0], x.power(rule.left[0, 0], x.num(-1))))]
    if isinstance(rule, Linear):
        return [(rule.columns[n].slots, x.add(left_side(rule, n), x.neg(rule.right[n]))) for n in solved(rule)]
    return []


def solved(rule: Linear) -> list[int]:
    """The tensors whose equations hold as they are; those of vectors that sum to 0 do up to a number."""
    return [n for n, c in enumerate(rule.columns) if rule.centred.isdisjoint(c.slots)]


def residual(rule: Linear, n: int, off: x.Expr, mine: Slots) -> x.Expr:
    """`sum H[n, n] off`: the row of a linear system that is zero where `off` is."""
    slots = rule.columns[n].slots
    off = x.substitute(off, dict(zip(mine, slots, strict=True)))
    to = {s: rule.second[s] for s in slots if s in rule.second}
    return x.totals(list(to.values()), x.mul(rule.left[n, n], x.substitute(off, to)))


def as_shown(plan: Plan, update: Any) -> list[tuple[Slots, x.Expr]]:
    """The same in terms of the data."""
    out = []
    found = explicit(plan, update)
    places = solved(update.rule) if isinstance(update.rule, Linear) else range(len(found))
    for n, (left, right) in zip(places, found, strict=bool(found)):
        if isinstance(left, x.El):  # of a linear system, the equation that this value solves
            rule = update.rule
            several = isinstance(rule, Linear) and (len(rule.columns) > 1 or bool(rule.second))
            off = x.add(left, x.neg(right))
            out.append((rule.columns[n].slots, residual(rule, n, off, left.idx)) if several else (left.idx, right))
        elif isinstance(update.rule, Linear):
            out.append((update.rule.columns[n].slots, x.add(left, x.neg(right))))
    return out


def right_hand_sides(plan: Plan, update: Any, points: bool = False) -> list[list[tuple[Slots, x.Expr]]]:
    """What must be equal: as derived, tidied, in terms of the data; `points`: those with means unopened."""
    derived, shown = as_derived(update), as_shown(plan, update)
    if not derived or any(isinstance(n, x.Fn) and n.name == "E" for _, e in shown for n in x.walk(e)) != points:
        return []
    tidied = [[(slots, tidy(e, known(plan))) for slots, e in side] for side in (derived, shown)]
    sides = [derived, tidied[0], *([shown, tidied[1]] if shown else [])]
    return [list(same) for same in zip(*sides, strict=True)]


def values(side: tuple[Slots, x.Expr], w: Any, symmetric: bool) -> Any:
    slots, e = side
    shape = [w.lengths[i.dim] for i in slots if isinstance(i, x.Ix)]
    out = np.array([w.value(e, dict(zip(slots, at, strict=True))) for at in np.ndindex(*shape)]).reshape(shape)
    return (out + np.swapaxes(out, -1, -2)) / 2 if symmetric else out


@pytest.mark.parametrize("name", [*SOME, "survival as a product"])
def test_what_is_shown_is_what_is_computed(name: str) -> None:
    plan = readable(planned(name))
    w = world(plan, point(name, True))
    if not any((b.chain is not None or b.network) and b.gates for b in plan.elimination.blocks):
        w = soft(plan, w)  # pairs under a gate add up to its probabilities, which no random numbers do
    with np.errstate(all="ignore"):
        q = x.add(*(x.totals(t.ixs, t.body) for t in plan.expected.terms if name in GALLERY))
        np.testing.assert_allclose(w.value(gathered(tidy(q, known(plan))), {}), w.value(q, {}), rtol=1e-8, atol=1e-10)
        for update in plan.updates:
            symmetric = isinstance(update.rule, Spread)  # of the scatter half of what it is and half of its transpose
            pairs = [[values(side, w, symmetric and n < 2) for n, side in enumerate(same)]
                     for same in right_hand_sides(plan, update)]  # fmt: skip
            for found, other in ((one[0], other) for one in pairs for other in one[1:]):
                np.testing.assert_allclose(other, found, rtol=1e-8, atol=1e-10, err_msg=f"{name}: {update.params}")


UNOPENED = ["random_intercepts", "local_level", "factor_analysis", "linear_dynamical_system", "growth_mixture",
            "mixture_of_factor_analysers", "switching_linear_system"]  # fmt: skip


@pytest.mark.parametrize("name", UNOPENED)
def test_means_that_are_not_opened_are_those_of_the_statistics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a posterior that is a point the mean of a square is the square at that point."""
    plan, checked = readable(planned(name)), 0
    w = world(plan, point(name, True))
    monkeypatch.setitem(algebra.FUNCTIONS, "E", lambda v, *given: v)
    for update in plan.updates:
        for same in right_hand_sides(plan, update, points=True):
            found = [values(side, w, isinstance(update.rule, Spread)) for side in same]
            for other in found[1:]:
                np.testing.assert_allclose(other, found[0], rtol=1e-8, atol=1e-10, err_msg=f"{name}: {update.params}")
            checked += len(found) > 2
    assert checked


def test_the_pair_that_follows_an_element_is_told_by_its_place() -> None:
    """`sum_s [s - 1 = t] [s > 0] a[s]` is `[t < T - 1] a[t + 1]`."""
    plan = readable(planned("local_level"))
    w = world(plan, point("local_level", True))
    s, t = x.Ix("s", "T"), x.Ix("t", "T")
    follows = x.sel(x.add(x.Val(s), x.num(-1)), t)
    later = x.fn("not", x.fn("eq", x.Val(s), x.num(0)))
    short = tidy(x.total(s, x.mul(follows, later)), known(plan))
    assert s not in x.free(short) and not any(isinstance(n, x.Sum) for n in x.walk(short))
    data = x.total(s, x.mul(follows, x.El("flow", (s,))))
    for place in range(w.lengths["T"]):
        assert w.value(short, {t: place}) == (place < w.lengths["T"] - 1)
        assert w.value(tidy(data, known(plan)), {t: place}) == w.value(data, {t: place})


@pytest.mark.parametrize("name", ["student", "diagonal_gaussian_mixture", "random_intercepts", "measurement_error"])
def test_the_second_derivative_at_the_root_is_what_is_shown(name: str) -> None:
    """In short, with the parameter in it; and as it was found, in statistics alone."""
    plan, checked = readable(planned(name)), 0
    w = soft(plan, world(plan, point(name, True)))
    for update in plan.updates:
        rule = update.rule
        if isinstance(rule, Closed) and rule.root.curvature is not None:
            leaf = x.El(update.params[0], rule.axes)
            curvature = slope_of(rule, leaf, 1)
            assert curvature is not None
            short = _at_root(rule, leaf, curvature)
            with np.errstate(all="ignore"):
                w.put(update.params[0], values((leaf.idx, rule.root.value), w, False))
                long = values((leaf.idx, rule.root.curvature), w, False)
                np.testing.assert_allclose(values((leaf.idx, short), w, False), long, rtol=1e-9)
            checked += short != rule.root.curvature and update.params[0] in x.variables(short)
    assert checked


@pytest.mark.parametrize("name", [*UNOPENED, "arma", "structural_series"])
def test_the_mean_of_a_product_is_its_two_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a posterior that is a point: there the covariance is 0."""
    plan = readable(planned(name))
    w = world(plan, point(name, True))
    monkeypatch.setitem(algebra.FUNCTIONS, "E", lambda v, *given: v)
    pairs = means_of_products(plan)
    assert len(pairs) == sum(any(n.var in COV for f in s.factors for n in x.walk(f) if isinstance(n, x.El))
                             for s in plan.expected.statistics)  # fmt: skip
    for t in pairs:
        found = [values((t.whole.idx, e), w, False) for e in (t.whole, t.mean)]
        np.testing.assert_allclose(*found, rtol=1e-8, atol=1e-10, err_msg=t.whole.var)


@pytest.mark.parametrize("name", [*UNOPENED[:-1], "gaussian_hmm", "dawid_skene", "arma"])
def test_q_averaged_is_q_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a posterior that is a point, but for what holds no parameter: both change alike with the parameters."""
    plan = readable(planned(name))
    w, t = world(plan, point(name, False)), typeset(plan)
    monkeypatch.setitem(algebra.FUNCTIONS, "E", lambda v, *given: v)
    q, changes = averaged(plan, plan, t), []
    for factor in (1.0, 0.9):
        for v in plan.joint.model.of_kind("param"):
            w.put(v.name, w.arrays[v.name] * factor)
        changes.append(w.value(q, {}) - w.value(opened(plan, unopened(plan), t), {}))
    np.testing.assert_allclose(*changes, rtol=1e-9, atol=1e-9)


def soft(plan: Plan, w: Any) -> Any:
    """Posteriors that are no points: the states' probabilities, and moments, at random."""
    rng = np.random.default_rng(5)
    for block in plan.elimination.blocks:
        home = block.home if block.field is None else block.field.outer
        axes = [*block.states, *block.gates, *home]
        q = rng.uniform(0.5, 1.5, [w.lengths[i.dim] for i in axes]) * possible(axes, w)
        gates = len(block.states) + len(block.gates)
        w.arrays[f"q:{block.name}"] = q / q.sum(tuple(range(gates)), keepdims=True)
        for name, at in joints(block, plan).items():
            joint = rng.uniform(0.5, 1.5, [w.lengths[i.dim] for i in at])
            certain = len(block.states) if name.startswith("first0:") else sure(name, block)
            states = tuple(range(certain))
            w.arrays[name] = joint / joint.sum(states, keepdims=True) if states else joint
        own = [w.lengths[i.dim] for i in (*block.gates, *block.home, *block.own)]
        for kind in block.record.moments if block.record else ():
            w.arrays[f"E:{block.name}:{kind}"] = rng.uniform(0.5, 1.5, own)
    for given, (twin, own) in twins(plan).items():
        w.arrays[given] = lambda *at, twin=twin, own=own: w.value(twin, dict(zip(own, at, strict=True)))
    for e in known(plan).empty:
        w.arrays[e.var] = partial(without_mass, e, w.arrays[e.var])
    return w


def without_mass(e: x.El, statistic: Any, *at: int) -> float:
    """A statistic that is 0 in states beside log 0."""
    return 0.0 if all(a == b for a, b in zip(at, e.idx, strict=True) if isinstance(b, int)) else statistic(*at)


def sure(name: str, block: Any) -> int:
    """Over how many places the probabilities of a clique sum to one: all its states, where it is there in every row."""
    if not name.startswith("clique"):
        return 0
    clique = block.network[int(name.partition(":")[0].removeprefix("clique"))]
    return 0 if clique.masks else len(clique.states)


def joints(block: Any, plan: Plan) -> dict[str, tuple[x.Ix, ...]]:
    """The axes of the probabilities of several elements, of chains and networks; and of a network's latents."""
    out: dict[str, tuple[x.Ix, ...]] = {f"clique{n}:{block.name}": c.axes for n, c in enumerate(block.network)}
    if block.network:
        homes = [home_of(plan.joint.model.variable(n)) for n in block.latents]
        out |= {f"q:{n}": (s, *h) for n, s, h in zip(block.latents, block.states, homes, strict=True)}
    if block.chain is not None:
        pair = (*block.chain.before, *block.states)
        out[f"pair:{block.name}"] = (*pair, *block.gates, *block.home)
        for r in range(block.chain.depth):
            out[f"first{r}:{block.name}"] = (*(pair if r else block.states), *block.gates, *block.chain.outer)
    return out


def possible(axes: list[x.Ix], w: Any) -> Any:
    """0 for the states that a ragged element does not have."""
    out = np.ones([w.lengths[i.dim] for i in axes])
    ragged = [n for n, i in enumerate(axes) if i.dim.endswith("[max]")]
    row = next((n for n, i in enumerate(axes) if i.dim.endswith("[]")), None)
    for n in ragged:
        for at in np.ndindex(out.shape):
            parent = w.arrays[f"row:{axes[row].dim[:-2]}"][at[row]] if row is not None else at[-1]
            out[at] *= at[n] < w.arrays[f"length:{axes[n].dim[:-5]}"][parent]
    return out


# ------------------------------------------------------------------ forms


class Page(HTMLParser):
    """Tags opened and closed in order; nothing that runs or loads."""

    VOID = ("meta", "mspace", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in ("script", "link", "img", "iframe"), tag
        assert not any(key.startswith("on") or key == "src" for key, _ in attrs), attrs
        assert all(value.startswith(("#eq-", "#step-", "#line-")) for key, value in attrs if key == "href")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_forms(d: Derivation) -> None:
    page, html = Page(), d.to_html()
    page.feed(html)
    assert not page.open
    assert '<html lang="en">' in html and 'name="viewport"' in html and "prefers-color-scheme:dark" in html
    assert not re.search("<script|https?://|@import", html)
    for math in re.findall(r"<math.*?</math>", html):
        ElementTree.fromstring(math)
    latex = d.to_latex()
    bare = re.sub(r"\\[{}]", "", latex)
    assert bare.count("{") == bare.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert latex.isascii()
    assert r"has statistics $T(x)$" in latex or "exponential family has" not in latex  # no transposition there
    assert json.loads(json.dumps(d.to_dict()))["steps"][0]["number"] == 1
    assert d.to_markdown(dollars=True).count("\n$$") % 2 == 0
    fenced = re.sub(r"^(`{3,})(math)?\n.*?\n\1$|\$?`[^`]*`\$?", "", d.to_markdown(), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"[*<$]|(?<!\w)_|\]\(", fenced)  # nothing for a reader of Markdown to change


@pytest.mark.parametrize("name", [*GALLERY, *[n for n in SOME[len(GALLERY) :] if crc32(n.encode()) % 16 == 12]])
def test_forms(name: str) -> None:
    derivation = told(name) if name in GALLERY else Derivation.of(planned(name))
    check_forms(derivation)
    assert not re.search(r"u2[0-9A-F]{3}", derivation.to_latex())  # a sign that LaTeX lacks, by its number
    steps = derivation.to_dict()["steps"]
    assert steps[0]["kind"] == "joint"
    assert [s["kind"] for s in steps if s["kind"] not in ("reference", "missing")][-1] == "objective"
    updated = {p for s in steps if s["kind"] == "update" for p in s["parameters"]}
    assert updated or not any(s["kind"] == "Q" for s in steps)  # where all is latent there is nothing to update


def test_the_same_model_reads_the_same() -> None:
    text = (Path(__file__).parents[1] / "models" / "old_faithful.em").read_text(encoding="utf-8")
    assert str(emdsl.compile(text=text).derivation) == str(emdsl.compile(text=text).derivation)


def test_hostile_names() -> None:
    model = emdsl.compile(text=HOSTILE)
    check_forms(model.derivation)
    assert set(model.updates) == {"lambda", "N_1", "θ", "S_x", "beta_"}
    latex = model.derivation.to_latex()
    assert r"\theta" in latex and r"\lambda" in latex and r"{N_{1}}" in latex


def test_an_accent_is_kept() -> None:
    """`é` was an e beside the e."""
    text = "model M\nparam é : real\nparam e : real\nfor n in N: observed x[n] ~ Normal(é + e^2, 1)"
    latex = emdsl.compile(text=text).derivation.to_latex()
    assert r"(x_{n} - \mathrm{\acute{e}} - e^{2})" in latex and r"\texttt{\'{e}}" in latex


def test_a_letter_with_a_place_is_lowered() -> None:
    """`mu0` and `sigma_b` as in print; digits that may raise or count, and words, stay as they are."""
    text = (
        "model M\nparam mu0 : real\nparam sigma_b : positive\nparam s2 : positive\nparam sd_y : positive\nfor n in N:\n"
    )
    text += "    observed x[n] ~ Normal(mu0, sigma_b)\n    observed y[n] ~ Normal(0, sd_y * s2)\n"
    derivation = emdsl.compile(text=text).derivation
    assert all(n in derivation.to_latex() for n in (r"{\mu_{0}}", r"{\sigma_{b}}", r"\mathrm{s2}", r"\mathrm{sd\_y}"))
    assert "<msub><mi>μ</mi><mn>0</mn></msub>" in derivation.to_html()


def test_markup_in_comments_is_text() -> None:
    comment = "# <script>alert(1)</script> ``` \\input{x} $$ \\"
    text = f"model M {comment}\n{comment}\nparam m : real {comment}\nfor n in N:\n    observed x[n] ~ Normal(m, 1)\n"
    d = emdsl.compile(text=text).derivation
    check_forms(d)
    assert "<script>" not in d.to_html()
    assert "h1,h2,p{overflow-wrap:anywhere}" in d.to_html()  # a long name made the page wider than a telephone
    assert "\n````\n" in d.to_markdown()


# ------------------------------------------------------------------ numbers


TOPICS = """model Topics
size K = 2
param topic[K] : simplex[V]
for d in D:
    latent theta[d] ~ Dirichlet(ones(K))
    for i in L[d]:
        latent   z[d, i] ~ Categorical(theta[d])
        observed w[d, i] ~ Categorical(topic[z[d, i]])
infer theta, z by meanfield
"""


COMPUTES = re.compile(r"^ +(?!return|#|\"|'|.*\bprepared\b.* = ).* = .*( [@/] |\bnp\.(exp|log|sqrt|einsum)\()")


def told_at(code: str) -> set[int]:
    """The lines that carry the number of an equation."""
    return {n for found in places(code).values() for p in found for n in range(p.first, p.last + 1)}


@pytest.mark.parametrize("name", [*list(GALLERY)[::8], TOPICS], ids=lambda n: n.split("\n")[0])
def test_the_code_names_the_equations_by_the_derivation_s_numbers(name: str) -> None:
    plan = emdsl.compile(text=name).derived if name == TOPICS else planned(name)
    steps = Derivation.of(plan).to_dict()["steps"]
    found = numbers(plan)
    kinds = {k: [s for s in steps if s["kind"] == k] for k in ("posterior", "statistics", "update", "objective")}
    assert list(found.posterior.values()) == [s["number"] for s in kinds["posterior"]]
    assert found.update == {p: s["number"] for s in kinds["update"] for p in s["parameters"]}
    assert found.objective == kinds["objective"][0]["number"]
    shown = {line["name"]: line["number"] for s in kinds["statistics"] for line in s["lines"] if "name" in line}
    assert shown == dict(found.statistic)
    labels = [line["number"] for s in steps for line in s["lines"] if "number" in line]
    named = {whole(n) for n in labels}
    assert len(labels) == len(set(labels)) and all(any("number" in ln for ln in s["lines"]) for s in kinds["update"])
    code = "\n".join(line for lines in module_functions(Printer(plan)) for line in lines)
    for statistic, label in shown.items():
        assert re.search(rf'^        "{re.escape(statistic)}": .*# \({re.escape(label)}\)$', code, re.MULTILINE)
    known = {str(s["number"]) for s in steps} | named
    assert set(re.findall(r"# \((\d+(?:\.\d+)?)\)", code)) <= known
    bare = re.sub(r"\ndef initial\(.*?(?=\ndef |\Z)", "", code, flags=re.DOTALL)  # where a fit starts is no equation
    assert not [line for n, line in told_lines(bare) if COMPUTES.search(line) and n not in told_at(bare)]
    for s in (*kinds["posterior"], *kinds["update"], *kinds["objective"]):
        body = code.partition(f"def {s['code']}(")[2].partition("\ndef ")[0]
        body = code if plan.elimination.parts else body  # the sweep calls a function for each factor
        assert f"({s['number']})" in body or f"({s['number']}.1)" in body, s["title"]


# ------------------------------------------------------------------ differences


def test_what_a_changed_line_changes() -> None:
    one, other = (told(n) for n in ("old_faithful", "tied_gaussian_mixture"))
    found = one.difference(other)
    assert [c.title for c in found.changes] == [
        "The log joint density", "The posterior of `z`", "Expected sufficient statistics",
        "The expected complete-data log-likelihood", "The update of `mean`", "The update of `cov`", "Missing cells",
    ]  # fmt: skip
    assert "The update of `weights`" in found.same and "The families" in found.same
    said = str(found)
    assert "  -     R[k] = S_z_x_x[k] - S_z_x[k] mean[k]ᵀ - mean[k] S_z_x[k]ᵀ\n" in said
    assert "  +     cov = R / S_n_x  (9)" in said
    assert "  - param cov[K]  : spd[D]\n  + param cov     : spd[D]\n" in said
    assert "S_z[k] = " not in said  # what is the same is not told
    back = other.difference(one)
    turned = {"-": "+", "+": "-"}
    assert {(c.title, turned[n.sign], str(n.line)) for c in found.changes for n in c.lines} == {
        (c.title, n.sign, str(n.line)) for c in back.changes for n in c.lines
    }


@pytest.mark.parametrize(("old", "new", "said"), [
    ("slope", "beta", "The derivations are the same, but for names: slope is beta."),
    ("slope : real[P]\nparam sd : positive", "sd : positive\nparam slope : real[P]", "The derivations are the same."),
    ("sd : positive", "sd : positive  # of a row", "The derivations are the same."),
    ("size P = 2", "size P = 3", "The derivations are the same."),
])  # fmt: skip
def test_what_changes_nothing_is_told_as_the_same(old: str, new: str, said: str) -> None:
    """Names, the order of declarations, comments, numbers that stand for sizes."""
    text = """model M
size P = 2
param slope : real[P]
param sd : positive
for g in G:
    latent b[g] ~ Normal(0, 1)
    for n in N:
        given x[g, n] : real[P]
        observed y[g, n] ~ Normal(x[g, n] @ slope + b[g], sd)
"""
    one, other = (emdsl.compile(text=t).derivation for t in (text, text.replace(old, new)))
    assert str(one.difference(other)) == said


@pytest.mark.parametrize(("old", "new"), [("Normal(m, s)", "Laplace(m, s)"), ("m : real", "m : positive"),
                                         ("Normal(m", "Normal(exp(m)"), ("(m, s)", "(m, var = s)")])  # fmt: skip
def test_families_domains_and_functions_are_no_names(old: str, new: str) -> None:
    text = "model M\nparam m : real\nparam s : positive\nfor n in N:\n    observed x[n] ~ Normal(m, s)\n"
    one, other = (emdsl.compile(text=t).derivation for t in (text, text.replace(old, new)))
    assert one.difference(other).changes and not one.difference(other).names


def test_letters_for_long_sums_are_no_difference() -> None:
    """A plate of the other's has the letter."""
    head = "model M\nparam m : real\nparam s : positive\nfor g in G:\n    latent b[g] ~ Normal(m, 1)\n"
    row = "    observed y[g] ~ Normal(b[g] * m, s)\n"
    more = "    for r in R:\n        observed y[g, r] ~ Normal(b[g] * m, s)\n"
    one, other = (emdsl.compile(text=head + lines).derivation for lines in (row, more))
    assert "R = S_y_y" in str(one) and "C = S_y_y" in str(other)
    assert "S_y_y - 2 m" not in str(one.difference(other)).split("The update of s")[1]


def test_sentences_in_another_order_are_the_same() -> None:
    one, other = (Step("", (Say(text),)) for text in ("A is so. B is so.", "B is so. A is so."))
    assert not difference(([one], [other]), ("", "")).changes


def test_equations_in_another_order_are_the_same() -> None:
    a, b, c = (Show(Relation("=", Word(n), Word("0"))) for n in "abc")
    (change,) = difference(([Step("", (a, b))], [Step("", (c, b, a))]), ("", "")).changes
    assert [(found.sign, found.line) for found in change.lines] == [("+", c)]


def test_a_line_that_stands_as_often_as_before_is_no_difference() -> None:
    """A family's line that another has too was left out where the family goes; seen to fail without the mend."""
    a, b = (Show(Relation("=", Word(n), Word("0"))) for n in "ab")
    (change,) = difference(([Step("", (a, b, a))], [Step("", (a, b))]), ("", "")).changes
    assert [(found.sign, found.line) for found in change.lines] == [("-", a)]


def test_a_difference_is_taken_to_a_model_too() -> None:
    model = compiled("old_faithful")
    assert model.derivation.difference(model).changes == ()
    with pytest.raises(emdsl.errors.ArgumentError, match="a derivation or a compiled model, not str"):
        model.derivation.difference("old_faithful.em")


def test_fractions_are_fractions_on_paper() -> None:
    """`½` in a sentence was 12 in LaTeX."""
    assert r"the first of 1, \ensuremath{\tfrac{1}{2}}, \ensuremath{\tfrac{1}{4}}" in told("beta_mixture").to_latex()


def test_a_right_side_that_is_wide_stands_below_the_left() -> None:
    shown = [line for step in told("factorial_hmm").steps for line in step.body if isinstance(line, Show)]
    wide = next(
        line.formula for line in shown if isinstance(line.formula, Relation) and "∝ α(a[t - 1]" in text(line.formula)
    )
    assert max(map(len, lines(wide, 70))) <= 70


def test_the_command_tells_the_difference(capsys: pytest.CaptureFixture[str]) -> None:
    models = Path(__file__).parents[1] / "models"
    poisson = str(models / "poisson_mixture.em")
    assert run(["derive", poisson, "--diff", str(models / "rayleigh_mixture.em"), "--json"]) == 0
    assert "The families" in {c["title"] for c in json.loads(capsys.readouterr().out)["changes"]}
    assert run(["derive", poisson, "--diff", "absent.em"]) == 1
    assert "absent.em: cannot be read" in capsys.readouterr().err


def test_steps_that_one_side_lacks_and_models_that_are_the_same() -> None:
    one, other = (told(n) for n in ("student", "student_free_df"))
    facts = one.difference(other).to_dict()
    update = next(c for c in facts["changes"] if c["title"] == "The update of df")
    assert update["numbers"] == [None, 7] and {line["sign"] for line in update["lines"]} == {"+"}
    assert "The update of s2" in facts["same"]  # its number is another, its equations are not
    assert "7 → –. The update of df" in str(other.difference(one))
    assert str(one.difference(one)) == "The derivations are the same." and one.difference(one).changes == ()


# ------------------------------------------------------------------ reading

LINES = {
    "old_faithful": (
        "weights[k] = Σ_n q(z[n] = k) / N",
        "mean[k] = Σ_n q(z[n] = k) x[n] / (Σ_n q(z[n] = k))",
        "cov[k] = Σ_n q(z[n] = k) (x[n] - mean[k]) (x[n] - mean[k])ᵀ / (Σ_n q(z[n] = k))",
        "S_z_n_x[k] = Σ_{n : x[n] is seen} q(z[n] = k)",
        "Q(weights, mean, cov) = Σ_{n, k} q(z[n] = k) log weights[k] - ½ Σ_{n, k} q(z[n] = k) (logdet(cov[k])",
        "∂Q/∂cov[k]⁻¹ = ½ S_z_n_x[k] cov[k] - ½ R[k] = 0 cov[k] = R[k] / S_z_n_x[k]",
        "(x[n] - mean[k])ᵀ cov[k]⁻¹ (x[n] - mean[k])",
    ),
    "robust_regression": ("S_n_y_u a + S_n_y_X_uᵀ b = S_y_u", "a S_n_y_X_u + S_n_y_X_X_u b = S_y_X_u"),
    "linear_dynamical_system": ("A S_E_h_before_h_before = S_E_h_h_before",),
    "dawid_skene": ("S_truth_observer_label[j, k, k'] log confusion[j, k, k']",),
    "hidden_tree": (
        "trans[k, k'] = S_z_2[k, k'] / (Σ_k'' S_z_2[k, k''])",
        "R[k] = S_z_x_x[k] - 2 mean[k] S_z_x[k] + mean[k]² S_z_n_x[k] Then Q(sd) = -Σ_k S_z_n_x[k] log sd[k] - ½ Σ_k",
        "∂Q/∂sd[k] = R[k] / sd[k]³ - S_z_n_x[k] / sd[k] = 0 sd[k] = √(R[k] / S_z_n_x[k])",
    ),
    "genetic_linkage": (
        "Q(t) = Σ_n q(cell[n] = 1) log(¼ t)",
        "t = Σ_n (q(cell[n] = 1) + q(cell[n] = 4))",
        "Q(t) = (S_cell_1 + S_cell_4) log t + (S_cell_2 + S_cell_3) log(1 - t) + const",
        "∂Q/∂t = (S_cell_1 + S_cell_4) / t - (S_cell_2 + S_cell_3) / (1 - t) = 0",
    ),
    "mixture_of_regressions": ("= -½ Σ_{n, k} [z[n] = k] (2 log sd[k] + log(2 π) + (y[n]",),
    "item_response": ("softplus(a) = log(1 + exp(a)).", "logistic(a) = 1 / (1 + exp(-a))."),
    "beta_mixture": ("where Q holds a[k], log Γ(a[k]), log Γ(a[k] + b[k]);", "ψ′ is the derivative of ψ."),
    "probit_regression": ("[...] is 1 where it holds, else 0.",),
    "student_free_df": ("∂Q/∂df = ½ S_count", "coefficient of log u[n] = ½ df - ½"),
    "stochastic_volatility": ("½ Σ_t (y[t] - mean)² E[exp(-h[t])] + const",),
    "arma": ("= -½ Σ_{t > 0} E[(s[t, 0] - phiᵀ s[t - 1])² / shock + log(2 π shock)]",),
    "blood_groups": ("R = 2 S_genotype_0 + S_genotype_1 + S_genotype_2", "∂Q/∂allele[0] = R / allele[0] = λ"),
    "word_alignment": ("q(align[s, j] = l) [source[s, l] = e]",),
}


def test_long_lines_are_folded_where_their_brackets_are() -> None:
    shown = str(told("mixture_of_factor_analysers"))
    assert re.search(r"\n +- ½ Σ_d \(S_x_x\[d\].*\n +- 2 Σ_k load", shown)  # under what the bracket holds
    row = "v = (" + " + ".join(["aa"] * 40) + ") / (b + c) - d"
    lines = folded(row, 60)
    assert " ".join(" ".join(lines).split()) == row and max(map(len, lines)) <= 60
    assert all(line.startswith("     + aa") for line in lines[1:-1]) and folded(row, 400) == [row]
    index = folded("b(" + "mood[series, tau - 1] " * 4 + ") = c", 60)  # not among the places of an array
    assert not any(line.strip().startswith("- 1]") for line in index)
    assert folded("a" * 90, 60) == ["a" * 90]  # nothing to break at
    long = "S_days_until_discharge_of_patients"  # names alone are broken between, or later
    lines = folded(f"Q = (2 {long} slope_on_the_first_covariate {long} - {long * 2} + {long}) / 2", 60)
    assert [line.split()[0] for line in lines] == ["Q", "slope_on_the_first_covariate", long, "-", "+"]
    lines = folded(f"log p({long}, {long}, {long}) + Σ_{{n : {long}, {long}}} x[n, d]", 60)
    assert [line.split()[-1] for line in lines] == [f"p({long},", f"{long},", f"{long})", f"{long},", "d]"]
    row = " + ".join(f"a[{n}] (b + c)" for n in range(4000))  # as many lines deep as it was long: a RecursionError
    lines = folded(row, 60)
    assert max(map(len, lines)) <= 60 and " ".join(lines).split() == row.split()


def test_eighty_columns_are_enough() -> None:
    told_ = told("switching_linear_system")
    wide = [len(line) for line in told_.to_text(80).splitlines()]
    assert sum(n > 80 for n in wide) < len(wide) / 40 and max(wide) < 90
    assert told_.to_text(80).split() == told_.to_text().split() == str(told_).split()


def test_sums_within_one_another_are_not_written_out() -> None:
    """Those in products did not count as within one another: the square of a sum of 20 binaries was 2^20 terms."""
    indices = [x.fresh("2") for _ in range(5)]
    nested: x.Expr = x.El("p", tuple(indices))
    for i in indices:
        nested = x.total(i, x.mul(x.value_of(i), nested))
    facts = replace(known(compiled("old_faithful").derived), complete=True)
    assert any(isinstance(n, x.Sum) for n in x.walk(tidy(nested, facts)))


def test_a_letter_stands_for_what_it_says_and_hides_no_name() -> None:
    lines = [line.formula for line in told("hidden_tree").steps[9].body if isinstance(line, Show)]
    meant = {e.left: e.right for e in lines if isinstance(e, Relation) and text(e).startswith("R[k] =")}
    plain = [rebuilt(e, meant.get) for e in lines if not text(e).startswith("R[k] =")]
    first, *again = (e.formula for e in abbreviated([*map(Show, plain)], {"R", "sd", "mean"}) if isinstance(e, Show))
    assert len(meant) == 1 and isinstance(first, Relation) and text(first.left) == "C[k]" and again != plain
    assert [rebuilt(e, {first.left: first.right}.get) for e in again] == plain


UGLY = {  # models in no gallery, and how their equations must read
    """param a[2] : positive
param b[2] : positive
for n in N:
    latent t0[n] ~ Weibull(a[0], b[0])
    latent t1[n] ~ Weibull(a[1], b[1])
    observed y[n] ~ Delta(min(t0[n], t1[n]))
    observed which[n] ~ Delta(t1[n] < t0[n])
""": (
        "log p(y, which, y_is_t0 | a, b) = log p(y, y_is_t0 | a, b) + log p(which | y_is_t0) (1.1)",  # no `log 0.5`
        "log q(y_is_t0[n] = i) = [i = 1] (log a[0]",  # not `[y[n] > 0]` beside `log([y[n] > 0])`
        "The density of y is 0 but where y[n] > 0.",
        "- Σ_n (y[n] / b[0])^a[0] (log y[n] - log b[0])",  # not a sum for each state
        "(a[0] + 1) Σ_n (y[n] / b[0])^a[0])",  # not `(a[0] - 1) Σ_n ... + 2 Σ_n ...`
    ),
    """param k[3] : positive
param s[3] : positive
for n in N:
    given stop[n] : positive
    latent a[n] ~ Weibull(k[0], s[0])
    latent b[n] ~ Weibull(k[1], s[1])
    latent c[n] ~ Weibull(k[2], s[2])
    observed y[n] ~ Delta(min(a[n], b[n], c[n], stop[n]))
""": (
        "[which_y_is[n] = 3] log([y[n] = stop[n]]) + Σ_{n, i : i ≠ 3} [which_y_is[n] = i] log([stop[n] > y[n]])",
        "The density of y is 0 but where y[n] > 0.",  # at the limit, too, which is positive
        "- Σ_n (y[n] / s[0])^k[0] - Σ_n (y[n] / s[1])^k[1] - Σ_n (y[n] / s[2])^k[2] + const (7.2)",
        "computed in the same pass as the statistics. ℓ =",  # the model has no `factor`
    ),
    """param b : real[P]
param k : positive
for n in N:
    given x[n] : real[P]
    given end[n] : positive
    latent t[n] ~ Weibull(k, exp(-x[n] @ b))
    observed y[n] ~ Delta(min(t[n], end[n]))
""": (
        "The density of y is 0 but where, if y[n] ≠ end[n], y[n] > 0 and y[n] ≤ end[n].",
        "+ k S_n_y_log_end_y - Σ_n y[n]^k exp(k x[n]ᵀ b) + const",  # of what was seen and what was censored alike
    ),
    """param b : real[P]
param k : positive
param theta : positive
family Hazard(x : positive | k : positive, l : positive) = log(k) + log(l) + (k - 1) * log(x) - l * x^k
for i in I: latent frailty[i] ~ Gamma(theta, theta)
for n in N:
    given x[n] : real[P]
    given of[n] : index[I]
    given end[n] : positive
    latent t[n] ~ Hazard(k, frailty[of[n]] * exp(x[n] @ b))
    observed y[n] ~ Delta(min(t[n], end[n]))
""": (
        "- Σ_n E[frailty[of[n]]] y[n]^k exp(x[n]ᵀ b) + const",  # not a sum over i of sums over its rows
        "Q is concave in b, k, because -log and exp are convex, and subtracted",  # t^k is exp(k log t)
    ),
    """size K = 2
param share : simplex[K]
param beta[K] : real[P]
for i in I:
    latent kind[i] ~ Categorical(share)
    for t in T:
        given x[i, t] : real[J, P]
        observed choice[i, t] ~ Categorical(logits = x[i, t] @ beta[kind[i]])
""": (
        "With the softmax M[i, t, k, j] = exp(x[i, t, j]ᵀ beta[k]) / (Σ_j' exp(x[i, t, j']ᵀ beta[k]))",
        "- Σ_{i, t, j} q(kind[i] = k) M[i, t, k, j] x[i, t, j] (8.1)",  # McFadden's, whose softmax is summed over
    ),
    """param ka : positive
param m : real
param s : positive
for i in I:
    latent v[i] ~ Normal(m, 1)
    for j in J[i]:
        given t[i, j] : positive
        observed y[i, j] ~ Normal(exp(-v[i]) * exp(-ka * t[i, j]), s)
infer v by saem
""": (
        "- Σ_{i, j} E[(y[i, j] - exp(-v[i]) exp(-ka t[i, j]))²] / (2 s²) + const (5.2)",  # a mean over draws there, too
        "∂Q/∂s = Σ_{i, j} E[R[i, j]²] / s³ - S_n_y / s",
        "exp(-v[i]) is not a statistic of",  # not `exp(-v[row:J[j]])`
    ),
    """latent tau ~ Gamma(1, 1)
for p in P:
    latent alpha[p] ~ Gamma(1, 1)
    latent w[p] ~ Normal(0, precision = alpha[p])
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Normal(x[n] @ w, precision = tau)
infer (w), alpha, tau by meanfield
""": (
        "rate(alpha[p]) = ½ E[w[p]²] + 1",  # not `½ E[w[p]]² + ½ cov(w[p], w[p])`
        "rate(tau) = 1 + ½ Σ_n E[(y[n] - Σ_p x[n, p] w[p])²]",
    ),
    """param beta : real[P]
param s : positive
for n in N:
    given x[n] : real[P]
    observed y[n] ~ StudentT(3, x[n] @ beta, s)
""": ("(y[n] - x[n]ᵀ beta)² x[n] x[n]ᵀ /",),  # not `(2 y[n] - 2 x[n]ᵀ beta)²`
    """param A : real[Q, Q]
param C : real[D, Q]
param B : real[D, U]
param R : spd[D]
for t in T:
    given u[t] : real[U]
    latent s[t] ~ MvNormal(zeros(Q), eye(Q)) if t == 0 else MvNormal(A @ s[t-1], eye(Q))
    observed y[t] ~ MvNormal(C @ s[t] + B @ u[t], R)
""": ("h(s[t]) = Cᵀ R⁻¹ (y[t] - B u[t])",),
    """param gamma : real[Q]
param m : real
param c : real
param v : positive
for n in N:
    given w[n] : real[Q]
    latent e[n] ~ Normal(w[n] @ gamma, 1)
    observed hired[n] ~ Delta(e[n] > 0)
    observed wage[n] ~ Normal(m + c * (e[n] - w[n] @ gamma), var = v)
""": (
        "mean(e[n]) = ((c² / v + 1) w[n]ᵀ gamma + c (wage[n] - m) / v) / precision(e[n])",  # Heckman's
        "sd(e[n]) = 1 / √precision(e[n])",
    ),
    """param m : real
param v : positive
for n in N:
    given limit[n] : real
    latent c[n] ~ Normal(m, var = v)
    observed below[n] ~ Delta(c[n] < limit[n])
""": (
        "E[c[n]] = mean(c[n]) + √v (φ(α(c[n])) - φ(β(c[n]))) / (Φ(β(c[n])) - Φ(α(c[n])))",
        "So where below[n] = 1 E[c[n]] = mean(c[n]) - √v φ(β(c[n])) / Φ(β(c[n]))",  # as textbooks have it
        "A(c[n]) = log(Φ(β(c[n])) - Φ(α(c[n])))",
    ),
    """param m : real
param v : positive
param c : real
for n in N:
    latent h[n] ~ Normal(0, v)
    observed y[n] ~ Normal(m - h[n], 1)
    latent one[n] ~ Normal(c, 1)
    latent two[n] ~ Normal(m, 2)
    observed d[n] ~ Delta(one[n] > two[n])
infer two by mcmc
""": ("log p(d | c, two) = Σ_n [d[n] = 1] log(Φ(c - two[n]))",),  # the one is gone where the other is drawn: KeyError
    """param T : spd[2]
for g in G:
    for n in N[g]: observed C[g, n] ~ InverseWishart(5, T)
""": ("T⁻¹ = Σ_{g, n} C[g, n]⁻¹ / (5 Σ_g N[g])",),  # a matrix for each row of a ragged plate: IndexError
    """size K = 2
param first : simplex[K]
param trans[K] : simplex[K]
param link[K, K] : unit
for t in T:
    latent z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
for i in N:
    latent g[i] ~ Categorical(ones(K) / K)
for i in N:
    for j in N: observed a[i, j] ~ Bernoulli(link[g[i], g[j]])
for t in T: observed y[t] ~ Bernoulli(link[z[t], 0])
infer z, g by meanfield
""": (  # each element a factor: what ties it, averaged over its neighbours; itself on the diagonal
        "+ [t > 0] Σ_k' q(z[t - 1] = k') log trans[k', k] + [t < T - 1] Σ_k' q(z[t + 1] = k') log trans[k, k']",
        "+ Σ_j [i ≠ j] Σ_k' q(g[j] = k') (a[j, i] log link[k', k] + (1 - a[j, i]) log(1 - link[k', k]))",
        "+ a[i, i] log link[k, k] + (1 - a[i, i]) log(1 - link[k, k])",
    ),
    """param b[K] : real[P]
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Categorical(logits = [b[k] @ x[n] for k in K])
""": (
        "With the softmax M[n, k] = exp(b[k]ᵀ x[n]) / (Σ_k' exp(b[k']ᵀ x[n]))",
        "∂Q/∂b[k] = S_x_y[k] - Σ_n M[n, k] x[n] (5.1)",
        "∂²Q/∂b[k]∂b[k'] = Σ_n M[n, k] M[n, k'] x[n] x[n]ᵀ - [k' = k] Σ_n M[n, k] x[n] x[n]ᵀ (5.2)",
    ),
    """param beta : real[P]
param theta : positive
for f in F: latent w[f] ~ Gamma(theta, theta)
for i in N:
    given x[i] : real[P]
    given of[i] : index[F]
    given until[i] : positive
    latent t[i] ~ Exponential(w[of[i]] * exp(x[i] @ beta))
    observed seen[i] ~ Delta(min(t[i], until[i]))
""": (  # censored or not, what is summed is the time
        "Beside these, conditions that hold wherever the density is not 0 are left out.",
        "shape(w[f]) = theta + Σ_{i : of[i] = f} [seen[i] ≠ until[i]] (4.2a)",
        "rate(w[f]) = theta + Σ_{i : of[i] = f} seen[i] exp(x[i]ᵀ beta) (4.2b)",
        "∂Q/∂beta = S_n_seen_x - Σ_i E[w[of[i]]] seen[i] exp(x[i]ᵀ beta) x[i] (9.1)",
    ),
    """param lam : positive
param p : unit
for i in I:
    latent abundance[i] ~ Poisson(lam)
    for j in J: observed y[i, j] ~ Binomial(abundance[i], p)
""": (
        "E[f(abundance)] is the sum of q(abundance⁽ᵃ⁾) f(abundance⁽ᵃ⁾)",
        "S_abundance = Σ_i E[abundance[i]]",
        "+ (abundance[i] - y[i, j]) log(1 - p) + log([y[i, j] ≤ abundance[i]])]",
        "p = Σ_{i, j} y[i, j] / (J Σ_i E[abundance[i]])",
    ),
    """param mu : real
param s : positive
for n in N:
    given lo[n] : real
    given hi[n] : real
    latent u[n] ~ Normal(mu, s)
    observed d[n] ~ Delta(lo[n] < u[n] < hi[n])
    latent v[n] ~ Normal(mu, s)
    observed a[n] ~ Delta(v[n] > 0)
    observed b[n] ~ Delta(v[n] > lo[n])
""": (
        "Where low is the larger one, it lies outside: below high, or above low.",
        "log(Φ(β(u[n])) - Φ(α(u[n])) + [low(u[n]) > high(u[n])])",
        "low(v[n]) = max({0 if a[n] = 1; -∞ otherwise}, {lo[n] if b[n] = 1; -∞ otherwise})",
    ),
    """given a : positive = 1.5
param p : simplex[2]
param f : unit
param w : simplex[3]
param mu[D] : unit ~ Beta(a, a)
for n in N:
    latent g[n] ~ Categorical([p[0]^2 * (1 - f) + f * p[0], 2 * p[0] * p[1] * (1 - f), p[1]^2 * (1 - f) + f * p[1]])
    observed y[n] ~ Delta(g[n] > 0)
    latent one[n] ~ Categorical(w)
    latent other[n] ~ Categorical(w)
    observed both[n] ~ Delta(one[n] + other[n])
    for d in D: observed x[n, d] ~ Bernoulli(mu[d])
""": (
        "- S_g_0 (2 p[0] (1 - f) + f)² e[0] e[0]ᵀ / (p[0]² (1 - f) + f p[0])²",
        "∂Q/∂f = S_g_0 p[0] (1 - p[0]) / (p[0]² (1 - f) + f p[0])",
        "w[i] = Σ_n (q(one[n] = i) + q(other[n] = i)) / (2 N)",
        "Q is concave in mu, and this is its maximum, where S_x[d] + a - 1 ≥ 0 S_n_x_x[d] + a - 1 ≥ 0",
    ),
    """size K = 2
param delta : zero_sum[I]
param V : real[K, P] ~ Normal(0, 1)
param w : simplex[K]
param m[K] : real[D]
param S[K] : spd[D]
param nu[K] : positive
for n in N:
    given x[n] : real[P]
    latent theta[n] ~ Normal(0, 1)
    for i in I: observed y[n, i] ~ Bernoulli(logit = theta[n] - delta[i])
    latent e[n] ~ Categorical(softmax(V @ x[n]))
    observed v[n] ~ MvStudentT(nu[e[n]], m[e[n]], S[e[n]])
""": (
        "∂²Q/∂delta² = -diag(Σ_",
        "- [k' = k] Σ_n M[n, k] x[n] x[n]ᵀ - [k' = k] I (9.2)",
        "log1p(quad(S[e[n]]⁻¹, v[n] - m[e[n]]) / nu[e[n]]) ties m, S, nu to the data",  # not `Σ_d (v[n, d] - ...`
        "= (v[n] - m[k])ᵀ S[k]⁻¹ (v[n] - m[k]) R[n, k] is the squared Mahalanobis distance of v[n] from m[k].",
        "∂Q/∂m[k] = (nu[k] + D) Σ_n q(e[n] = k) S[k]⁻¹ (v[n] - m[k]) / (nu[k] + R[n, k])",  # as Liu and Rubin 1995
        "- (D S_e_n_v[k] - (nu[k] + D) Σ_n q(e[n] = k) R[n, k] / (nu[k] + R[n, k])) / (2 nu[k])",
        "ψ(½ (nu[k] + D))",
    ),
    """param gamma : real[P]
param mu[2] : real
param s : positive
for n in N:
    given x[n] : real[P]
    latent z[n] : category[2] ~ Bernoulli(Phi(x[n] @ gamma))
    observed y[n] ~ StudentT(4, mu[z[n]], s)
""": (
        "log1p(1/4 (y[n] - mu[z[n]])² / s²) ties mu, s to the data",
        "log(1 + (y[n] - mu[i])² / (4 s²))",
        "Σ_n q(z[n] = 1) φ(x[n]ᵀ gamma)² x[n] x[n]ᵀ / Φ(x[n]ᵀ gamma)²",
        "Q is concave in gamma, because -log Φ is convex, and subtracted",
        "Its other entries are 0.",
    ),
    """size K = 2
param lead[K] : spd[D] ~ Wishart(5, eye(D))
param rate[K] : positive ~ Gamma(2, 0.1)
for n in N:
    latent   z[n] ~ Categorical(ones(K) / K)
    observed x[n] ~ MvNormal(zeros(D), precision = lead[z[n]])
    observed y[n] ~ Poisson(rate[z[n]])
""": ("lead[k]⁻¹ = (S_z_x_x[k] + I)", "rate[k] = (S_z_y[k] + 1) / (S_z_n_y[k] + 0.1)"),
    """param p : unit
param a : positive
param s : positive ~ InverseGamma(2, 1)
param left : real
param gap : real
for n in N:
    latent   dry[n] ~ Bernoulli(p)
    observed rain[n] ~ Delta(0) if dry[n] == 1 else Gamma(2, a)
    observed v[n] ~ Normal(left + gap * dry[n], var = s)
""": ("[dry[n] = 0] [rain[n] > 0] (2 log a + log rain[n] - a rain[n])", "+ 6) log s -"),
    """param h : real
param effect : real[P]
for c in C:
    latent b[c] ~ Normal(0, 1)
    for k in M[c]:
        given X[c, k] : real[P]
        observed y[c, k] ~ Exponential(exp(h + X[c, k] @ effect + b[c]))
infer b by quadrature(points = 5)
""": ("S_n_y_X = Σ_{c, k : y[c, k] is seen} X[c, k]",),
    """param a[J] : positive
param d[J] : real
param gap[J] : positive
for i in I:
    latent skill[i] ~ Normal(0, 1)
    for j in J:
        let high[i, j] = logistic(a[j] * skill[i] - d[j])
        let low[i, j] = logistic(a[j] * skill[i] - d[j] - gap[j])
        observed y[i, j] ~ Categorical([1 - high[i, j], high[i, j] - low[i, j], low[i, j]])
""": (
        "Σ_{i, j} [y[i, j] = 1] log(high[i, j] - low[i, j]) + Σ_{i, j} [y[i, j] = 2] log low[i, j]",
        "with high[i, j] = logistic(a[j] skill[i] - d[j])",
        "R[j, i] = a[j] skill[i] - d[j] - gap[j]",
        "Σ_{i, j} [y[i, j] = 2] E[softplus(-R[j, i])]",
        "because softplus and -log(1 - exp(.)) are convex, and subtracted",
    ),
    """param a : real[P]
param b : real[Q]
param rho : unit
let R = [[1, rho], [rho, 1]]
for n in N:
    given x[n] : real[P]
    given w[n] : real[Q]
    let fit[n] = [x[n] @ a, w[n] @ b]
    observed y[n] : real[2] ~ MvNormal(fit[n], R)
""": (
        "-½ logdet(R) - log(2 π) - ½ (y[n] - fit[n])ᵀ R⁻¹ (y[n] - fit[n])",
        "logdet([[1, rho], [rho, 1]]) leaves no closed form for rho",
        "R = [[1, rho], [rho, 1]]",
        "fit[n] = [x[n]ᵀ a, w[n]ᵀ b]",
        "(R⁻¹)[0, 0] (R⁻¹)[0, 1] S_y_0_y_0 -",  # twice a half: the matrix is symmetric
    ),
    """param a : real[P]
param b : real[P]
param S : spd[2]
for n in N:
    given x[n] : real[P]
    observed y[n] : real[2] ~ MvNormal([x[n] @ a, x[n] @ b], S)
""": (
        "∂Q/∂S⁻¹ = ½ S_n_y S - ½ C = 0 with the entries of C, which is symmetric, C[0, 0] = S_y_0_y_0 - 2 aᵀ S_y_0_x +",
        "So S = C / S_n_y (",
        "with m[n] = [x[n]ᵀ a, x[n]ᵀ b]",
        "S = Σ_n (y[n] - m[n]) (y[n] - m[n])ᵀ / N",
    ),
    """for p in P:
    latent alpha[p] ~ Gamma(0.01, 0.01)
latent tau ~ Gamma(0.01, 0.01)
latent w : real[P] ~ MvNormal(zeros(P), precision = diag([alpha[p] for p in P]))
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Normal(x[n] @ w, precision = tau)
infer w, alpha, tau by meanfield
""": (
        "rate(alpha[p]) = ½ E[w[p]²] + 0.01",
        "rate(tau) = 0.01 + ½ Σ_n E[(y[n] - x[n]ᵀ w)²]",
        "E[(y[n] - x[n]ᵀ w)²] = (y[n] - x[n]ᵀ E[w])² + x[n]ᵀ cov(w, w) x[n]",  # MacKay 1992
    ),
    """size K = 3
param share : simplex[K]
param easy : unit
param told[K] : simplex[K]
param guess : simplex[K]
param effect : real[2]
for i in I:
    latent truth[i] ~ Categorical(share)
    latent hard[i] ~ Bernoulli(1 - easy)
for n in N:
    given item[n] : index[I]
    observed label[n] ~ Categorical(guess) if hard[item[n]] else Categorical(told[truth[item[n]]])
for g in G:
    latent b[g] : real[2] ~ MvNormal(effect, eye(2))
    for j in J[g]:
        given t[g, j] : real
        observed y[g, j] ~ Normal(b[g, 0] + b[g, 1] * t[g, j], 1)
""": (
        "= Σ_n [hard[item[n]] = 1] log guess[label[n]] + Σ_{n, k} [hard[item[n]] = 0] [truth[item[n]] = k] log told",
        "P(b[g], b[g]) = I + Σ_j (e[0] + t[g, j] e[1])",
    ),
    """param mu : real
param r : positive
param w : positive
for i in I:
    latent a[i] ~ Normal(mu, 1)
    for j in J[i]:
        latent b[i, j] ~ Normal(a[i], var = w)
        for k in K[i, j]:
            observed y[i, j, k] ~ Normal(b[i, j], var = r)
""": (
        "P(a[i], a[i]) = 1 + J[i] / w",  # sums over the rows of one row know all that is above it
        "P(b[i, j], b[i, j]) = 1 / w + K[i, j] / r",
        "h(b[i, j]) = Σ_k y[i, j, k] / r",
        "precision P and linear term h",
    ),
    """param k : positive
param s : positive
for n in N:
    given limit[n] : positive
    latent t[n] ~ Weibull(k, s)
    observed seen[n] ~ Delta(min(t[n], limit[n]))
""": (
        "The data have this log density: log p(seen | k, s, limit) = Σ_n [seen[n] ≠ limit[n]] (log k",
        "+ (k - 1) log seen[n]",
        "[seen[n] ≠ limit[n]] log seen[n] (4.2)",
        "newton. (limit[n] / s)^k ties k, s to the data",
    ),
    """param b : real[P]
param v : positive
for n in N:
    given x[n] : real[P]
    latent u[n] ~ Normal(x[n] @ b, var = v)
    observed y[n] ~ Delta(max(u[n], 0))
""": ("(u[n] - x[n]ᵀ b)² / (2 v)) (1.2)", "log([y[n] = max(u[n], 0)])", "b = (Σ_n x[n] x[n]ᵀ)⁻¹ Σ_n E[u[n]] x[n]"),
    """param cut : ordered[3]
param g[2] : real
param b : real
for j in G: latent u[j] ~ Normal(0, 1)
for n in N:
    given g_of[n] : index[G]
    given w[n] : real
    let eta[n] = b * w[n] + u[g_of[n]]
    observed y[n] : category[4] ~ Categorical(concat(
        Phi(cut[0] - eta[n]), Phi(cut[1] - eta[n]) - Phi(cut[0] - eta[n]),
        Phi(cut[2] - eta[n]) - Phi(cut[1] - eta[n]), 1 - Phi(cut[2] - eta[n])))
    observed hit[n] ~ Bernoulli(logit = g[0] + g[1] * w[n])
""": (
        "+ Σ_n [y[n] = 2] log(Φ(cut[2] - eta[n]) - Φ(cut[1] - eta[n]))",
        "∂Q/∂g[1] = S_hit_w - Σ_n w[n] logistic(g[0] + g[1] w[n])",  # not `[i = 0] ... + [i = 1] ...`
        "∂Q/∂cut[0] = Σ_n [y[n] = 0] E[φ(",  # not `Σ_{j, n} [g_of[n] = j]`
    ),
    """param level : positive
param bend : positive
param noise : positive
param beta : real[P]
param c : real[2]
param v : positive[4]
let F = [[1, 1], [0, 1]]
let load = [[1, 0], [c[0], 0], [0, 1], [0, c[1]]]
for t in T:
    given X[t] : real[P]
    latent alpha[t] ~ MvNormal(zeros(2), eye(2)) if t == 0 else MvNormal(F @ alpha[t-1], diag([level, bend]))
    observed y[t] ~ Normal(alpha[t][0] + X[t] @ beta, var = noise)
for n in N:
    latent f[n] ~ MvNormal(zeros(2), eye(2))
    observed w[n] ~ MvNormal(load @ f[n], diag(v))
""": (
        "(alpha[t, 0] - alpha[t - 1, 0] - alpha[t - 1, 1])² / level + (alpha[t, 1] - alpha[t - 1, 1])² / bend",
        "+ [t < T - 1] (e[0] + e[1]) (e[0] + e[1])ᵀ / level",
        "h(alpha[t]) = (y[t] - X[t]ᵀ beta) e[0] / noise",
        "load = [[1, 0], [c[0], 0], [0, 1], [0, c[1]]]",
        "v[i] = Σ_n E[(w[n, i] - load[i]ᵀ f[n])²] / N",
    ),
    """size Q = 2
param A : real[Q, Q]
param W : spd[Q]
param C : real[D, Q]
param R : spd[D]
param tau : positive[E]
for r in S:
    for t in T[r]:
        given u[r, t] : real[Q]
        latent s[r, t] ~ MvNormal(zeros(Q), eye(Q)) if t == 0 else MvNormal(A @ s[r, t-1] + u[r, t], W)
        observed y[r, t] ~ MvNormal(C @ s[r, t], R)
for g in G:
    latent b[g] ~ MvNormal(zeros(E), diag(tau))
    for k in K[g]:
        given Z[g, k] : real[E]
        observed v[g, k] ~ Normal(Z[g, k] @ b[g], 1)
""": (
        "J(s[r, t], s[r, t]) = [t = 0] I + [t > 0] W⁻¹ + [t < T[r] - 1] Aᵀ W⁻¹ A + Cᵀ R⁻¹ C",
        "h(s[r, t]) = [t > 0] W⁻¹ u[r, t] - [t < T[r] - 1] Aᵀ W⁻¹ u[r, t + 1] + Cᵀ R⁻¹ y[r, t]",
        "J(b[g], b[g]) = diag(tau)⁻¹ + Σ_k Z[g, k] Z[g, k]ᵀ",
        "The model has Q of its own: 𝒬 is the expected log joint.",
        "𝒬 = a logdet(P) - tr(H P), concave: the maximum has P⁻¹ = H / a",  # C and D are the model's
    ),
    """param phi : real(min=-1, max=1)
param theta : real
param v : positive
for t in T:
    latent a[t] ~ MvNormal([0, 0], eye(2)) if t == 0 else MvNormal([phi * a[t-1][0] + a[t-1][1], 0],
        v * outer([1, theta], [1, theta]))
    observed y[t] ~ Delta(a[t][0])
""": (
        "[t < T - 1] (phi e[0] + e[1]) (phi e[0] + e[1])ᵀ / v",
        "Σ_{t > 0} (log δ(a[t, 1] - theta (a[t, 0] - phi a[t - 1, 0] - a[t - 1, 1]))",
        "log p(y | a) = Σ_t log δ(y[t] - a[t, 0])",
        "v maximises Q in turn, the others held (ECM). The log-likelihood itself is raised in phi, theta (ECME).",
    ),
    """param m : real
for n in N:
    given left[n] : real
    observed y[n] ~ Normal(m, 1)
    observed below[n] ~ Delta(y[n] < left[n])
""": ("of y the last step tells", "the model's complete(('y',)) derives that"),
    """param m : real
param s : positive
param k : positive[2]
for n in N:
    observed x[n] : real(min = 0, max = 1) ~ Normal(m, s)
    latent a[n] ~ Weibull(k[0], 2)
    latent b[n] ~ Weibull(k[1], 2)
    observed first[n] ~ Delta(min(a[n], b[n]))
for t in T: latent w[t] ~ MvNormal(zeros(2), 1e4 * eye(2)) if t == 0 else MvNormal(w[t-1], eye(2))
""": (
        "log p(x | m, s) + log p(first, first_is_a | k)",
        "φ(-m / s)",  # not `exp(-log(Φ((1 - m) / s) - Φ(-m / s)) - m² / (2 s²)) / √π`
        "log(20000 π)",
    ),
    """param B : real[D, R]
param S : spd[D]
param π : real[D]
for n in N:
    latent f[n] ~ MvNormal(zeros(R), eye(R))
    observed x[n] ~ MvNormal(π + B @ f[n], S)
""": (
        "+ B S_E_n_x_f_f Bᵀ",
        "The model has π of its own.",
        "it is 3.14159",
    ),  # a matrix that is symmetric: once
    """param M[2] : real[D, D]
param c[2] : real[D]
param V[2] : spd[D]
for n in N:
    given g[n] : category[2]
    given x[n] : real[D]
    observed y[n] ~ MvNormal(M[g[n]] @ x[n] + c[g[n]], V[g[n]])
latent tau ~ Gamma(1, 1)
for p in P:
    latent alpha[p] ~ Gamma(1, 1)
    latent w[p] ~ Normal(0, precision = alpha[p])
for r in S:
    given z[r] : real[P]
    observed v[r] ~ Normal(sum(z[r, p] * w[p] for p in P), precision = tau)
infer tau, alpha, w by meanfield
""": (
        "J(w[p], w[p']) = [p = p'] E[alpha[p]] + E[tau] Σ_r z[r, p] z[r, p']",  # it was half of that, without p = p'
        "tr(V[i]⁻¹ M[i] S_n_y_x_x_g[i] M[i]ᵀ)",
        "c[i] S_n_y_x_g[i]ᵀ M[i]ᵀ",  # not `c (M S)ᵀ`
    ),
    """param beta : real[P]
param gamma : real[P]
param cov : spd[2]
param sigma : positive
for n in N:
    given x[n] : real[P]
    let mean[n] = x[n] @ beta
    let logvar[n] = x[n] @ gamma
    observed y[n] ~ Normal(mean[n], var = exp(logvar[n]))
for g in G: latent b[g] ~ MvNormal(zeros(2), cov)
param w : real[P]
for r in S:
    given day[r] : real
    given school[r] : index[G]
    given z[r] : real[P]
    let fixed[r] = z[r] @ w
    let shift[r] = b[school[r], 0] + b[school[r], 1] * day[r]
    observed v[r] ~ Normal(fixed[r] + shift[r], sigma)
""": (
        "Q(beta, gamma) = -½ gammaᵀ S_n_y_x - ½ Σ_n (y[n] - mean[n])² exp(-logvar[n]) + const",  # not opened
        "∂Q/∂beta = Σ_n (y[n] - mean[n]) exp(-logvar[n]) x[n]",
        "h(b[g]) = Σ_{r : school[r] = g} (v[r] - fixed[r]) (e[0] + day[r] e[1]) / sigma²",
        "w = (Σ_r z[r] z[r]ᵀ)⁻¹ Σ_r (v[r] - E[shift[r]]) z[r]",
        "sigma = √(Σ_r E[(v[r] - fixed[r] - shift[r])²] / S)",
    ),
    """size K = 2
param share : simplex[K]
param w[K] : real[3]
param s[K] : positive
for i in I:
    latent z[i] ~ Categorical(share)
    for t in T[i]:
        given age[i, t] : real
        let basis[i, t] = [1, age[i, t], age[i, t]^2]
        observed y[i, t] ~ Normal(basis[i, t] @ w[z[i]], s[z[i]])
param omega : positive
param alpha : positive
param mu : real
for n in N:
    let v[n] = omega if n == 0 else omega + alpha * (r[n-1] - mu)^2
    observed r[n] ~ Normal(mu, var = v[n])
param cov : spd[2] ~ InverseWishart(4, eye(2))
for m in M: observed e[m] ~ MvNormal(zeros(2), cov)
""": (
        "w[k] = (Σ_{i, t} q(z[i] = k) basis[i, t] basis[i, t]ᵀ)⁻¹ Σ_{i, t} q(z[i] = k) y[i, t] basis[i, t]",
        "+ (y[i, t] - basis[i, t]ᵀ w[k])² / s[k]²)",  # in the posterior, too
        "- ½ Σ_{n > 0} log v[n] - ½ Σ_{n > 0} (r[n] - mu)² / v[n]",
        "log(omega + alpha (r[n - 1] - mu)²) ties",
        "logdet(cov) - ½ tr(cov⁻¹)",
    ),
    """param cut : ordered[3]
param beta : real[P]
for n in N:
    given x[n] : real[P]
    let eta[n] = x[n] @ beta
    let below[n] = [logistic(cut[k] - eta[n]) for k in 3]
    observed y[n] : category[4] ~ Categorical(concat(below[n], 1) - concat(0, below[n]))
""": (
        "Σ_n [y[n] = 0] log below[n, 0]",  # not below[n, y[n]]
        "Σ_n [y[n] = 3] log(1 - below[n, 2])",
        "[i = 2] Σ_n [y[n] = 3] logistic(cut[i] - eta[n])",
    ),
    """param k : positive
for g in G: latent u[g] ~ Gamma(2, 2)
for n in N:
    given h[n] : index[G]
    given end[n] : positive
    latent t[n] ~ Exponential(k * u[h[n]])
    observed y[n] ~ Delta(min(t[n], end[n]))
""": ("log p(y | k) ≥ E[log p(y, u | k)] - E[log q(u)]",),  # what tails integrate out has no q
    """param phi[T] : unit
param p[T] : unit
for i in I:
    given first[i] : index[T]
    for t in T if t >= first[i]:
        latent alive[i, t] ~ Delta(1) if t == first[i] else Bernoulli(alive[i, t-1] * phi[t])
        observed seen[i, t] ~ Delta(1) if t == first[i] else Bernoulli(alive[i, t] * p[t])
param a : positive
param mu : real
for f in F:
    given mz[f] : bool
    latent shared[f] ~ Normal(0, var = a if mz[f] == 1 else a / 2)
    observed w[f] ~ Normal(mu + shared[f], 1) if mz[f] == 1 else Normal(mu, 1)
""": (
        "+ [alive[i, t - 1] = 1] [alive[i, t] = 1] log phi[t]",
        "q(alive[i, t - 1] = 1, alive[i, t] = 0) log(1 - phi[t]) + q(alive[i, t - 1] = 1, alive[i, t] = 1) log phi[t]",
        "S_alive_pair[t, 1, 0] log(1 - phi[t]) + S_alive_pair[t, 1, 1] log phi[t]) +",
        "phi[t] = S_alive_pair[t, 1, 1] / (S_alive_pair[t, 1, 1] + S_alive_pair[t, 1, 0])",  # not from 0 to 1
        "+ Σ_{i, t} [t > first[i]] q(alive[i, t] = 1) (seen[i, t] log p[t] + (1 - seen[i, t]) log(1 - p[t]))",
        "-½ Σ_f [mz[f] = 0] (log(π a) + 2 shared[f]² / a)",
        "mu = Σ_f (w[f] - [mz[f] = 1] E[shared[f]]) / F",
    ),
    """size K = 2
param w : simplex[K]
param b[K] : real[2]
param effect[K] : real
param psi[K] : spd[2]
param lift[K] : real
param rise[K] : real
param s : positive
for i in I:
    given on[i] : real
    latent c[i] ~ Categorical(w)
    latent eta[i] ~ MvNormal(b[c[i]] + [0, effect[c[i]] * on[i]], psi[c[i]])
    for t in T:
        given age[i, t] : real
        observed y[i, t] ~ Normal(eta[i, 0] + eta[i, 1] * age[i, t], 1)
    let base[i] = lift[c[i]] + rise[c[i]] * on[i]
    observed v[i] ~ Normal(base[i], s)
""": (
        "with base[i, k] = lift[k] + rise[k] on[i]",
        "= -½ Σ_{i, k} [c[i] = k] (2 log s + log(2 π) + (v[i] - base[i, k])² / s²)",
        "+ (eta[i] - m[i, k])ᵀ psi[k]⁻¹ (eta[i] - m[i, k]))",
        "m[i, k] = b[k] + [0, effect[k] on[i]]",
        "h(eta[i]) = psi[k]⁻¹ m[i, k] + Σ_t y[i, t] (e[0] + age[i, t] e[1])",
        "psi[k] = C[k] / S_c[k] (",
        "psi[k] = Σ_i q(c[i] = k) E[(eta[i] - m[i, k]) (eta[i] - m[i, k])ᵀ | c[i] = k] / (Σ_i q(c[i] = k))",
    ),
    """param beta : real[J]
param gamma : real[J]
for n in N:
    given x[n] : real[J]
    latent absent[n] ~ Bernoulli(logit = x[n] @ gamma)
    observed y[n] ~ Delta(0) if absent[n] == 1 else Poisson(exp(x[n] @ beta))
param mean[D] : real
param load[D, 2] : real
param psi[D] : positive
for i in I:
    latent f[i] ~ MvNormal(zeros(2), eye(2))
    observed v[i] ~ MvNormal(mean + load @ f[i], diag(psi))
""": (
        "= Σ_n (q(absent[n] = 1) x[n]ᵀ gamma - softplus(x[n]ᵀ gamma)) +",
        "S_n_v_f_f[d] = Σ_{i : v[i, d] is seen} E[f[i]] E[f[i]]ᵀ",  # cells before factors, data before moments
        "S_v_f = Σ_i v[i] E[f[i]]ᵀ",
        "mean[d] S_n_v_f[d] + S_E_n_v_f_f[d] load[d] = S_v_f[d]",
    ),
    """param rho : real(min = -1, max = 1)
param s : positive
size V = 3
for n in N:
    latent f[n] ~ MvNormal([0, 0], [[1, rho], [rho, 1]])
    for k in V: observed y[n, k] ~ Normal(f[n, 0] + k * f[n, 1], s)
""": (
        "log p(f | rho) = Σ_n (-½ logdet(V_f) - log(2 π) - ½ f[n]ᵀ V_f⁻¹ f[n])",
        "V_f = [[1, rho], [rho, 1]]",
        "tr(V_f⁻¹ S_E_f_f)",
    ),
    """param t : unit
param slip : unit
let seen = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
for n in N:
    latent cell[n] ~ Categorical([1/2, t/4, (1-t)/4, (1-t)/4, t/4])
    latent wrong[n] ~ Bernoulli(slip)
    observed y[n] ~ Categorical(seen[cell[n]]) if wrong[n] == 0 else Categorical(1/4 * ones(4))
""": ("5 x 2 = 10 states per element", "slip = Σ_n q(wrong[n] = 1) / N"),
    """param beta : real[P]
param theta : positive
for f in F:
    latent w[f] ~ Gamma(theta, theta)
for i in I:
    given x[i] : real[P]
    given of[i] : index[F]
    given until[i] : positive
    latent t[i] ~ Exponential(w[of[i]] * exp(x[i] @ beta))
    observed seen[i] ~ Delta(min(t[i], until[i]))
""": ("Q is concave in beta, because exp is convex, and subtracted",),
    """param mu : real[D]
param S : spd[D]
param beta : real[P]
param s2 : positive
given l : positive = 0.1
for n in N:
    latent out[n] ~ Bernoulli(1/10)
    observed y[n] ~ MvNormal(mu, S) if out[n] == 0 else MvNormal(mu, S / l)
for s in T:
    latent u[s] ~ Normal(0, 1)
    for k in K[s]:
        latent v[s, k] ~ Normal(u[s], 1)
        for i in I[s, k]:
            given x[s, k, i] : real[P]
            observed z[s, k, i] ~ Normal(x[s, k, i] @ beta + v[s, k], var = s2)
for m in M:
    given h[m] : real[P]
    latent f[m] ~ Normal(h[m] @ beta, var = s2)
    observed g[m] ~ Delta(max(f[m], 0))
""": (
        "Where low and high are the same, f[m] is seen itself",
        "- ½ (S_out_0_n_y + S_out_1_n_y_l) muᵀ S⁻¹ mu",
        "h(v[s, k]) = Σ_i (z[s, k, i] - x[s, k, i]ᵀ beta) / s2",
    ),
    """size Q = 2
param b : real[D, P]
param load : real[D, Q]
param v : positive
for n in N:
    given w[n] : real[P]
    latent h[n] ~ MvNormal(zeros(Q), eye(Q))
    observed y[n] ~ MvNormal(b @ w[n] + load @ h[n], v * eye(D))
""": ("2 Σ_d b[d]ᵀ S_n_y_w_h[d] load[d]", "𝒬(v) = -½ S_n_y log v - R / (2 v) + const"),
    """param form[K] : positive
param life[K] : positive
for n in N:
    given    until[n] : positive
    latent   z[n] ~ Categorical(ones(K) / K)
    latent   t[n] ~ Weibull(form[z[n]], life[z[n]])
    observed y[n] ~ Delta(min(t[n], until[n]))
""": (
        "∂Q/∂life[k] = form[k] (Σ_n q(z[n] = k) (y[n] / life[k])^form[k] - S_z_n_y[k]) / life[k]",
        "(y[n] / life[k])^form[k] (log y[n] - log life[k])²",
        "- Σ_n q(z[n] = k) (y[n] / life[k])^form[k] (log y[n] - log life[k]) (8.1a)",
    ),
    """param gamma : real[P]
param tau2 : positive
for c in C:
    latent b[c] ~ Normal(0, var = tau2)
for n in N:
    given w[n] : real[P]
    given site[n] : index[C]
    latent u[n] ~ Normal(w[n] @ gamma + b[site[n]], 1)
    observed y[n] ~ Delta(u[n] > 0)
""": (
        "log q(b⁽ⁱ⁾[c]) = Σ_{n : site[n] = c} A(u[n] | b⁽ⁱ⁾[site[n]])",
        "Σ_n E[log(2 π) + (u[n] - w[n]ᵀ gamma - b[site[n]])²]",
        "Σ_n E[u[n] - b[site[n]]] w[n]",
    ),
    """param a : real
param s : positive
for n in N:
    given c[n] : real
    given d[n] : real
    observed y[n] ~ Normal(min(min(a * c[n], 1), d[n]), s)
""": ("(y[n] - min(a c[n], 1, d[n]))² / (2 s²))", "(y[n] - min(a c[n], 1, d[n]))² ties a, s to the data"),
    """size K = 8
size L = K - 1
param alpha : positive ~ Gamma(1, 1)
for k in L: latent v[k] ~ Beta(1, alpha)
for n in N:
    latent   z[n] ~ Categorical([v[k] * exp(sum(log(1 - v[j]) for j in L if j < k)) if k < L
        else exp(sum(log(1 - v[j]) for j in L)) for k in K])
    observed x[n] ~ Normal(z[n], 1)
infer v, z by meanfield
""": (
        "a(v[k]) = 1 + Σ_n q(z[n] = k)",
        "b(v[k]) = alpha + Σ_{n, k'} [k < k'] q(z[n] = k')",
        "Σ_l [l < k] E[log(1 - v[l])] + [k < L] E[log v[k]]",
        "alpha = L / (1 - S_log1m_v)",
    ),
    """param rate : real
for n in N:
    observed y[n] ~ NegativeBinomial(2, mean = exp(rate))
""": ("rate = log(2 S_y / (S_n_y_y - S_y))",),
    """param R : correlation[D]
param sd : positive[D]
param mu : real[D]
for n in N:
    observed x[n] ~ MvNormal(mu, diag(sd) @ R @ diag(sd))
""": (
        "V = diag(sd) R diag(sd)",
        "∂Q/∂R = ½ diag(sd) V⁻¹ S_x_x V⁻¹ diag(sd) - ½ S_n_x diag(sd) V⁻¹ diag(sd)",
        "∂Q/∂sd = ½ diag(V⁻¹ S_x_x V⁻¹ diag(sd) R) - S_n_x diag(V⁻¹ diag(sd) R)",
    ),
    """param m : real[Q]
param W : spd[Q]
param R : spd[D]
given A : real[D, Q]
for n in N:
    latent   u[n] ~ MvNormal(m, W)
    observed y[n] ~ MvNormal(A @ u[n], R)
""": ("= S_y_y - S_y_A_uᵀ - S_y_A_u + S_E_n_y_A_A_u_u",),
    """param m : real[2]
param W : spd[2]
param s : positive
for i in I:
    latent p[i] ~ MvNormal(m, W)
    for j in J:
        observed y[i, j] ~ Normal(exp(p[i, 0]) + p[i, 1], s)
infer p by saem
""": ("S_p_p = Σ_i E[p[i] p[i]ᵀ]", "W = Σ_i E[(p[i] - m) (p[i] - m)ᵀ] / I", "ℓ = E[log p(p, y | m, W, s)]"),
    """param m : real
param s : positive
for n in N:
    latent u[n] ~ Normal(m, s)
    observed y[n] : count ~ Delta((u[n] > 0) + (u[n] > 1) + (u[n] > 2))
""": ("low(u[n]) = {-∞ if y[n] = 0; 0 if y[n] = 1; 1 if y[n] = 2; 2 otherwise}",),
    """param m : real
param s : positive
for n in N:
    latent   u[n] ~ Normal(m, s)
    observed y[n] ~ Delta(u[n] > 0)
    observed k[n] ~ Poisson(log_rate = u[n])
""": ("log p(y | u) = Σ_n log([y[n] = [u[n] > 0]])", "low(u[n]) = {0 if y[n] = 1; -∞ otherwise}", "high(u[n]) ="),
    """param beta : real[P]
param sigma : positive
for i in N:
    given x[i] : real[P]
    latent u[i] ~ Normal(x[i] @ beta, sigma)
    observed y[i] ~ Delta(max(u[i], 0))
""": (
        "low(u[i]) = {-∞ if y[i] = 0; max(y[i], 0) otherwise}",
        "mean(u[i]) = x[i]ᵀ beta (4.3a) a(u[i]) = (low(u[i]) - mean(u[i])) / sigma",
        "So where y[i] = 0 E[u[i]] = mean(u[i]) - sigma φ(mean(u[i]) / sigma) / Φ(-mean(u[i]) / sigma)",
        "The code has S_reference_y_u, S_square_reference_y, S_reference_y_x for its reference point: with that at 0 "
        "they are 0, and no equation holds them.",
        "beta = (Σ_i x[i] x[i]ᵀ)⁻¹ Σ_i E[u[i]] x[i]",
    ),
    """param J : real
param s : positive
param a[K] : positive
param alpha : positive
for t in T:
    latent   x[t] ~ Normal(J, s) if t == 0 else Normal(J + 0.5 * x[t-1], s)
    observed y[t] ~ Normal(x[t], 1)
for d in M:
    latent theta[d] ~ Dirichlet(alpha * ones(K))
    for n in N[d]:
        latent z[d, n] ~ Categorical(theta[d])
        observed w[d, n] ~ Poisson(a[z[d, n]])
infer theta, z by meanfield
""": (
        "precision P and linear term h",
        "S_x_before = Σ_{t > 0} E[x[t - 1]]",
        "M log Γ(K alpha) - (S_count + 1) log s",
    ),
    """param t : unit
param r : positive
param a : positive
let cell = [(2 + t) / 4, (1 - t) / 4, (1 - t) / 4, t / 4]
observed y : count[4] ~ Multinomial(cell)
for n in N:
    latent u[n] ~ Exponential(r)
    latent v[n] ~ Exponential(a)
    latent w[n] ~ Exponential(2)
    observed s[n] ~ Delta(min(u[n], v[n], w[n]))
""": (
        "S_y_0 log(½ t + 1) + S_y_3 log t + (S_y_1 + S_y_2) log(1 - t)",
        "y[0] log(¼ (t + 2)) + y[1] log(¼ (1 - t))",
        "t = (S_y_0 - S_y_3 - √(",
        "which_s_is says which of them s is: 0 for u, 1 for v, 2 for w.",
        "log p(s, which_s_is | r, a) = Σ_n [which_s_is[n] = 0] log r",
        "In terms of the data, where none is missing: r =",
    ),
    """param alpha : positive
param beta[J] : unit
param a[K] : simplex[V]
for d in D:
    latent theta[d] ~ Dirichlet(alpha * ones(K))
    observed y[d] ~ Bernoulli(beta[0])
    for n in N[d]:
        latent   z[d, n] ~ Categorical(theta[d])
        observed w[d, n] ~ Categorical(a[z[d, n]])
infer theta, z by meanfield
""": (
        "F = E[log p(y, w, theta, z | alpha, beta, a)] - E[log q(theta)] - E[log q(z)]",
        "the log of a Dirichlet's normaliser is convex",
        "It is nowhere positive: Q is concave in beta, and this is its maximum.",
    ),
    """param phi : unit
param p : unit
for i in I:
    for t in T:
        latent alive[i, t] ~ Delta(1) if t == 0 else Bernoulli(phi * alive[i, t-1])
        observed y[i, t] ~ Bernoulli(p * alive[i, t])
""": (
        "Q(phi, p) = Σ_{i, t : t > 0} (q(alive[i, t - 1] = 1, alive[i, t] = 0) log(1 - phi)",
        "phi = Σ_{i, t : t > 0} q(alive[i, t - 1] = 1, alive[i, t] = 1) / (Σ_{i, t : t > 0} q(alive[i, t - 1] = 1))",
        "p = Σ_{i, t} q(alive[i, t] = 1) y[i, t] / (Σ_{i, t} q(alive[i, t] = 1))",
    ),
    """param psi : unit
for n in N:
    latent x[n] ~ Multinomial([1/2, psi/4, (1-psi)/4, (1-psi)/4, psi/4], trials = 197)
    observed y[n] ~ Delta(x[n, 0] + x[n, 1])
""": ("psi = Σ_n (E[x[n, 1]] + E[x[n, 4]]) / (Σ_n (E[x[n, 1]] + E[x[n, 4]] + E[x[n, 2]] + E[x[n, 3]]))",),
    """param cured_share : unit
param rate : positive
for n in N:
    given c[n] : positive
    latent cured[n] ~ Bernoulli(cured_share)
    latent t[n] ~ Exponential(rate)
    observed y[n] ~ Delta(c[n] if cured[n] == 1 else min(t[n], c[n]))
""": (
        "log p(y, cured | cured_share, rate) = log p(cured | cured_share) + log p(y | rate, c, cured)",
        "Q(cured_share) = S_cured[1] log cured_share + S_cured[0] log(1 - cured_share) + const",
    ),
    """param a : real
param s : positive
for t in T:
    latent h[t] ~ Normal(0, 1) if t == 0 else Normal(a * h[t-1], 1)
    observed y[t] ~ Normal(h[t], s)
""": ("every term is linear or quadratic in h, an element tied", "with precision J and linear term g"),
    """param mu : real[D]
param W : real[D, Q]
param s : positive
for n in N:
    latent z[n] ~ MvNormal(zeros(Q), eye(Q))
    observed x[n] ~ MvNormal(mu + W @ z[n], s * eye(D))
""": (
        "cov(z[n], z[n]) = J(z[n], z[n])⁻¹",
        "E[z[n]] = cov(z[n], z[n]) h(z[n])",
        "A(z[n]) = ½ (h(z[n])ᵀ J(z[n], z[n])⁻¹ h(z[n]) - logdet(J(z[n], z[n])) + Q log(2 π))",
    ),
    """param alpha : positive
param beta : positive
param p : simplex[2]
param c[2] : real
param g[2] : positive
for i in I:
    latent z[i] ~ Categorical(p)
    observed y[i] ~ Normal(c[z[i]], precision = g[z[i]])
param mu : real ~ Normal(0, 10)
param tau : positive ~ Gamma(2, 1)
param nu : positive
latent w ~ MvNormal(zeros(M), precision = alpha * eye(M))
for n in N:
    given phi[n] : real[M]
    observed t[n] ~ Normal(phi[n] @ w, precision = beta)
    observed x[n] ~ Normal(mu, precision = tau)
    latent u[n] ~ Gamma(nu/2, nu/2)
    observed v[n] ~ Normal(0, precision = u[n])
""": (
        "S_n_t_phi_phi_w_w = Σ_{n : t[n] is seen} (phi[n]ᵀ E[w])²",
        "alpha = M / E[wᵀ w]",
        "∂Q/∂beta = S_n_t / (2 beta) - ½ R = 0",
        "∂Q/∂tau = (S_n_x + 2) / (2 tau) - ½ (S_x_x - 2 mu S_x + mu² S_n_x + 2) = 0",
        "mu = tau S_x / (tau S_n_x + 1/100)",
        "∂Q/∂g[j] = S_z_n_y[j] / (2 g[j]) - ½ R[j] = 0",
        "∂Q/∂nu = ½ S_log_u + ½ N (log(½ nu) - ψ(½ nu) + 1) - ½ S_u = 0",
    ),
    """param m[K] : real ~ Normal(0, 10)
param r[K] : positive
for n in N:
    latent z[n] ~ Categorical([0.5, 0.5])
    observed x[n] ~ Normal(m[z[n]], r[z[n]])
for i in I:
    latent a[i] ~ Bernoulli(0.3)
    for j in J:
        observed v[i, j] ~ Bernoulli(a[i] * 0.9)
        observed y[i, j] ~ Normal(0, r[0])
""": (
        "S_z_x[k] = Σ_n q(z[n] = k) x[n]",
        "m[k] = S_z_x[k] / (S_z_n_x[k] + r[k]² / 100)",
        "m[k] = Σ_n q(z[n] = k) x[n] / (r[k]² / 100 + Σ_n q(z[n] = k))",
        "v[i, j] log(0.9 l)",
    ),
    """param p[2] : simplex[2]
param c[2,2] : simplex[2]
param mu[2,2] : real
for t in T:
    latent a[t] ~ Categorical(p[0]) if t == 0 else Categorical(c[0, a[t - 1]])
    latent b[t] ~ Categorical(p[1]) if t == 0 else Categorical(c[1, b[t - 1]])
    observed x[t] ~ Normal(mu[0, a[t]] + mu[1, b[t]], 1)
for i in I:
    latent who[i] ~ Categorical([0.4, 0.6])
for r in R:
    given of[r] : index[I]
    observed y[r] ~ Categorical(c[0, who[of[r]]])
""": (
        "S_a_first[j] = q(a[0] = j)",
        "S_b_first[j] = q(b[0] = j)",
        "S_b_pair[j, j'] = Σ_{t > 0} q(b[t - 1] = j",
        "S_b_x[j] =",
    ),
    """param beta : real[P]
param sigma : positive
param r : positive
for g in G:
    latent u[g] ~ Normal(0, sigma)
    for n in N[g]:
        given x[g, n] : real[P]
        observed y[g, n] ~ NegativeBinomial(r, mean = exp(x[g, n] @ beta + u[g]))
""": (
        "not exact: log(r + exp(x[g, n]ᵀ beta + u[g])) ties u to y",
        "log(r + exp(x[g, n]ᵀ beta + u[g])) ties beta, r to the data",
        "log p(y | beta, r, u, x) =",
        "log volume(U⁽ⁱ⁾) = log w⁽ⁱ⁾ + X⁽ⁱ⁾² + log(√2 L)",
    ),
    """param beta : real[P]
param gamma : real[P]
param keep : unit
param c : positive
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Poisson(exp(x[n] @ beta))
    observed z[n] ~ Bernoulli(logistic(x[n] @ gamma))
    observed u[n] ~ Gamma(c, keep)
""": (
        "∂²Q/∂beta² = -Σ_n exp(x[n]ᵀ beta) x[n] x[n]ᵀ",
        "logistic(x[n]ᵀ gamma) (1 - logistic(x[n]ᵀ gamma)) x[n] x[n]ᵀ",
        "∂²Q/∂c² = S_n_u (1 / c - ψ′(c)) (5.2)",
        "ξ ← ξ - s (∂²Q/∂ξ²)⁻¹ ∂Q/∂ξ",
        "ξ are the parameters themselves.",
        "ξ are free coordinates of the parameters: the log of a positive number.",
    ),
    """param w[P] : positive
for n in N:
    given i[n] : index[P]
    given j[n] : index[P]
    observed y[n] ~ Bernoulli(w[i[n]] / (w[i[n]] + w[j[n]]))
""": ("(1 - y[n]) (log w[j[n]] - log(w[i[n]] + w[j[n]]))",),
    """param shape : positive
param scale : positive
param rate : positive
for n in N:
    given lo[n] : positive
    given hi[n] : positive
    observed y[n] ~ Weibull(shape, scale)
    latent t[n] ~ Exponential(rate)
    observed d[n] ~ Delta(t[n] > lo[n] and t[n] <= hi[n])
""": (
        "(y[n] / scale)^shape (log y[n] - log scale)²",
        "(hi[n] - lo[n]) exp(rate lo[n] - rate hi[n]) / R[n]",
        "(hi[n] - lo[n])² exp(2 rate lo[n] - 2 rate hi[n]) / R[n]²",
    ),
    """latent tau ~ Gamma(1, 1)
latent w ~ MvNormal(zeros(P), eye(P))
for g in G:
    latent b[g] ~ Normal(0, 1)
for n in N:
    given X[n] : real[P]
    given group[n] : index[G]
    observed y[n] ~ Normal(X[n] @ w + b[group[n]], precision = tau)
infer (w, b), tau by meanfield
""": (
        "coefficient of tau = -½ Σ_n E[(y[n] - X[n]ᵀ w - b[group[n]])²] - 1 (5.1a)",  # Bishop 2006, equation 10.30
        "rate(tau) = 1 + ½ Σ_n E[(y[n] - X[n]ᵀ w - b[group[n]])²] (5.2b)",  # not `½ Σ y² - Σ y Xᵀ E[w] + ...`
    ),
    """size K = 2
for k in K:
    latent m[k] ~ Normal(0, 10)
    latent t[k] ~ Gamma(1, 1)
for n in N:
    latent   z[n] ~ Categorical(ones(K) / K)
    observed y[n] ~ Normal(m[z[n]], precision = t[z[n]])
infer m, t, z by meanfield
""": (
        "rate(t[k]) = 1 + ½ Σ_n q(z[n] = k) E[(y[n] - m[k])²]",
        "log q(z[n] = k) = ½ E[log t[k]] - log K - ½ log(2 π) - ½ E[(y[n] - m[k])²] E[t[k]] + const",
    ),
    """param a : positive
param b : positive
param c : positive
for n in N:
    latent u[n] ~ Exponential(a)
    latent v[n] ~ Exponential(b)
    latent w[n] ~ Exponential(c)
    observed s[n] ~ Delta(min(u[n], v[n], w[n]))
""": (
        "= i) = [i = 0] log a + [i = 1] log b + [i ≥ 2] log c - a s[n] - b s[n] - c s[n] + const",  # all in each state
        "Σ_n q(which_s_is[n] = 2) log c - a Σ_n s[n] - b Σ_n s[n] - c Σ_n s[n] + const (7.1)",
        "s[n] (q(which_s_is[n] = 1) + q(which_s_is[n] = 2)) (6.3)",  # not `[not(s[n] is seen)] s[n] ...`, which is 0
        "What is missing of s is read elsewhere",
    ),
    """param tau2 : positive
param s2 : positive
param w : unit
for p in P:
    latent on[p] ~ Bernoulli(w)
    latent b[p] ~ Normal(0, var = tau2) if on[p] == 1 else Delta(0)
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Normal(sum(x[n, p] * b[p] for p in P), var = s2)
infer on, b by meanfield
""": ("+ [i = 1] E[b[p]] Σ_n y[n] x[n, p] / s2", "- [i = 1] E[b[p]²] Σ_n x[n, p]² / (2 s2)"),  # not `b[p]²`
    """param b : real
param s2 : positive
for n in N:
    observed w[n] ~ Normal(b, var = s2)
    observed y[n] ~ Normal(b + 0.5 * w[n], var = s2)
    for j in J:
        observed v[n, j] ~ Normal(b, var = s2)
""": (
        "h(w[n]) = 0.5 b / s2 + 0.5 y[n] / s2",  # not `... - 0.25 reference w / s2`
        "E[w[missing] | w[seen]] = P[missing, missing]⁻¹",  # not J: it is a length here
    ),
    """param S : spd[D]
for n in N:
    latent h[n] ~ MvNormal(zeros(D), S)
    observed x[n] ~ MvNormal(h[n], eye(D))
""": (
        "Of the families that the model calls, with g(x) = 1 where none is told",  # and `log h(x)` above and below
        "- A(η) + log g(x)",
        "the name that follows S. S without one is the model's own.",
        "(x[n] - h[n])ᵀ (x[n] - h[n])",  # not `Σ_{n, d} ...`
    ),
}


@pytest.mark.parametrize("source", UGLY)
def test_models_of_no_gallery_read_well(source: str) -> None:
    shown = " ".join(str(Derivation.of(emdsl.compile(text=f"model M\n{source}").derived)).split())
    assert all(line in shown for line in UGLY[source]), shown


def test_names_that_no_page_holds_are_cut_in_equations_and_told() -> None:
    """LaTeX ran 550 points over the margin."""
    mean, other = "the_mean_of_what_is_measured_by_the_instrument", "the_mean_of_whatever_is_left_behind_there"
    text = f"model M\nparam {mean} : real\nparam {other} : real\nfor n in N:\n    observed y[n] ~ Normal({mean}, 1)\n"
    derivation = emdsl.compile(text=f"{text}    observed x[n] ~ Normal({other}, 1)\n").derivation
    assert f"tmowimbt is {mean}" in " ".join(derivation.to_text().split())
    assert "tmowimbt = Σ_n y[n] / N" in derivation.to_text() and "tmowilbt = Σ_n x[n] / N" in derivation.to_text()
    assert r"\mathrm{tmowimbt} = \frac" in derivation.to_latex() and "<mi>tmowimbt</mi>" in derivation.to_html()
    assert not any(mean in line for line in derivation.to_latex().split("\n") if "begin{equation*}" in line)
    assert mean in derivation.to_dict()["steps"][0]["lines"][1]["text"]  # data have the user's names


def test_a_sum_that_no_page_holds_stands_by_itself() -> None:
    """Within a fraction LaTeX cannot break it: it left the page, 5000 points of it."""
    names = [f"coefficient_{c}" for c in "abcdefghijklmn"]
    lines = [*(f"param {n} : real" for n in names), "param v : positive", "for n in N:"]
    lines += [f"    given x_{n}[n] : real" for n in names]
    lines.append(f"    observed y[n] ~ Normal({' + '.join(f'{n} * x_{n}[n]' for n in names)}, var = v)")
    step = next(
        s for s in emdsl.compile(text="model M\n" + "\n".join(lines)).derivation.steps if s.facts["kind"] == "Q"
    )
    assert next(e.text for e in step.body if isinstance(e, Say)) == "For short, let"
    assert text(next(e for e in reversed(step.body) if isinstance(e, Show)).formula).endswith("- R / (2 v) + const")


def test_what_scales_a_precision_by_a_matrix_stands_in_neither_of_its_terms() -> None:
    """J and h of a vector under a Wishart; with the matrix left in h its mean J⁻¹ h was that of no posterior."""
    text = """model M
param m : real[D]
param V : spd[D]
for g in G:
    latent W[g] ~ Wishart(10, V)
    latent b[g] ~ MvNormal(m, 0.5 * inv(W[g]))
    for n in N:
        observed y[g, n] ~ MvNormal(b[g], inv(W[g]))
"""
    shown = str(emdsl.compile(text=text).derivation)
    assert "h(b[g]) = 2 m + Σ_n y[g, n]  " in shown and "J(b[g], b[g]) = N + 2  " in shown
    assert "A(b[g]) = ½ (tr(W[g] fit(b[g])) - d log J - logdet(W[g]) + d log(2 π))" in shown


def test_a_unit_vector_is_explained_where_one_stands() -> None:
    said = "e with a number is the unit vector"
    assert said in str(told("mixture_of_regressions").steps[-1]) and said not in str(told("ar_hmm").steps)
    assert said in str(told("arma").steps[3])


def test_axes_written_behind_a_name_are_those_of_a_vector() -> None:
    """`load[D, Q] : real` reads as `load : real[D, Q]`, where no row is counted by either length."""
    text = """model M
param w : simplex[K]
param m{}
param load{}
param v[K] : spd[D]
for n in N:
    given u[n] : real[Q]
    latent z[n] ~ Categorical(w)
    observed x[n] ~ MvNormal(m[z[n]] + load @ u[n], v[z[n]])
"""
    whole, apart = ("[K] : real[D]", ": real[D, Q]"), ("[K, D] : real", "[D, Q] : real")
    told = (emdsl.compile(text=text.format(*written)).derivation.steps for written in (whole, apart))
    assert len({tuple(b for s in steps if s.facts["kind"] != "reference" for b in s.body) for steps in told}) == 1


@pytest.mark.parametrize("name", LINES)
def test_equations_read_as_a_textbook_has_them(name: str) -> None:
    shown = " ".join(str(told(name)).split())  # lines may be broken anywhere
    for line in LINES[name]:
        assert line in shown, shown


# ------------------------------------------------------------------ lines that fit


LONG = """model Long
param first_of_all : simplex[2]
param another_share : simplex[2]
param level_of_one[2] : real
param level_of_other[2] : real
param spread_of_both : positive
for t in T:
    latent   a_state[t] ~ Categorical(first_of_all)
    latent   b_state[t] ~ Categorical(another_share)
    observed measured[t] ~ Normal(level_of_one[a_state[t]] + level_of_other[b_state[t]], spread_of_both)
"""


def test_long_equations_are_broken() -> None:
    """Before a sign, before a factor, or after a long left side; a row is what one line of a page holds."""
    d = emdsl.compile(text=LONG).derivation
    check_forms(d)
    shown = [e.formula for m in (d, told("input_output_hmm")) for s in m.steps for e in s.body if isinstance(e, Show)]
    found = [b for e in shown if (b := broken(e, measure, WIDE, INNER)) is not None]
    rows = [r for b in found for r in b.rows]
    moved = f.Relation("<-", f.Name("u"), f.plus(*(f.Name(f"covariate_{n}") for n in range(12))))
    assert broken(moved, measure, WIDE, INNER) is not None  # what a reference point stands for
    assert any(b.alone for b in found) and {"+", "-", "×", ""} == {r.sign for r in rows}
    assert any(r.sign == "+" and r.pieces for r in rows)  # a term that is too long for a line of its own
    for row in rows:
        assert len(row.pieces) <= 1 or sum(width(p.factor, measure, INNER) for p in row.pieces) <= WIDE


# ------------------------------------------------------------------ in a notebook


def test_what_no_line_holds_is_listed_in_rows() -> None:
    """In LaTeX: a density of many long names; names of ours keep their spaces; the longest lines are set smaller."""
    names = [f"one_of_long_names_this_{n}" for n in range(4)]
    text = (
        "model M\n"
        + "".join(f"param {n} : real\n" for n in names)
        + f"""for n in N:
    latent a[n] ~ Exponential(exp({names[0]}))
    latent b[n] ~ Exponential(exp({names[1]}))
    observed first[n] ~ Delta(min(a[n], b[n]))
    observed other[n] ~ Normal({names[2]} + {names[3]} * {names[0]} * {names[1]} * {names[2]}, 1)
    observed power[n] ~ Normal(2 ^ ({" * ".join(names)}), 1)
"""
    )
    derivation = emdsl.compile(text=text).derivation
    shown = derivation.to_latex()
    assert r"\mathrm{first\_is\_a}" in shown and r"\texttt{one\_\allowbreak{}of" in shown
    assert (
        r"\left(\begin{aligned} & \mathrm{first}, \mathrm{other}, \mathrm{power}, \mathrm{first\_is\_a} \mid \\ & "
        in shown
    )
    assert r"{\small \begin{" in shown or r"{\footnotesize \begin{" in shown
    assert "*}}%\n" in shown and "*}}\n" not in shown  # no space before the text that follows
    assert r"\begin{aligned} & \mathrm{one\_of\_long\_names\_this\_3} \, \mathrm" in shown
    assert r"\\ & \times \mathrm{one\_of\_long\_names\_this\_1}" in shown
    page = derivation.to_html()
    given = '<mrow><mo>(</mo><mtable displaystyle="true"><mtr><mtd'
    assert f"<mo>&#x2061;</mo>{given}" in page
    assert "```math\n\\begin{aligned}" in derivation.to_markdown()
    assert "$$\n\\begin{aligned}" in derivation._repr_markdown_()


def test_what_a_step_holds_as_data_is_what_the_manual_says() -> None:
    manual = (MODELS.parent / "docs" / "usage.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", manual, re.MULTILINE)
    said = {kind: set(re.findall(r"`(\w+)`", holds)) for kinds, holds in rows for kind in re.findall(r"\w+", kinds)}
    always = {"number", "title", "kind", "lines", "module"}
    for name in ("old_faithful", "nonlinear_growth", "latent_dirichlet_allocation", "incomplete_gaussian"):
        for step in told(name).to_dict()["steps"]:
            assert {*step} - always <= said[step["kind"]] and {*step} >= always, step["kind"]
            for one in (e for key in ("families", "groups", "statistics") for e in step.get(key, ())):
                assert {*one} <= said[step["kind"]]


def test_sums_stand_beside_fractions_on_paper() -> None:
    """Not above their line; an equation that fits is one line, whatever its right side; T is no transposition."""
    shown = told("nonlinear_growth").to_latex()
    assert r"\mathrm{top} = \frac{1}{T} \, \sum_{t=1}^{T} \mathrm{E}[\mathrm{asymptote}_{t}" in shown
    assert r"\mathrm{E}[T(\mathrm{asymptote}, \mathrm{trunk})]" in shown
    assert r"\mathrm{cov}^{-1} + \frac{1}{\mathrm{s2}} \, \sum_{n :" in told("random_slopes").to_latex()
    assert "<mo>=</mo><mfrac><mrow><mn>1</mn></mrow>" in told("nonlinear_growth").to_html()


def test_brackets_and_exponents_stand_as_in_print() -> None:
    """No stretched bracket around a line of text, which has room about it; an exponent above the index."""
    page, paper = told("old_faithful").to_html(), told("old_faithful").to_latex()
    assert r"{(x_{n} - \mathrm{mean}_{k})}^{\top} \; \mathrm{cov}_{k}^{-1} \, (x_{n} - \mathrm{mean}_{k})" in paper
    assert r"\allowdisplaybreaks[1]" in paper  # an equation that is longer than the page, and no other
    assert paper.isascii() and "fontenc" not in paper  # fonts of the article class are smooth; T1's would be bitmaps
    assert r"\log p(z \mid \mathrm{weights}) = " in paper and r"\left(\begin{aligned} & \log\det(\m" in paper
    assert "<msubsup><mi>cov</mi><mrow><mi>k</mi></mrow><mrow><mn>−1</mn></mrow></msubsup>" in page
    assert '<msubsup><mi>S</mi><mrow><mi>k</mi></mrow><mi mathvariant="normal">z_x</mi></msubsup>' in page
    assert '<mo stretchy="false">(</mo><mi>z</mi><mo>|</mo><mi>weights</mi><mo stretchy="false">)</mo>' in page
    assert '<mrow><mi>k</mi><mo lspace="0" rspace="0">′</mo></mrow><mo>=</mo><mn>1</mn>' in page  # raised by its font


CODED = """
model Coded
param p : simplex[K]
param b[2] : real
param s : positive
for n in N:
    latent z[n] ~ Categorical(p)
    observed y[n] ~ Normal(b[0] * (z[n] == 2), s)
for m in M:
    for j in J[m]:
        given x[m, j] : real
        observed w[m, j] ~ Normal(b[0] + b[1] * x[m, j], s)
"""
PLATE = """
model Plate
param a : positive
param s : positive
param d[G] : real
for g in G:
    observed h[g] ~ Normal(d[g], s)
for w in W:
    given x[w] : real
    observed u[w] ~ {}
"""
BY_NUMBER = {  # what each rule alone sees: an element at a place, a number that is computed with, one that is compared
    "in a product": "Poisson(a * w)",
    "in a sum": "Normal(a * log(w + 1), s)",
    "in a power": "Normal(a * w^2, s)",
    "in a function": "Normal(a + sin(w), s)",
    "equal to a number": "Normal(a * (w == 2), s)",
    "beyond another": "Normal(a * (w > x[w]), s)",
}


@pytest.mark.parametrize(
    ("name", "from_one", "from_zero"),
    [
        ("old_faithful", "KN", ""),
        ("gaussian_hmm", "KD", "T"),
        ("bayesian_gaussian_mixture", "NK", "D"),  # a Wishart's digammas hold the number d
        ("mixture_of_regressions", "NK", ""),
        (CODED, ["N", "M", "J_{m}"], "K"),  # one of the levels is 2
        (PLATE.format("Normal(x[w], s)"), "GW", ""),
        (PLATE.format("Normal(a * x[w], s)\nfor l in L: observed v[l] ~ Normal(a * x[0], s)"), "GL", "W"),
        *((PLATE.format(family), "G", "W") for family in BY_NUMBER.values()),
    ],
    ids=["mixture", "chain", "counted", "columns", "levels", "no number", "an element of data", *BY_NUMBER],
)
def test_sums_run_from_one_unless_an_element_is_called_by_its_number(
    name: str, from_one: Sequence[str], from_zero: Sequence[str]
) -> None:
    derivation = told(name) if "\n" not in name else emdsl.compile(text=name).derivation
    found = set(re.findall(r"\\sum_\{\w+'*=(\d)\}\^\{((?:[^{}]|\{\w+\})*)\}", derivation.to_latex()))
    ends = [("1", s) for s in from_one] + [("0", str(int(s) - 1) if s.isdigit() else f"{s} - 1") for s in from_zero]
    assert found == set(ends)
    html = derivation.to_html()
    assert all(f"<mo>=</mo><mn>{first}</mn>" in html for first, _ in ends)


def test_a_program_finds_an_update_and_computes_it() -> None:
    """By its kind and its parameter, as a tree, in terms of the statistics and of the data."""
    told_ = json.loads(json.dumps(told("old_faithful").to_dict()))
    (step,) = [s for s in told_["steps"] if s["kind"] == "update" and s["parameters"] == ["mean"]]
    by_name, by_data = (next(e for e in step["lines"] if e.get(key) == "mean") for key in ("name", "of"))
    assert by_name["number"] == "8" and "number" not in by_data and told_["source"].startswith("# Mixture")
    q, x = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]), np.array([[1.0, 4], [2, 5], [3, 9]])
    names = {"z_x": q.T @ x, "z_n_x": q.sum(0), "x": x}

    def value(e: Any, at: dict[str, int]) -> Any:
        match e:
            case {"kind": "name" | "statistic", "text": name}:
                return at[name] if name in at else names[name]
            case {"kind": "at", "base": base, "places": [place]}:
                return value(base, at)[value(place, at)]
            case {"kind": "over", "top": top, "bottom": bottom}:
                return value(top, at) / value(bottom, at)
            case {"kind": "times", "factors": factors}:
                return prod(value(part, at) for part in factors)
            case {"kind": "apply", "function": {"text": "q"}, "arguments": [{"left": latent, "right": state}]}:
                return q[value(latent["places"][0], at), value(state, at)]
            case {"kind": "big", "indices": [[{"text": n}, {"text": "N"}]], "body": body}:
                return sum(value(body, at | {n: i}) for i in range(3))
        raise AssertionError(e)

    for found in (by_name, by_data):
        assert found["tree"]["op"] == "=" and found["tree"]["left"]["base"] == {"kind": "name", "text": "mean"}
        np.testing.assert_allclose(value(found["tree"]["right"], {"k": 1}), q[:, 1] @ x / q[:, 1].sum())


def test_a_notebook_shows_equations() -> None:
    model = compiled("old_faithful")
    step = model.derivation.steps[3]
    for part in (model, model.derivation, step, step.body[1], model.updates, model.statistics):
        page, shown = Page(), part._repr_html_()
        page.feed(shown)
        assert not page.open and "<math" in shown and "id=" not in re.sub(r"<svg.*</svg>", "", shown, flags=re.DOTALL)
    assert "<td" in model.plan._repr_html_() and "K states per element" in model.plan._repr_html_()
    assert repr(model.derivation) == str(model.derivation)  # at a prompt, not half a million letters
    assert step.body[1]._repr_latex_().startswith(r"$\displaystyle \begin{aligned} \log q(z_{n} = k) = ")
    assert model.updates["mean"]._repr_latex_().startswith(r"$\displaystyle \mathrm{mean}_{k} = \frac{\sum_{n=1}^{N}")
    assert model.statistics["z"]._repr_latex_().startswith(r"$\displaystyle S^{\mathrm{z}}_{k} = \sum_{n=1}^{N} q")
    gate = compiled("mixture_of_experts").updates["gate"]._repr_latex_()
    assert r"\delta" not in gate and r"\frac{\partial Q}{\partial" in gate  # not sympy's: `KroneckerDelta`
    fitter = model.fitter(K=2, max_iter=0, seed=0)
    assert "Fitter(" in fitter._repr_html_()
    told = fitter.fit(np.eye(4, 2))._repr_html_()
    assert "<table>" in told and fitter.message_ in told and "mean[1]" in told
    other = compiled("tied_gaussian_mixture").derivation
    for typed in (emdsl.compile(text=REFUSED), fitter, model.derivation.difference(other)):  # what columns line up in
        assert "font-family:monospace" in typed._repr_html_()
    assert "error E1" in emdsl.compile(text=REFUSED)._repr_html_() and "all c ≥ 0" in model.updates._repr_html_()


REFUSED = """model Refused
param a : positive
for n in N:
    latent   u[n] ~ Poisson(a)
    latent   v[n] ~ Poisson(a)
    observed x[n] ~ Poisson(exp(u[n] + v[n]))
infer u, v by exact
"""
