"""Data binding: every accepted form gives the same arrays, every fault names the variable, row and count."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import emdsl
from emdsl.language.kinds import KINDS, DomainKind
from emdsl.runtime.data.advice import advise
from emdsl.runtime.data.binding import BindOptions, Bound, bind_data
from emdsl.runtime.data.columns import read_column
from emdsl.runtime.data.domains import INTEGER_DOMAINS, outside_domain
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.frames import Table
from emdsl.runtime.data.plates import nest_rows
from emdsl.runtime.data.sizes import Equation, parse_size, settle_sizes
from emdsl.runtime.data.table import read_data


def variable(
    name: str, domain: str = "real", plates: str = "N", event: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    """One record of a SPEC; plates "S T[s]" are two."""
    base = {"kind": "observed", "array": [], "levels": None, "lower": None, "upper": None, "default": False}
    loops = [[size[0].lower(), size, None] for size in plates.split()]
    return (
        base
        | {"name": name, "domain": domain, "plates": loops, "event": list(event), "missing": "drop", "support": None}
        | more
    )


def spec_of(
    *variables: dict[str, Any], equal: tuple[Any, ...] = (), ordered: Any = False, **sizes: Any
) -> dict[str, Any]:
    return {"model": "M", "sizes": sizes, "equal": list(equal), "variables": list(variables), "ordered": ordered}


def bound(spec: dict[str, Any], data: Any, defaults: Any = None, kept: Any = None, **options: Any) -> Bound:
    return bind_data(spec, data, BindOptions(**options), defaults, kept)


SCALAR = spec_of(variable("x"), N=None)
VECTOR = spec_of(variable("x", event=("D",)), N=None, D=None)
LIMIT = spec_of(variable("hi", kind="given"), N=None)
COUNT = spec_of(variable("y", "count"), N=None)
CATEGORY = spec_of(variable("c", "category", levels="V"), N=None, V=None)
RAGGED = spec_of(variable("y", plates="S T[s]"), S=None, T=None)
GROUP = spec_of(variable("g", "index", levels="G", kind="given"), N=None, G=None)


def refused(spec: dict[str, Any], data: Any, **options: Any) -> str:
    with pytest.raises(DataError) as info:
        bound(spec, data, **options)
    return str(info.value)


# ---------------------------------------------------------------- forms of data


@pytest.mark.parametrize(
    "data",
    [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3], np.int8),
        np.array([1, 2, 3], ">f4"),
        np.array([9, 1, 9, 2, 9, 3])[1::2],
        np.array([1, 2, 3], np.uint64),
        np.array([1, 2, 3], np.longdouble),
        [Decimal(1), 2, np.float32(3)],
        np.array([1, 2, 3], object),
        np.ma.array([1.0, 2.0, 3.0], mask=False),
    ],
)
def test_forms_of_numbers(data: Any) -> None:
    got = bound(SCALAR, {"x": data}).values["x"]
    assert got.dtype == np.float64 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, [1, 2, 3])


def test_read_only_data_bind_and_stay_untouched() -> None:
    x = np.array([1.0, np.nan, 3.0])
    x.setflags(write=False)
    b = bound(SCALAR, {"x": x})
    np.testing.assert_array_equal(b.values["x"], [1, 0, 3])
    np.testing.assert_array_equal(b.masks["x"], [True, False, True])
    assert np.isnan(x[1])


@pytest.mark.parametrize(
    "data", [[1.0, None, 3.0], [1, float("nan"), 3], [1, Decimal("sNaN"), 3], np.ma.array([1, 99, 3], mask=[0, 1, 0])]
)
def test_missing_is_missing_however_it_is_written(data: Any) -> None:
    b = bound(SCALAR, {"x": data})
    np.testing.assert_array_equal(b.values["x"], [1, 0, 3])
    np.testing.assert_array_equal(b.masks["x"], [True, False, True])


def test_nothing_missing_has_no_mask() -> None:
    assert bound(SCALAR, {"x": [1.0]}).masks["x"] is None


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames(library: str) -> None:
    frames = pytest.importorskip(library)
    make = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[library]
    frame = getattr(frames, make)({"a": [1, 2, None], "b": [4.0, 5.0, 6.0], "who": ["u", "v", "w"]})
    b = bound(VECTOR, read_data(VECTOR, frame, {"x": ["b", "a"]}, None).values)
    np.testing.assert_array_equal(b.values["x"], [[4, 1], [5, 2], [6, 0]])
    np.testing.assert_array_equal(b.masks["x"][:, 1], [True, True, False])
    np.testing.assert_array_equal(
        bound(VECTOR, {"x": frame.select(["b", "a"]) if library != "pandas" else frame[["b", "a"]]}).values["x"],
        b.values["x"],
    )
    every = bound(VECTOR, read_data(VECTOR, frame, None, None).values)
    assert every.sizes["D"] == 2
    coded = bound(CATEGORY, read_data(CATEGORY, frame, {"c": "who"}, None).values)
    assert coded.labels == {"V": ["u", "v", "w"]}


def test_pandas_extension_types() -> None:
    pandas = pytest.importorskip("pandas")
    x = pandas.Series([1, pandas.NA, 3], dtype="Int64")
    np.testing.assert_array_equal(bound(SCALAR, {"x": x}).masks["x"], [True, False, True])
    c = pandas.Series(["b", "a", "b"], dtype="category")
    np.testing.assert_array_equal(bound(CATEGORY, {"c": c}).values["c"], [1, 0, 1])


def test_what_pandas_holds_in_an_index() -> None:
    """A column that was moved there still tells elements apart, in its order; it is no column of data by itself."""
    pandas = pytest.importorskip("pandas")
    chain = {**spec_of(variable("y", plates="T"), T=None), "steps": {"T": ["y"]}}
    quarters = pandas.period_range("2020Q3", periods=3, freq="Q")
    for t in ([3, 1, 2], quarters[[2, 0, 1]]):
        frame = pandas.DataFrame({"t": t, "y": [3.0, 1, 2]}).set_index("t")
        assert read_data(chain, frame, None, None).values["y"].tolist() == [1, 2, 3]
    frame = pandas.DataFrame(LONG).set_index(["subject", "t"])
    assert read_data(RAGGED, frame, None, {"s": "subject"}).values["y"].tolist() == [1, 2, 3, 4]
    wide = spec_of(variable("y", plates="I J"), I=None, J=None)
    frame = pandas.DataFrame({"i": ["a", "b"], "p": [1.0, 2], "q": [3.0, 4]}).set_index("i")
    assert bound(wide, read_data(wide, frame, None, None).values).values["y"].tolist() == [[1, 3], [2, 4]]
    first = pandas.DataFrame(LONG).assign(y=pandas.array([pandas.NA, "u", "v", "u"], dtype="string"))
    labelled = spec_of(variable("y", "category", "S T[s]", levels="K"), S=None, T=None, K=None)
    assert read_data(labelled, first, None, {"s": "subject"}).values["y"].tolist() == ["u", "u", "v", None]


def test_one_array_is_enough_for_one_variable() -> None:
    assert list(read_data(SCALAR, [1.0, 2.0], None, None).values) == ["x"]
    rows = read_data(SCALAR, [{"x": 1.0}, {"y": 3}, {"x": 2.0}], None, None)
    np.testing.assert_array_equal(bound(SCALAR, rows.values).masks["x"], [True, False, True])
    two = spec_of(variable("x"), variable("u", kind="given"), N=None)
    with pytest.raises(DataError, match="x, u"):
        read_data(two, [1.0], None, None)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("spec", "data", "words"),
    [
        (SCALAR, {"x": [1.0, np.inf, -np.inf]}, ["x: must be finite", "2 values", "row 1", "inf"]),
        (LIMIT, {"hi": [1.0, np.inf]}, ["hi: must be finite", "row 1", "the end of an interval that has none"]),
        (SCALAR, {"x": ["1", "a"]}, ["holds text", "row 1", "'a'"]),
        (SCALAR, {"x": [10**400, 1]}, ["x: must be finite", "row 0"]),
        (SCALAR, {"x": [1.0], 1: [1.0]}, ["no observed variable or given 1"]),
        (SCALAR, {"x": ["NA", "1", "?"]}, ["holds text", "row 2", "'?'"]),
        (SCALAR, {"x": ["1", "2"]}, ["written as text", "astype(float)"]),
        (SCALAR, {"x": ["1,5", "2"]}, ["decimal comma"]),
        (SCALAR, {"x": ["2,000.5", "2"]}, ["write 2000.5, digits alone"]),
        (SCALAR, {"x": ["2", ". "]}, ["leave the cell empty where nothing was seen"]),
        (SCALAR, {"x": ["1,000", "2"]}, ["write 1000, or 1.000"]),
        (SCALAR, {"x": ["yes", "no", None]}, ["code it as numbers: 0 for 'no', 1 for 'yes'"]),
        (SCALAR, {"x": ["2026-01-31", "2026-02-01"]}, ["days since the first date"]),
        (COUNT, {"y": [2**63, 1]}, ["too large"]),
        (GROUP, {"g": ["", "a"]}, ["a value is missing", "row 0"]),
        (SCALAR, {"x": [1, "a"]}, ["numbers and text", "row 1", "'a'"]),
        (SCALAR, {"x": np.array([1j])}, ["complex"]),
        (SCALAR, {"x": np.array(["2020-01-01"], "M8[D]")}, ["dates"]),
        (SCALAR, {"x": [[1.0], [2.0]]}, ["shape (2, 1)", "(N,)", "x[..., 0]"]),
        (VECTOR, {"x": [1.0, 2.0]}, ["shape (2,)", "(N, D)", "x[..., None]"]),
        (SCALAR, {"x": ["1.000,5", "2"]}, ["write 1000.5, digits alone"]),
        (VECTOR, {"x": [[1.0], [2.0, 3.0]]}, ["uneven", "row 1 holds 2 of them, row 0 1"]),
        (RAGGED, {"y": [[1.0], ["a"]]}, ["y: holds numbers and text"]),
        (SCALAR, {"x": []}, ["no rows"]),
        (SCALAR, {"x": [np.nan, np.nan]}, ["every value is missing"]),
        (VECTOR, {"x": [[1, np.nan], [2, np.nan]]}, ["column 1"]),
        (SCALAR, {}, ["lack x", "observed"]),
        (SCALAR, {"x": [1.0], "X": [1.0]}, ["no observed variable or given X"]),
        (COUNT, {"y": [1, -1, -2]}, ["0 or more", "2 values", "row 1", "-1"]),
        (COUNT, {"y": [1, 1.5]}, ["not whole", "row 1", "1.5"]),
        (CATEGORY, {"c": [0, -1]}, ["0 or more", "row 1"]),
        (RAGGED, {"y": 1.0}, ["list of arrays"]),
        (RAGGED, {"y": [[[1.0]], [[1.0, 2.0]]]}, ["shapes"]),
    ],
)
def test_refusals_name_place_and_count(spec: dict[str, Any], data: Any, words: list[str]) -> None:
    message = refused(spec, data)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("domain", "event", "good", "bad"),
    [
        ("positive", (), 0.5, 0.0),
        ("unit", (), 0.5, 1.0),
        ("bool", (), True, 2),
        ("simplex", ("D",), [0.25, 0.75], [0.25, 0.7]),
        ("ordered", ("D",), [1.0, 2.0], [2.0, 2.0]),
        ("zero_sum", ("D",), [1.0, -1.0], [1.0, 1.0]),
        ("spd", ("D", "D"), [[2.0, 1.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]),
        ("correlation", ("D", "D"), [[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.5], [0.5, 1.0]]),
    ],
)
def test_domains(domain: str, event: tuple[str, ...], good: Any, bad: Any) -> None:
    spec = spec_of(variable("x", domain, event=event), N=None, **({"D": None} if event else {}))
    bound(spec, {"x": [good, good]})
    message = refused(spec, {"x": [good, bad]})
    assert "x: " in message and "row 1" in message


@pytest.mark.parametrize("kind", KINDS)
def test_modules_know_the_kinds_of_domains_that_the_language_has(kind: DomainKind) -> None:
    """The runtime is printed into modules and imports nothing of the language: the two are held together here."""
    row, numbers = KINDS[kind], (-2.0, -0.5, 0.0, 0.5, 1.0, 2.0)
    assert (kind in INTEGER_DOMAINS) == row.discrete
    if row.interval:
        assert [not outside_domain(kind, np.array([v]), 0)[0][0] for v in numbers] == [row.holds(v) for v in numbers]
    elif row.discrete:
        assert [v for v in numbers if row.holds(v)] == [0.0, 1.0, *([2.0] if kind != "bool" else [])]


def test_bounds_and_support() -> None:
    spec = spec_of(variable("x", lower=1.0, support=[0, 5, "real"]), N=None)
    bound(spec, {"x": [1.0, 5.0]})
    assert "1 or more" in refused(spec, {"x": [0.5]})
    assert "5 or less" in refused(spec, {"x": [5.5]})


def test_missing_is_refused_where_the_model_cannot_leave_it_out() -> None:
    spec = spec_of(variable("x", missing="refuse"), N=None)
    assert "2 values are missing, the first in row 1" in refused(spec, {"x": [1, np.nan, np.nan]})
    given = spec_of(variable("x"), variable("u", kind="given"), N=None)
    assert "a given may not be missing" in refused(given, {"x": [1.0, 2.0], "u": [np.nan, 1.0]})


def test_entries_that_a_condition_drops_are_not_judged() -> None:
    spec = spec_of(variable("a", "bool", "N M"), N=None, M=None)
    spec["variables"][0]["plates"][1][2] = "m < n"
    data = {"a": np.array([[np.nan, 7], [1, -3]])}
    keep = {"a": np.array([[False, False], [True, False]])}
    b = bound(spec, data, kept=lambda sizes, values, ragged: keep)
    assert b.masks["a"] is None or b.masks["a"][1, 0]
    assert b.values["a"][1, 0] == 1
    again = bound(spec, data)
    assert again.masks["a"] is None and again.values["a"][1, 0] == 1
    assert "must be 0 or 1" in refused(spec, {"a": np.array([[0, 0], [2, 0]])})


# ---------------------------------------------------------------- sizes


def test_size_expressions() -> None:
    assert parse_size("2*Q - 1") == {("Q",): 2, (): -1}
    found: dict[str, Any] = {}
    settle_sizes(found, [Equation("2*Q - 1", "5", "axis"), Equation("P", "Q*Q", "use")])
    assert (found["Q"].value, found["P"].value) == (3, 9)


def test_sizes_are_solved_in_order() -> None:
    spec = spec_of(variable("x", event=("Q + 1",)), equal=(("D", "Q + 1"),), N=None, Q=5, D=None, K=2)
    assert bound(spec, {"x": np.zeros((4, 3))}).sizes == {"N": 4, "Q": 2, "D": 3, "K": 2}
    levels = spec_of(variable("c", "category", levels="V"), N=None, V=9)
    assert bound(levels, {"c": [0, 3]}).sizes["V"] == 9  # who wrote 9 has labels that these data do not show
    assert bound(levels, {"c": [0, 11]}).sizes["V"] == 12
    longer = spec_of(variable("c", "category", levels="V"), N=None, P="V + 1", V=2)
    assert bound(longer, {"c": [0, 3]}).sizes == {"N": 2, "V": 4, "P": 5}
    assert bound(longer, {"c": ["a", "b", "b", "c"]}).sizes["V"] == 3
    assert bound(levels, {"c": [0, 3]}, sizes={"V": 7}).sizes["V"] == 7
    assert "these reach 7000123: V would be as many" in refused(levels, {"c": [7000123, 0]})


def test_sizes_that_disagree_are_both_named() -> None:
    three = spec_of(variable("x", event=("3",)), N=None)
    assert "the model has 3, but axis 1 of x gives 4" in refused(three, {"x": np.zeros((2, 4))})
    two = spec_of(variable("x"), variable("y"), N=None)
    message = refused(two, {"x": [1.0, 2.0], "y": [1.0]})
    assert "axis 0 of x" in message and "axis 0 of y" in message
    assert "what was passed" in refused(VECTOR, {"x": np.zeros((3, 2))}, sizes={"D": 3})
    assert "no whole number Q" in refused(
        spec_of(variable("x", event=("2*Q",)), N=None, Q=None), {"x": np.zeros((2, 3))}
    )
    assert "nothing determines the size K" in refused(spec_of(variable("x"), N=None, K=None), {"x": [1.0]})


def test_levels() -> None:
    assert "below V = 3" in refused(CATEGORY, {"c": [0, 5]}, sizes={"V": 3})
    assert "c - 1" in refused(CATEGORY, {"c": [1, 2, 3]}, sizes={"V": 3})


# ---------------------------------------------------------------- text


def test_text_is_coded_in_sorted_order_and_kept() -> None:
    b = bound(CATEGORY, {"c": ["NA", "b", None, "None"]})
    assert b.labels == {"V": ["NA", "None", "b"]}
    np.testing.assert_array_equal(b.values["c"], [0, 2, 0, 1])
    np.testing.assert_array_equal(b.masks["c"], [True, True, False, True])
    again = bound(CATEGORY, {"c": ["b"]}, labels=b.labels)
    assert again.values["c"][0] == 2 and again.sizes["V"] == 3
    assert "'q'" in refused(CATEGORY, {"c": ["b", "q"]}, labels=b.labels)
    two = spec_of(variable("c", "category", levels="2"), N=None)
    told = refused(two, {"c": ["cat", "dog", "NA"]})
    assert "has 3 labels for 2 levels: 'NA', 'cat', 'dog'" in told and "'NA' is a label" in told


def test_variables_of_one_size_share_a_coding() -> None:
    spec = spec_of(variable("c", "category", levels="V"), variable("d", "category", levels="V"), N=None, V=None)
    b = bound(spec, {"c": ["b", "a"], "d": ["c", "a"]})
    assert b.labels["V"] == ["a", "b", "c"] and b.values["d"].tolist() == [2, 0]


def test_text_index_of_a_plate_with_data_by_position_is_refused() -> None:
    group = variable("g", "index", levels="G", kind="given")
    spec = spec_of(variable("x"), group, N=None, G=None)
    assert bound(spec, {"x": [1.0, 2.0], "g": ["b", "a"]}).labels["G"] == ["a", "b"]
    by_position = spec_of(variable("x"), group, variable("u", plates="G", kind="given"), N=None, G=None)
    assert "by position" in refused(by_position, {"x": [1.0, 2.0], "g": ["b", "a"], "u": [1.0, 2.0]})


# ---------------------------------------------------------------- ragged plates


def test_ragged_forms_agree() -> None:
    nested = bound(RAGGED, {"y": [[1.0, 2.0], [], np.array([3, 4, 5])]})
    flat = bound(RAGGED, {"y": [1.0, 2, 3, 4, 5]}, lengths=[2, 0, 3])
    named = bound(RAGGED, {"y": [1.0, 2, 3, 4, 5], "T": [2, 0, 3]})
    for b in (nested, flat, named):
        assert b.sizes == {"S": 3}
        t = b.ragged["T"]
        assert b.values["y"].tolist() == [1, 2, 3, 4, 5]
        assert (t.lengths.tolist(), t.row.tolist()) == ([2, 0, 3], [0, 0, 2, 2, 2])
        assert (t.position.tolist(), t.start.tolist()) == ([0, 1, 0, 1, 2], [0, 2, 2])
    back = nest_rows(nested.values["y"], ["S", "T[s]"], nested.ragged, nested.sizes)
    assert [part.tolist() for part in back] == [[1, 2], [], [3, 4, 5]]


def test_ragged_in_ragged() -> None:
    spec = spec_of(variable("w", plates="S T[s] L[t]"), S=None, T=None, L=None)
    data = [[[1.0, 2.0], [3.0]], [], [[4.0]]]
    b = bound(spec, {"w": data})
    assert b.ragged["T"].lengths.tolist() == [2, 0, 1] and b.ragged["L"].lengths.tolist() == [2, 1, 1]
    flat = bound(spec, {"w": [1.0, 2, 3, 4]}, lengths={"T": [2, 0, 1], "L": [2, 1, 1]})
    assert flat.ragged["L"].row.tolist() == b.ragged["L"].row.tolist() and flat.sizes == b.sizes
    back = nest_rows(b.values["w"], ["S", "T[s]", "L[t]"], b.ragged, b.sizes)
    assert [[leaf.tolist() for leaf in part] for part in back] == data


def test_ragged_faults() -> None:
    assert "sum to 3" in refused(RAGGED, {"y": [1.0, 2.0]}, lengths=[1, 2])
    two = spec_of(variable("y", plates="S T[s]"), variable("u", plates="S T[s]"), S=None, T=None)
    assert "differ from those of y" in refused(two, {"y": [[1.0], [1.0]], "u": [[1.0], [1.0, 2.0]]})
    assert "no ragged size Q" in refused(RAGGED, {"y": [1.0]}, lengths={"Q": [1]})
    inside = variable("i", "index", "S T[s]", levels="T", kind="given")
    spec = spec_of(variable("y", plates="S T[s]"), inside, S=None, T=None)
    bound(spec, {"y": [[1.0], [1.0, 2.0]], "i": [[0], [1, 0]]})
    assert "past the end" in refused(spec, {"y": [[1.0], [1.0, 2.0]], "i": [[1], [1, 0]]})


def test_ragged_inside_ragged() -> None:
    """Lists of lists and flat rows with both lengths are the same data; lengths that do not fit ended in a KeyError."""
    spec = spec_of(variable("y", plates="D S[d] W[s]"), D=None, S=None, W=None)
    nested = bound(spec, {"y": [[[1.0, 2.0], []], [], [[3.0]]]})
    flat = bound(spec, {"y": [1.0, 2.0, 3.0]}, lengths={"S": [2, 0, 1], "W": [2, 0, 1]})
    for some in (nested, flat):
        np.testing.assert_array_equal(some.ragged["W"].row, [0, 0, 2])
        np.testing.assert_array_equal(some.ragged["S"].row, [0, 0, 2])
    assert "lengths of S are not known" in refused(spec, {"y": [1.0]}, lengths={"W": [1]})
    only = spec_of(variable("x", plates="S"), variable("z", kind="latent", plates="S T[s]"), S=None, T=None)
    assert "lengths of T are not known" in refused(only, {"x": [1.0, 2.0]})
    assert "lengths of W are 2, but S has 3 rows" in refused(spec, {"y": [1.0]}, lengths={"S": [2, 1], "W": [1, 0]})


# ---------------------------------------------------------------- weights, defaults


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        ([1, -1], "0 or more"),
        ([1, np.nan], "missing"),
        ([0, 0], "all weights are 0"),
        ([1], "N = 2"),
        ([1, np.inf], "finite"),
    ],
)
def test_weights_are_checked(weights: Any, word: str) -> None:
    assert word in refused(SCALAR, {"x": [1.0, 2.0]}, sample_weight=weights)


def test_weights_over_an_ordered_plate_are_refused() -> None:
    spec = spec_of(variable("x"), N=None, ordered=["N"])
    assert "ordered" in refused(spec, {"x": [1.0]}, sample_weight=[1.0])
    assert bound(SCALAR, {"x": [1.0]}, sample_weight=[2]).weighted == "N"


def test_defaults_fill_what_is_left_out() -> None:
    spec = spec_of(variable("x"), variable("a", plates="", kind="given", default=True), N=None)
    assert bound(spec, {"x": [1.0]}, lambda sizes, given: {"a": 3.0, **given}).values["a"] == 3
    assert bound(spec, {"x": [1.0], "a": 5}, lambda sizes, given: {"a": 3.0, **given}).values["a"] == 5


# ---------------------------------------------------------------- long tables

LONG = {"subject": ["b", "a", "b", "a"], "t": [1, 0, 0, 1], "y": [4.0, 1.0, 3.0, 2.0]}


def test_long_tables_are_ordered_and_grouped() -> None:
    read = read_data(RAGGED, Table(LONG), None, {"s": "subject"})
    assert read.values["y"].tolist() == [1, 2, 3, 4] and read.lengths["T"].tolist() == [2, 2]
    dense = spec_of(variable("y", plates="S T"), S=None, T=None)
    read = read_data(dense, Table({k: v[:3] for k, v in LONG.items()}), None, {"s": "subject"})
    b = bound(dense, read.values)
    assert b.values["y"].tolist() == [[1, 0], [3, 4]] and not b.masks["y"][0, 1]
    assert read.labels["S"] == ["a", "b"]


def test_long_tables_hold_givens_of_the_outer_plate() -> None:
    spec = spec_of(variable("y", plates="S T[s]"), variable("u", plates="S", kind="given"), S=None, T=None)
    read = read_data(spec, Table({**LONG, "u": [9, 7, 9, 7]}), None, {"s": "subject"})
    assert read.values["u"].tolist() == [7, 9]
    with pytest.raises(DataError, match="varies within"):
        read_data(spec, Table({**LONG, "u": [9, 7, 8, 7]}), None, {"s": "subject"})


def test_rows_of_a_group_tell_what_belongs_to_it() -> None:
    """Through an index column, or through that of the group in between; a cell may be left out where another tells."""
    spec = spec_of(
        variable("w", plates="S", kind="given"),
        variable("kind", "category", plates="C", levels="K"),
        variable("school", "index", "C", levels="S", kind="given"),
        variable("form", "index", levels="C", kind="given"),
        variable("y"),
        S=None, C=None, K=None, N=None,
    )  # fmt: skip
    table = {
        "form": ["d", "b", "b", "d"], "school": ["u", "v", "v", "u"],
        "w": [7, 9, None, 7], "kind": [None, None, "new", None], "y": [1.0, 2.0, None, 4.0],
    }  # fmt: skip
    read = read_data(spec, Table(table), None, None)
    b = bound(spec, read.values)
    assert read.labels == {"C": ["b", "d"], "S": ["u", "v"]} and b.labels == {"K": ["new"]}
    assert b.values["w"].tolist() == [7, 9] and b.values["school"].tolist() == [1, 0]
    assert b.values["form"].tolist() == [1, 0, 0, 1] and b.masks["kind"].tolist() == [True, False]
    fewer = {**spec, "variables": [v for v in spec["variables"] if v["name"] in ("kind", "form", "y")]}
    again = read_data(fewer, Table({**table, "form": ["e", "b", "b", "e"]}), None, None, {"C": ["b", "d", "e"]})
    assert again.values["form"].tolist() == [2, 0, 0, 2] and again.values["kind"].mask.tolist() == [False, True, True]
    with pytest.raises(DataError, match="labels that were not seen"):
        read_data(spec, Table(table), None, None, {"C": ["b"]})
    with pytest.raises(DataError, match="w: varies within one element of S") as info:
        read_data(spec, Table({**table, "w": [7, 9, 8, 7]}), None, None)
    assert info.value.row == 2
    with pytest.raises(DataError, match="school: no row for some of C, the first at position 1"):
        read_data(spec, Table({**table, "form": [2, 0, 0, 2]}), None, None)
    twice = {**spec, "variables": [*spec["variables"], variable("other", "index", levels="C", kind="given")]}
    with pytest.raises(DataError, match="form and other point into C"):
        read_data(twice, Table({**table, "other": table["form"]}), None, None)


def test_rows_point_at_rows_by_their_names() -> None:
    """A pedigree: who a parent is stands there as the name, or the number, that a column of the loop's name gives."""
    spec = spec_of(variable("up", "index", levels="N", kind="given"), variable("y"), N=None)
    table: dict[str, Any] = {"n": ["r", "b", "a"], "up": ["r", "a", "r"], "y": [1.0, 2, 3]}

    def up(**more: Any) -> Any:
        read = read_data(spec, Table({**table, **more}), None, None)
        return bound(spec, read.values, labels=dict(read.labels)).values["up"].tolist()

    assert up() == [0, 2, 0] and up(n=[7, 9, 8], up=[7, 8, 7]) == [0, 2, 0]
    assert up(n=[2, 0, 1], up=[2, 1, 2]) == [0, 2, 0]  # the rows in another order
    assert up(n=[5, 5, 5], up=[0, 2, 0]) == [0, 2, 0] == up(up=[0, 2, 0])  # positions, as ever
    by_other = read_data(spec, Table({"id": table["n"], "up": table["up"], "y": table["y"]}), None, {"n": "id"})
    assert by_other.values["y"].tolist() == [3, 2, 1] and by_other.values["up"].tolist() == [2, 0, 2]
    with pytest.raises(DataError, match="up: is none of the rows that column n names: the value in row 1: 'q'"):
        up(up=["r", "q", "r"])
    with pytest.raises(DataError, match="n: the rows that up points at are named here, each once") as info:
        up(n=["r", "r", "a"])
    assert info.value.row == 0
    with pytest.raises(DataError, match="text labels, but y is given by position"):
        up(n=[0, 1, 2])


