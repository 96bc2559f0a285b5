"""Models that are hard to draw; and a reader of the SVG that knows nothing of how it was made."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

FORTY = [f"p{i}" for i in range(40)]
LONG = "the_row_of_the_table_that_was_handed_over_by_the_laboratory"
COVARIATES = "age income education urban children married tenure health commute".split()
ODD: dict[str, str] = {
    "twenty items": "".join(f"param m{i} : real\nparam s{i} : positive\n" for i in range(20))
    + "for n in N:\n    latent z[n] ~ Normal(0, 1)\n"
    + "".join(f"    observed y{i}[n] ~ Normal(m{i} + z[n], s{i})\n" for i in range(20)),
    "names of sixty letters": f"""
param {LONG}_1[K] : real
for {LONG} in N:
    latent {LONG}_2[{LONG}] ~ Categorical(1/K * ones(K))
    observed {LONG}_3[{LONG}] ~ Normal({LONG}_1[{LONG}_2[{LONG}]], 1)
""",
    "covariates by name": "".join(f"param b_{c} : real\n" for c in COVARIATES)
    + "for n in N:\n"
    + "".join(f"    given {c}[n] : real\n" for c in COVARIATES)
    + f"    observed y[n] ~ Normal({' + '.join(f'b_{c} * {c}[n]' for c in COVARIATES)}, 1)\n",
    "to and fro": """
param ta[2, 2] : simplex[2]
param tb[2, 2] : simplex[2]
for t in T:
    latent a[t] ~ Bernoulli(0.5) if t == 0 else Categorical(ta[a[t-1], b[t-1]])
    latent b[t] ~ Bernoulli(0.5) if t == 0 else Categorical(tb[b[t-1], a[t-1]])
    observed x[t] ~ Normal(a[t], 1)
    observed y[t] ~ Normal(b[t], 1)
""",
    "nested": """
for i in I:
    latent a[i] ~ Normal(mu, s1)
    for j in J[i]:
        latent b[i, j] ~ Normal(a[i], s2)
        for k in K:
            observed y[i, j, k] ~ Normal(b[i, j], s3)
param mu : real
param s1 : positive
param s2 : positive
param s3 : positive
""",
    "crossed": """
param s : positive
for i in I:
    latent a[i] ~ Normal(0, 1)
for j in J:
    latent b[j] ~ Normal(0, 1)
for i in I:
    for j in J:
        given x[i, j] : real
        observed y[i, j] ~ Normal(a[i] + b[j] * x[i, j], s)
""",
    "three that overlap": """
for i in I:
    latent a[i] ~ Normal(0, 1)
for j in J:
    latent b[j] ~ Normal(0, 1)
for k in K:
    latent c[k] ~ Normal(0, 1)
for i in I:
    for j in J:
        latent ab[i, j] ~ Normal(a[i] + b[j], 1)
        for k in K:
            observed y[i, j, k] ~ Normal(ab[i, j] + c[k], 1)
""",
    "forty": "\n".join(f"param {p} : real" for p in FORTY)
    + f"\nfor n in N:\n    observed y[n] ~ Normal({' + '.join(FORTY)}, 1)\n",
    "one": "observed x ~ Normal(0, 1)\n",
    "letters": """
param μ[K] : real
param σ2 : positive
param Größe : real
param gamma_0 : simplex[K]
for ν in Ν:
    latent ζ[ν] ~ Categorical(gamma_0)
    observed χ[ν] ~ Normal(μ[ζ[ν]] + Größe, var = σ2)
""",
    "long names": """
param the_average_height_of_the_trees_in_the_northern_forest_after_the_storm : real
param averyverylongnamewithoutanyunderscoreinitatallfromstarttoend : positive
for plot_of_the_forest in number_of_plots_in_the_forest:
    latent the_effect_of_the_soil[plot_of_the_forest] ~
        Normal(0, averyverylongnamewithoutanyunderscoreinitatallfromstarttoend)
    observed height_in_metres[plot_of_the_forest] ~
        Normal(the_average_height_of_the_trees_in_the_northern_forest_after_the_storm
               + the_effect_of_the_soil[plot_of_the_forest], 1)
""".replace("~\n        ", "~ ").replace("storm\n               ", "storm "),
    "pairs": """
param w : simplex[K]
param link[K, K] : unit
for i in N:
    latent z[i] ~ Categorical(w)
    for j in N if j < i:
        observed edge[i, j] ~ Bernoulli(link[z[i], z[j]])
""",
    "tree": """
param start : simplex[K]
param trans[K] : simplex[K]
param m[K] : real
for n in N:
    given parent[n] : index[N]
    latent z[n] ~ Categorical(start) if parent[n] == n else Categorical(trans[z[parent[n]]])
    observed x[n] ~ Normal(m[z[n]], 1)
""",
    "shared terms": """
param a : real
param b : real
param s2 : positive
param r : positive
for n in N:
    given x[n] : real
    let eta[n] = a + b * x[n]
    latent u[n] ~ Gamma(r, r)
    latent d[n] ~ Delta(2 * u[n])
    observed y[n] ~ Normal(eta[n], var = s2 / d[n])
    observed k[n] ~ Poisson(exp(eta[n]))
factor -a^2 - b^2
""",
    "two chains": """
param p[2] : simplex[K]
param A[2, K] : simplex[K]
param m[K, K] : real
for s in S:
    for t in T[s]:
        latent u[s, t] ~ Categorical(p[0]) if t == 0 else Categorical(A[0, u[s, t-1]])
        latent v[s, t] ~ Categorical(p[1]) if t == 0 else Categorical(A[1, v[s, t-1]])
        observed x[s, t] ~ Normal(m[u[s, t], v[s, t]], 1)
