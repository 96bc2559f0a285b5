"""Plate diagrams: what is drawn is what the model says, and the picture read back has nothing on top of another."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import combinations
from math import hypot
from typing import Any

import pytest
from diagrams import ODD, Arrow, Box, Picture, away, read
from gallery import MODELS

import emdsl
from emdsl.families import PRELUDE
from emdsl.graph.alike import folded
from emdsl.graph.build import graph
from emdsl.graph.diagram import Diagram
from emdsl.graph.dot import dot
from emdsl.graph.layout import Layout, layout
from emdsl.language import parse_model
from emdsl.language.columns import columns
from emdsl.language.model import ModelText

GALLERY = (
    "crossed_effects", "dawid_skene", "factorial_hmm", "growth_mixture", "linear_dynamical_system", "measurement_error",
    "old_faithful", "mixture_of_regressions", "random_intercepts", "structural_series", "word_alignment",
)  # fmt: skip
ALL = (*GALLERY, *ODD)
EVERY = (*sorted(path.stem for path in MODELS.glob("*.em")), *ODD)


@cache
def text(name: str) -> ModelText:
    source = f"model M\n{ODD[name]}" if name in ODD else (MODELS / f"{name}.em").read_text(encoding="utf-8")
    return parse_model(source, f"{name}.em", PRELUDE())


@cache
def laid_out(name: str) -> Layout:
    return layout(folded(graph(text(name))))


@cache
def drawn(name: str) -> tuple[Diagram, Picture]:
    diagram = Diagram.drawn(laid_out(name))
    return diagram, read(diagram)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_lies_on_anything_else(name: str) -> None:
    picture = drawn(name)[1]
    for a, b in combinations(picture.nodes, 2):
        assert not a.box.meets(b.box), (a.name, b.name)
    words = [(n.name, w) for n in picture.nodes for w in n.words] + [(said, w) for said, _, w in picture.plates]
    for (one, a), (other, b) in combinations(words, 2):
        assert one == other or not a.meets(b), (one, other)
    for said, w in words:
        for n in picture.nodes:
            assert said == n.name or not w.meets(n.box), (said, n.name)
    beside = [d.text for d in laid_out(name).edges if d.text]
    assert not [(a, b) for a, b in combinations(beside, 2) if a.meets(b)]
    lines = [p for a in picture.arrows for p in a.points]
    for w in beside if name != "chooser of two" else ():  # there two labels are as near to one arrow as to the other
        assert not any(w.left < px < w.right and w.top < py < w.bottom for px, py in lines), name
    for _, box, w in picture.plates:
        assert box.holds(w)
        for other in [*(v for _, v in words), *beside]:  # no label lies on a frame
            assert box.holds(other, 0) or not box.meets(Box(other.left, other.top, other.right, other.bottom))
    both = [(a, b) for a, b in combinations(picture.arrows, 2) if (a.source, a.target) == (b.target, b.source)]
    for a, b in both:  # to and fro are two lines, and labels of edges lie on no ring
        assert len(a.points) > 2 < len(b.points) and not {*a.points[1:-1]} & {*b.points[1:-1]}
    assert not [(n.name, w) for n in picture.nodes for w in beside if w.meets(n.box)]
    for box in [n.box for n in picture.nodes] + [w for _, w in words] + [b for _, b, _ in picture.plates]:
        assert picture.frame.holds(box)


def picture_has_head(arrow: Arrow) -> bool:
    return arrow.tip != arrow.points[-1]


@pytest.mark.parametrize("name", ALL)
def test_arrows_touch_their_nodes_and_no_others(name: str) -> None:
    picture = drawn(name)[1]
    nodes = {n.name: n for n in picture.nodes}
    for arrow in picture.arrows:
        ends = (nodes[arrow.source], nodes[arrow.target])
        assert away(arrow.points[0], ends[0]) < 0.5 and away(arrow.tip, ends[1]) < 0.5, (arrow.source, arrow.target)
        if picture_has_head(arrow):  # as long as it is drawn: no bend within it
            assert hypot(arrow.points[-1][0] - arrow.tip[0], arrow.points[-1][1] - arrow.tip[1]) > 6
        for p in arrow.points:
            assert picture.frame.has(p)
            for n in picture.nodes:
                assert n in ends or not n.box.has(p, 1.5), (arrow.source, arrow.target, n.name)
                assert not any(w.has(p) for w in n.words if n not in ends)
            assert not any(w.has(p) for _, _, w in picture.plates), (arrow.source, arrow.target)


def sizes(name: str) -> dict[str, list[str]]:
    """The sizes of the plates of each variable, read off the typed model."""
    out, own = {}, columns(text(name))
    for v in text(name).variables:
        around = ([p.size for p in v.plates] + list(v.array))[: len(v.shape) - own[v.name]]
        out[v.name] = sorted(re.sub(r"\[(.*)\]", r"\1", str(s)) for s in around)
    return out


@pytest.mark.parametrize("name", ALL)
def test_a_node_lies_in_its_plates_and_no_others(name: str) -> None:
    picture, expected = drawn(name)[1], sizes(name)
    for node in picture.nodes:
        if node.name in expected:
            around = [said.partition("∈")[2] or said for said, box, _ in picture.plates if box.holds(node.box)]
            found = sorted(s.partition(",")[0].strip() for s in around if ">" not in s.partition(",")[0])
            assert found == expected[node.name], node.name
        for said, box, _ in picture.plates:
            assert box.holds(node.box) or not box.meets(node.box), (node.name, said)


def arrows(name: str) -> dict[tuple[str, str], Any]:
    return {(a.source, a.target): a for a in drawn(name)[1].arrows}


def test_the_arrows_are_the_model_s() -> None:
    assert set(arrows("old_faithful")) == {("weights", "z"), ("mean", "x"), ("cov", "x"), ("z", "x")}
    assert arrows("old_faithful")["z", "x"].dashed and not arrows("old_faithful")["mean", "x"].dashed
    assert set(arrows("random_intercepts")) == {
        ("s2_b", "b"), ("b", "subject"), ("subject", "y"), ("beta", "y"), ("X", "y"), ("s2", "y"),
    }  # fmt: skip
    assert {("level", "level"), ("slope", "level"), ("slope", "slope")} <= set(arrows("structural_series"))
    assert ("slope", "y") not in arrows("structural_series")
    assert {("parent", "z"), ("z", "z")} <= set(arrows("tree"))
    assert set(arrows("mixture_of_regressions")) >= {("x", "y"), ("coef", "y")}  # a `let` of one given is written out
    assert set(arrows("shared terms")) >= {("a", "eta"), ("eta", "y"), ("eta", "k"), ("a", "factor 1")}
    assert ("a", "y") not in arrows("shared terms")
    assert set(arrows("chooser of two")) == {
        ("b", "y"), ("b", "w"), ("c", "w"), ("group", "y"), ("group", "w"),
    }  # one diamond for both would say that y reads c  # fmt: skip


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("random_intercepts", {"beta": "param", "b": "latent", "X": "given", "subject": "gate", "y": "observed"}),
        ("shared terms", {"eta": "let", "d": "latent", "factor 1": "factor"}),
    ],
)
def test_each_kind_has_its_mark(name: str, marks: dict[str, str]) -> None:
    found = {n.name: n.mark for n in drawn(name)[1].nodes}
    assert {n: found[n] for n in marks} == marks
    assert ET_count(drawn("shared terms")[0], "d") == 2 and ET_count(drawn("shared terms")[0], "u") == 1


def ET_count(svg: str, name: str) -> int:
    """How many outlines a node has."""
    group = re.search(rf'<g class="node [a-z]+"><title>{name}</title>(.*?)</g>', svg, re.DOTALL)
    assert group is not None
    return len(re.findall("<circle|<rect", group[1]))


def test_what_is_observed_in_part_is_half_shaded() -> None:
    text = "model M\nparam w : simplex[2]\nparam m[2] : real\nfor n in N:\n    observed x[n] ~ Categorical(w)\n"
    model = emdsl.compile(text=text + "    observed y[n] ~ Normal(m[x[n]], 1)\n")
    picture = read(model.complete(("x",)).graph())
    assert {n.name: n.mark for n in picture.nodes} == {"w": "param", "m": "param", "x": "partly", "y": "observed"}


EIGHT = range(1, 9)
SERIES = "\n".join(f"param m{i} : real" for i in EIGHT) + """
for n in N:
    latent z[n] ~ Normal(0, 1)