def test_weights_in_a_table_are_those_of_its_rows() -> None:
    """In their order, of which a group repeats its own; they were taken for those of the sorted plate."""
    read = read_data(SCALAR, Table({"id": ["b", "c", "a"], "x": [1.0, 2, 3]}), None, {"n": "id"})
    assert read.weights([4.0, 5.0, 6.0], None).tolist() == [6, 4, 5] and read.values["x"].tolist() == [3, 1, 2]
    read = read_data(RAGGED, Table(LONG), None, {"s": "subject"})
    assert read.weights([4.0, 5, 4, 5], "S").tolist() == [5, 4] and read.weights([1.0, 2], "S") == [1, 2]
    with pytest.raises(DataError, match="sample_weight: varies within one element of S"):
        read.weights([4.0, 5, 3, 5], None)


def test_tables_of_ragged_in_ragged() -> None:
    spec = spec_of(
        variable("v", plates="A B[a]", kind="given"), variable("y", plates="A B[a] C[a,b]"), A=None, B=None, C=None
    )
    table = {"a": ["z", "x", "x", "x", "z"], "b": [5, 2, 1, 2, 5], "v": [3.0, 2.0, 1.0, 2.0, 3.0], "y": [4, 2, 1, 3, 5]}
    read = read_data(spec, Table(table), None, None)
    b = bound(spec, read.values, lengths=read.lengths)
    c = bound(spec, {"v": [[1, 2], [3]], "y": [[[1], [2, 3]], [[4, 5]]]})
    assert {n: r.lengths.tolist() for n, r in b.ragged.items()} == {n: r.lengths.tolist() for n, r in c.ragged.items()}
    assert all(b.values[n].tolist() == c.values[n].tolist() for n in "vy") and read.labels == {"A": ["x", "z"]}