""",
    "part of a plate": """
for n in N:
    latent a[n] ~ Normal(0, 1)
for n in N if n > 0:
    observed y[n] ~ Normal(a[n] - a[n-1], 1)
""",
    "grid": """
param r : real
for i in I:
    for j in J:
        latent h[i, j] ~ Normal((r * h[i-1, j] if i > 0 else 0) + (r * h[i, j-1] if j > 0 else 0), 1)
        observed x[i, j] ~ Normal(h[i, j], 1)
""",
    "chooser of two": """
for g in G:
    latent b[g] ~ Normal(0, 1)
    latent c[g] ~ Normal(0, 1)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Normal(b[group[n]], 1)
    observed w[n] ~ Normal(b[group[n]] + c[group[n]], 1)
""",
}

SPACE = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


@dataclass
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, o: Box, slack: float = 0.0) -> bool:
        return (
            self.left - slack <= o.left
            and self.top - slack <= o.top
            and o.right <= self.right + slack
            and o.bottom <= self.bottom + slack
        )

    def meets(self, o: Box) -> bool:
        return min(self.right, o.right) > max(self.left, o.left) and min(self.bottom, o.bottom) > max(self.top, o.top)

    def has(self, p: Point, grown: float = 0.0) -> bool:
        x, y = p
        return self.left - grown < x < self.right + grown and self.top - grown < y < self.bottom + grown


@dataclass
class Node:
    name: str
    mark: str
    box: Box
    words: list[Box]
    round: bool


@dataclass
class Arrow:
    source: str
    target: str
    points: list[Point]
    tip: Point
    dashed: bool


@dataclass
class Picture:
    frame: Box
    nodes: list[Node]
    plates: list[tuple[str, Box, Box]]  # what it says, its box, its label's box
    arrows: list[Arrow]


def numbers(text: str) -> list[float]:
    return [float(v) for v in re.findall(r"-?\d+(?:\.\d+)?", text)]


def box_of(e: ET.Element) -> Box:
    get = {k: float(v) for k, v in e.attrib.items() if re.fullmatch(r"-?[\d.]+", v)}
    if e.tag == f"{SPACE}circle":
        x, y, r = get["cx"], get["cy"], get["r"]
        return Box(x - r, y - r, x + r, y + r)
    if e.tag == f"{SPACE}rect":
        return Box(get["x"], get["y"], get["x"] + get["width"], get["y"] + get["height"])
    flat = numbers(e.attrib["d"])
    return Box(min(flat[::2]), min(flat[1::2]), max(flat[::2]), max(flat[1::2]))


def words_of(e: ET.Element) -> Box:
    """Where a text stands, by half its size for a letter: less than any font of a book takes."""
    size = float(e.attrib.get("font-size", 17))
    wide = sum(0.4 * float(s.attrib.get("font-size", size)) * len(s.text or "") for s in e)
    x, y = float(e.attrib["x"]), float(e.attrib["y"])
    return Box(x - wide / 2, y - 0.6 * size, x + wide / 2, y)


def points_of(path: str) -> list[Point]:
    """A path as many points, its curves included."""
    out: list[Point] = []
    for letter, rest in re.findall(r"([MLQC])([^MLQC]*)", path):
        v = numbers(rest)
        legs = [out[-1], *zip(v[::2], v[1::2], strict=True)] if letter != "M" else [(v[0], v[1])]
        out += [bernstein(legs, k / 40) for k in range(1, 41)] if len(legs) > 1 else legs
    return out


def bernstein(legs: list[Point], t: float) -> Point:
    """De Casteljau's point of a curve."""
    while len(legs) > 1:
        legs = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in pairwise(legs)]
    return legs[0]


def read(svg: str) -> Picture:
    root = ET.fromstring(svg)
    x, y, w, h = numbers(root.attrib["viewBox"])
    out = Picture(Box(x, y, x + w, y + h), [], [], [])
    for g in root.findall(f"{SPACE}g"):
        kind, *mark = g.attrib["class"].split()
        said = g.find(f"{SPACE}title").text or ""
        texts = [words_of(t) for t in g.findall(f"{SPACE}text")]
        drawn = [e for e in g if e.tag in (f"{SPACE}circle", f"{SPACE}rect", f"{SPACE}path")]
        if kind == "node":
            out.nodes.append(Node(said, mark[0], box_of(drawn[0]), texts, drawn[0].tag == f"{SPACE}circle"))
        elif kind == "plate":
            out.plates.append((said, box_of(drawn[0]), texts[0]))
        else:
            source, _, target = said.partition(" → ")
            points = points_of(drawn[0].attrib["d"])
            head = numbers(drawn[1].attrib["d"])[:2] if len(drawn) > 1 else points[-1]
            arrow = Arrow(source, target, points, (head[0], head[1]), "stroke-dasharray" in drawn[0].attrib)
            out.arrows.append(arrow)
    return out


def away(p: Point, node: Node) -> float:
    """How far a point is from a node's outline, at most: exact for circles, by the box for the rest."""
    b = node.box
    if node.round:
        return abs(hypot(p[0] - (b.left + b.right) / 2, p[1] - (b.top + b.bottom) / 2) - (b.right - b.left) / 2)
    dx, dy = max(b.left - p[0], 0, p[0] - b.right), max(b.top - p[1], 0, p[1] - b.bottom)
    return hypot(dx, dy)
