"""Whatever users hand over, the answer is data or a DataError, never another exception."""

from __future__ import annotations

import io
import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_binding import CATEGORY, COUNT, RAGGED, SCALAR, VECTOR, bound

from emdsl.errors import EmdslError
from emdsl.fit.readers import parse_csv
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.frames import Table
from emdsl.runtime.data.table import read_data
from emdsl.runtime.fitting.storage import check_same_model, read_document

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=2),
    st.complex_numbers(), st.decimals(), st.dates(), st.fractions(),
)  # fmt: skip
LISTS = st.recursive(
    CELLS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
)
ARRAYS = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(max_len=3), hnp.byte_string_dtypes(max_len=3)),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
SPECS = {"x": [SCALAR, VECTOR], "y": [COUNT, RAGGED], "c": [CATEGORY]}


@settings(max_examples=150, deadline=None)
@given(st.one_of(LISTS, ARRAYS), st.sampled_from(["x", "y", "c"]), st.booleans())
def test_any_data(data: Any, name: str, fitting: bool) -> None:
    for spec in SPECS[name]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                b = bound(spec, {name: data}, fitting=fitting)
            except DataError as error:
                assert str(error)
                continue
        values = b.values[name]
        assert values.dtype in (np.float64, np.int64) and np.isfinite(values).all()
        assert b.masks[name] is None or b.masks[name].shape == values.shape


@settings(max_examples=80, deadline=None)
@given(st.one_of(LISTS, ARRAYS), st.one_of(LISTS, ARRAYS))
def test_any_weights_and_lengths(weights: Any, lengths: Any) -> None:
    for spec, data in ((SCALAR, {"x": [1.0, 2.0]}), (RAGGED, {"y": [1.0, 2.0]})):
        try:
            bound(spec, data, sample_weight=weights, lengths=lengths if spec is RAGGED else None)
        except DataError as error:
            assert str(error)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40) | st.text(alphabet='ab1,;\t\n\r" .-', max_size=40).map(str.encode))
def test_any_csv(content: bytes) -> None:
    try:
        table = parse_csv(io.BytesIO(content), "t.csv")
    except EmdslError as error:
        assert str(error).startswith("t.csv:")
        return
    assert len({len(c) for c in table.columns.values()}) == 1
    for spec in (SCALAR, VECTOR, COUNT, CATEGORY, RAGGED):
        try:
            read_data(spec, Table(table.columns), None, None)
        except DataError as error:
            assert str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["params", "model", "x"]), inner, max_size=3)
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("model", "params", "sizes", "format", "source"), JSON)) | JSON)
def test_any_json_document(document: Any) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.json"
        path.write_text(json.dumps(document))
        with pytest.raises(DataError):
            check_same_model(read_document(path), SCALAR, False)