def test_wide_tables_hold_the_last_plate_along_columns() -> None:
    spec = spec_of(variable("x", "bool", "N I"), N=None, I=None)
    wide = Table({"a": [0, 1, 1], "b": [1, 0, 1], "who": ["u", "v", "w"]})
    for columns in (None, {"x": ["a", "b"]}):
        b = bound(spec, read_data(spec, wide, columns, None).values)
        assert b.sizes == {"N": 3, "I": 2} and b.values["x"].tolist() == [[0, 1], [1, 0], [1, 1]]
    long = Table({"n": [0, 0, 1, 1], "i": [0, 1, 0, 1], "x": [0, 1, 1, 0]})
    assert bound(spec, read_data(spec, long, None, None).values).values["x"].tolist() == [[0, 1], [1, 0]]


def test_a_row_without_a_place_is_of_what_lies_around_alone() -> None:
    """A subject of whom nothing was measured: the table of a join has a row for it, whose other cells are empty."""
    spec = spec_of(variable("y", plates="S T[s]"), variable("u", plates="S", kind="given"), S=None, T=None)
    table = {"s": ["b", "c", "a", "b"], "t": [2, None, 1, 1], "u": [5.0, 7, 6, 5], "y": [1.0, None, 3, 4]}
    read = read_data(spec, Table(table), None, None)
    assert read.values["u"].tolist() == [6, 5, 7] and read.lengths["T"].tolist() == [1, 2, 0]
    assert read.values["y"].tolist() == [3, 4, 1]
    with pytest.raises(DataError, match="y: is there in a row that has no place") as info:
        read_data(spec, Table({**table, "y": [1.0, 2, 3, 4]}), None, None)
    assert info.value.row == 1
    with pytest.raises(DataError, match="s: an index may not be missing"):
        read_data(spec, Table({**table, "s": ["b", None, "a", "b"]}), None, None)