""" + "\n".join(f"    observed y{i}[n] ~ Normal({{}} + z[n], 1)" for i in EIGHT)  # fmt: skip
SUM = " + ".join(f"m{i}" for i in EIGHT)


@pytest.mark.parametrize(
    ("means", "nodes", "sizes"),
    [
        ([f"m{i}" for i in EIGHT], {"m1, …, m8", "z", "y1, …, y8"}, ["N", "1, …, 8"]),
        ([SUM] * 8, {"m1, …, m8", "z", "y1, …, y8"}, ["N", "1, …, 8", "1, …, 8"]),  # each with all: plates apart
        ([SUM, *(f"m{i}" for i in EIGHT[1:])], None, ["N"]),  # one is another's like no more
        ([f"m{i % 8 + 1}" for i in EIGHT], None, ["N"]),
    ],
)
def test_a_series_of_many_is_one_node_in_a_plate_of_its_numbers(
    means: list[str], nodes: set[str] | None, sizes: list[str]
) -> None:
    whole = graph(parse_model("model M\n" + SERIES.format(*means), "m.em", PRELUDE()))
    found = folded(whole)
    assert {n.key for n in found.nodes} == (nodes or {n.key for n in whole.nodes})
    assert [p.size for p in found.plates] == sizes


def test_many_with_the_same_arrows_are_a_list() -> None:
    names = "age income school city home married tenure health way".split()
    source = "".join(f"param b_{n} : real\n" for n in names) + "param s : positive\nfor n in N:\n"
    source += "".join(f"    given {n}[n] : real\n" for n in names)
    source += f"    observed y[n] ~ Normal({' + '.join(f'b_{n} * {n}[n]' for n in names)}, s)\n"
    found = folded(graph(parse_model(f"model M\n{source}", "m.em", PRELUDE())))
    assert [n.names for n in found.nodes] == [(*(f"b_{n}" for n in names), "s"), tuple(names), ()]
    shown = re.sub("<[^>]*>", "", str(Diagram.drawn(layout(found))))
    assert all(n in shown for n in names) and len(found.edges) == 2
    few = folded(graph(parse_model("model M\n" + SERIES.format(*["0"] * 8).split("for")[0], "m.em", PRELUDE())))
    assert len(few.nodes) == 1


def test_names_are_set_as_mathematics() -> None:
    svg = drawn("letters")[0]
    assert "<tspan>Größe</tspan>" in svg and '<tspan font-style="italic">μ</tspan>' in svg
    assert re.search(r'>σ</tspan><tspan dy="-6"[^>]*>2<', svg)  # the square of σ
    assert re.search(r'>γ</tspan><tspan dy="4"[^>]*>0<', svg)
    assert re.search(r">s</tspan><tspan dy=\"4\"[^>]*>2<", drawn("nested")[0])  # the second of s1, s2, s3
    assert "j &lt; i" in drawn("pairs")[0] or re.search(r"> &lt; <", drawn("pairs")[0])
    assert "t−1" in "".join(re.findall(r">([^<>]+)<", drawn("two chains")[0]))


def test_labels_are_set_as_in_print() -> None:
    """An exponent above the index; a ragged size with all of its indices; labels to and fro outside both lines."""
    assert '>2</tspan><tspan dy="10" dx="-6.5" font-style="italic"' in drawn("crossed_effects")[0]
    deep = "model M\nfor r in R:\n    for c in C[r]:\n        for s0 in H[c]:\n"
    deep += "            observed y[r, c, s0] ~ Normal(0, 1)\n"
    for nested in (deep, deep.replace("H[c]", "H[r, c]")):
        said = Diagram.of(parse_model(nested, "", PRELUDE())).dot
        assert '"s[0] ∈ H[r,c]"' in said and '"c ∈ C[r]"' in said
    ends = {p.node.key: p.at for p in laid_out("to and fro").nodes}
    there, back = [
        d.text for d in laid_out("to and fro").edges if {d.edge.source, d.edge.target} == {"a", "b"} and d.text
    ]
    assert max(there.bottom, back.bottom) > ends["a"][1] + 16 and min(there.top, back.top) < ends["a"][1] - 16


def test_the_axes_of_a_matrix_are_no_plates() -> None:
    """`load[D, Q] : real` stands alone, as `load : real[D, Q]` does."""
    source = "model M\nparam load{}\nparam s : positive\nfor n in N:\n    latent f[n] ~ MvNormal(zeros(Q), eye(Q))\n"
    source += "    observed x[n] : real[D] ~ Normal(load @ f[n], s)\n"
    assert len({emdsl.compile(text=source.format(of)).graph() for of in ("[D, Q] : real", ": real[D, Q]")}) == 1


def test_a_plate_that_cannot_overlap_the_others_is_drawn_twice() -> None:
    said = [s for s, _, _ in drawn("three that overlap")[1].plates]
    assert len(said) == 4 and set(said) == {"i ∈ I", "j ∈ J", "k ∈ K"}
    assert [s for s, _, _ in drawn("crossed")[1].plates] == ["i ∈ I", "j ∈ J"]


@pytest.mark.parametrize("name", ["../../docs/old_faithful", "growth_mixture", "random_intercepts"])
def test_the_picture_is_as_it_was(name: str, golden: Callable[[str, str], None]) -> None:
    """The bytes too: hashes of strings differ from run to run, and must not show."""
    golden(f"{name}.svg", drawn(name.rpartition("/")[2])[0])


def test_the_same_as_dot() -> None:
    dot = drawn("old_faithful")[0].dot
    assert dot.startswith('digraph "GaussianMixture" {') and dot.count("{") == dot.count("}") == 3
    assert '"z" -> "x" [style=dashed];' in dot and 'label="n ∈ N"' in dot
    crossed = drawn("crossed")[0].dot
    assert crossed.count("subgraph") == 1 and "j ∈ J" in crossed


def test_a_notebook_shows_it_and_a_refused_model_has_it() -> None:
    source = "model M\nlatent a ~ Normal(0, 1)\nobserved x ~ Normal(sin(exp(a)), 1)\ninfer a by exact\n"
    model = emdsl.compile(text=source)
    assert model.refusal is not None
    assert model.graph()._repr_svg_() == str(model.graph()) == str(Diagram.of(model.resolved))


def test_a_sum_of_many_terms_is_drawn() -> None:
    terms = " + ".join(["m"] * 3_000)
    svg = Diagram.of(parse_model(f"model M\nparam m : real\nobserved x ~ Normal({terms}, 1)\n", "m.em", PRELUDE()))
    assert [(a.source, a.target) for a in read(svg).arrows] == [("m", "x")]


NAMED = ["u[{}] * b[0] if w[{}] > 0 else a", "[exp(u[{}]), w[{}]][0]", "sum(u[{}] * b[j] for j in 2 if w[{}] > j)"]


@pytest.mark.parametrize("body", NAMED)
def test_a_let_at_an_index_is_drawn_as_what_it_stands_for(body: str) -> None:
    """`f[of[n]]` reads `u[of[n]]`, whatever the body of f is made of: each kind of it is opened at the index."""
    groups = "model M\nparam a : real\nparam b[2] : real\nfor g in G:\n    latent u[g] ~ Normal(0, 1)\n"
    groups += "    given w[g] : real\n"
    rows = "for n in N:\n    given of[n] : index[G]\n    observed y[n] ~ Normal({}, 1)\n"
    named = f"{groups}    let f[g] = {body.format('g', 'g')}\n{rows.format('f[of[n]]')}"
    written_out = groups + rows.format(body.format("of[n]", "of[n]"))
    one, other = (graph(parse_model(source, "m.em", PRELUDE())) for source in (named, written_out))
    assert dot(one) == dot(other) and "of" in dot(one)