def test_long_table_faults() -> None:
    with pytest.raises(DataError, match="told apart"):
        read_data(RAGGED, Table(LONG), None, None)
    with pytest.raises(DataError, match="repeat"):
        read_data(RAGGED, Table({**LONG, "t": [0, 0, 0, 1]}), None, {"s": "subject"})
    with pytest.raises(DataError, match="no column sbject"):
        read_data(RAGGED, Table(LONG), None, {"s": "sbject"})


def test_places_on_an_ordered_plate() -> None:
    """Where rows read what came before, a step that is left out would make neighbours of what are none."""
    chain = {**RAGGED, "steps": {"T": ["y"]}}
    index = {"s": "subject"}
    with pytest.raises(DataError, match="t: a gap between 0 and 2") as info:
        read_data(chain, Table({**LONG, "t": [1, 0, 0, 2]}), None, index)
    assert info.value.row == 3
    assert read_data(RAGGED, Table({**LONG, "t": [1, 0, 0, 2]}), None, index).values["y"].tolist() == [1, 2, 3, 4]
    assert read_data(chain, Table({**LONG, "t": [2010, 2000, 2000, 2010]}), None, index).lengths["T"].tolist() == [2, 2]
    with pytest.raises(DataError, match="text, in whose order 'Apr' comes before 'Mar', but not its row"):
        read_data(chain, Table({**LONG, "t": ["Mar", "Mar", "Apr", "May"]}), None, index)
    dates = [date(2026, 2, 1), date(2026, 1, 1), date(2026, 1, 1), date(2026, 2, 1)]
    for t in (dates, [str(d) for d in dates], np.array(dates, "datetime64[D]")):
        assert read_data(chain, Table({**LONG, "t": t}), None, index).values["y"].tolist() == [1, 2, 3, 4]
    alone = {**spec_of(variable("y", plates="T"), T=None), "steps": {"T": ["y"]}}
    assert read_data(alone, Table({"t": [3, 1, 2], "y": [1.0, 2, 3]}), None, None).values["y"].tolist() == [2, 3, 1]
    with pytest.raises(DataError, match="1 rows repeat an element, the first 3"):
        read_data(alone, Table({"t": [3, 1, 3], "y": [1.0, 2, 3]}), None, None)


def test_names_of_a_fit_before_are_where_they_were() -> None:
    """A parameter lies over the plate: another group in its place would be read as it."""
    spec = spec_of(variable("m", plates="S", kind="param"), variable("y", plates="S T[s]"), S=None, T=None)
    for ids in (["b", "a", "c", "a"], [20, 10, 30, 10], [1, 0, 2, 0]):
        first = read_data(spec, Table({"s": ids, "y": [5.0, 1, 9, 2]}), None, None)
        assert first.labels == {"S": sorted({str(i) for i in ids})}
        fewer = read_data(spec, Table({"s": [ids[2], ids[0]], "y": [9.0, 5]}), None, None, first.labels)
        assert fewer.lengths["T"].tolist() == [0, 1, 1] and fewer.values["y"].tolist() == [5, 9]
        other = Table({"s": [ids[2], ids[0], "d" if isinstance(ids[0], str) else 3], "y": [9.0, 5, 0]})
        with pytest.raises(DataError, match="s: has names that were not seen in the fit: the value in row 2"):
            read_data(spec, other, None, None, first.labels)


def test_faults_of_values_name_the_row_of_the_table() -> None:
    """Not the place where it lies once rows are sorted, grouped and spread over a grid."""
    spec = spec_of(variable("y", plates="S T", domain="count"), variable("u", plates="S", kind="given"), S=None, T=None)
    table = {"s": ["b", "a", "b", "a"], "t": [1, 0, 0, 1], "y": [4, 1, 3, 2], "u": [1.0, 2, 1, 2]}
    for name, cells, words in (
        ("y", [4, 1, -3, 2], "y: must be 0 or more: the value in row 2: -3"),
        ("y", [4, 1, 3, "x"], "y: holds numbers and text: the value in row 3: 'x'"),
        ("u", [1.0, np.inf, 1, np.inf], "u: must be finite: the value in row 1: inf"),
        ("u", [None, 2.0, None, 2], "u: a value is missing, in row 0; a given may not be missing"),
    ):
        with pytest.raises(DataError) as info:
            read = read_data(spec, Table({**table, name: cells}), None, None)
            try:
                bound(spec, read.values)
            except DataError as error:
                raise read.in_table(error) from None
        assert info.value.message == words and info.value.of_table and f"row {info.value.row}" in words


def test_labels_that_may_mean_something_else() -> None:
    """Of those that were seen: gaps are no label 0."""
    for labels, told in (
        ([1, None, 2], "c holds no 0"),
        (["a", "NA", None], "c: 'NA' is a label like the others"),
        ([102, 104, None, 102], "c holds 2 labels from 102 to 104: numbers are positions"),
    ):
        b = bound(CATEGORY, {"c": labels})
        with pytest.warns(UserWarning, match=told):
            advise(CATEGORY, b.values, b.masks, b.labels, b.sizes)
    assert "where nothing was seen the entry is missing" in refused(CATEGORY, {"c": [0, -1, 1]})


def test_columns_by_name_number_and_mapping() -> None:
    numbered = Table({"x_1": [1.0], "x_2": [2.0], "z": [3.0]})
    assert read_data(VECTOR, numbered, None, None).values["x"].tolist() == [[1, 2]]
    with pytest.raises(DataError, match="its columns are a, b"):
        read_data(SCALAR, Table({"a": [1.0], "b": [1.0]}), None, None)
    with pytest.raises(DataError, match="did you mean waiting"):
        read_data(SCALAR, Table({"waiting": [1.0]}), {"x": "wating"}, None)


@pytest.mark.parametrize(
    ("columns", "index", "words"),
    [
        ({"x": ["a", "a"]}, None, "x has the column a twice"),  # one was dropped: D was 1
        ({"x": {"a", "b"}}, None, "x needs a name, or a list of names"),  # their order was that of hashes
        ({"x": 1.5}, None, "x needs a name"),
        ({"x": ["a", "b"]}, {"n": ["a"]}, "n needs the name of a column"),
    ],
)
def test_columns_that_say_nothing_clear(columns: Any, index: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_data(VECTOR, Table({"a": [1.0], "b": [2.0]}), columns, index)


class Hostile:
    """An object that refuses to be looked at in one way."""

    def __init_subclass__(cls, way: str) -> None:
        def refuse(*_: Any) -> Any:
            raise RuntimeError("not today\nnor tomorrow")

        setattr(cls, way, refuse)


class HostileArray(Hostile, way="__array__"): ...


class HostileName(Hostile, way="__getattr__"): ...


class HostileComparison(Hostile, way="__ne__"): ...


class HostileText(Hostile, way="__repr__"): ...


@pytest.mark.parametrize("kind", [HostileArray, HostileName, HostileComparison, HostileText])
def test_objects_that_refuse_to_be_read(kind: type) -> None:
    """Seen to raise their own exceptions, but for the first."""
    for data in ({"x": kind()}, {"x": [1.0, kind()]}, kind()):
        with pytest.raises(DataError, match=r"makes no (array|table): RuntimeError: not today$"):
            bound(SCALAR, read_data(SCALAR, data, None, None).values)


def test_series_in_another_order_are_not_taken_by_position() -> None:
    pandas = pytest.importorskip("pandas")
    spec = spec_of(variable("x"), variable("y"), N=None)
    one, two = pandas.Series([1.0, 2.0], ["a", "b"]), pandas.Series([4.0, 3.0], ["b", "a"])
    with pytest.raises(DataError, match="x and y have the same index in another order"):
        read_data(spec, {"x": one, "y": two}, None, None)
    for other in (two.sort_index(), two.reset_index(drop=True), two.to_numpy()):
        assert set(read_data(spec, {"x": one, "y": other}, None, None).values) == {"x", "y"}


def test_what_was_taken_for_another() -> None:
    """Bytes that are no UTF-8 were one label; a name and a number of a frame one column; lists in an index a bug."""
    assert len(set(read_column("c", [b"\xff", b"\xfe"]).values)) == 2
    with pytest.raises(DataError, match="two columns named 1"):
        read_data(SCALAR, [{1: 1.0, "1": 2.0}], {"x": "1"}, None)
    rows = [{"s": [k], "y": 1.0} for k in range(2)]
    with pytest.raises(DataError, match="an index is one name or number a row"):
        read_data(RAGGED, rows, None, None)


def test_integers_too_large_are_not_wrapped() -> None:
    column = read_column("x", np.array([2**63], np.uint64))
    assert column.values.dtype == np.float64 and column.values[0] == 2.0**63
    with pytest.raises(emdsl.errors.EmdslError, match="is too large for one: the value in row 0"):
        emdsl.compile(text="model M\nparam a : positive\nfor n in N: observed y[n] ~ Poisson(a)").fitter().fit(
            [2**70, 1]
        )


def test_a_default_outside_its_domain_is_refused() -> None:
    """It was taken as it stood: data alone were looked at."""
    latent = "    latent z[n] ~ Categorical(w)\n    observed y[n] ~ Normal(m[z[n]], 1)\n"
    text = f"model M\ngiven w : simplex[2] = [0.5, 0.6]\nparam m[2] : real\nfor n in N:\n{latent}"
    with pytest.raises(emdsl.errors.DataError, match="w: its default must be probabilities that sum to 1"):
        emdsl.compile(text=text).fitter().fit({"y": [1.0, 2.0]})
