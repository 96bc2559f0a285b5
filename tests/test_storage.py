"""Saved fits: bit for bit, whole or not at all, and refused with a reason where they are not fits."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.fake_model import FakeModel, build
from fixtures.hand_gmm import GaussianMixture
from fixtures.hand_poisson import RaggedPoisson

import emdsl
from emdsl.errors import DataError, EmdslError
from emdsl.fit.fitter import load_fit
from emdsl.report.summary import all_rows
from emdsl.runtime.data import faults
from emdsl.runtime.fitting import storage, whole
from emdsl.runtime.fitting.sealing import plain_value

RNG = np.random.default_rng(7)
X = np.concatenate([RNG.normal(0, 1, (60, 2)), RNG.normal(4, 1, (90, 2))])


def without_digest(path: Path) -> dict[str, Any]:
    """A saved fit that is altered on purpose: without its digest it is read as it stands."""
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "digest"}


@pytest.mark.parametrize("name", ["fit.json", "fit.npz"])
def test_saved_and_loaded_scores_bit_for_bit(tmp_path: Path, name: str) -> None:
    fit = GaussianMixture(seed=0).fit(X)
    fit.save(tmp_path / name)
    again = GaussianMixture().restore(tmp_path / name)
    assert again.score(X) == fit.score(X)
    assert again.history_ == fit.history_ and again.status_ == fit.status_ and again.sizes_ == fit.sizes_
    assert again.bic() == fit.bic()
    np.testing.assert_array_equal(again.predict(X), fit.predict(X))
    assert os.listdir(tmp_path) == [name]


def test_json_holds_what_the_interface_names(tmp_path: Path) -> None:
    GaussianMixture(seed=4).fit(X).save(tmp_path / "fit.json")
    document = json.loads((tmp_path / "fit.json").read_text())
    keys = "model params objective log_likelihood history converged n_iter sizes plan updates seed emdsl_version"
    assert set(keys.split()) <= set(document)
    assert (
        document["model"] == "GaussianMixture"
        and document["seed"] == 4
        and document["plan"] == {"z": "exact:enumeration"}
    )
    assert np.shape(document["params"]["cov"]) == (2, 2, 2)


def test_nan_is_null(tmp_path: Path) -> None:
    storage.write_document(
        tmp_path / "a.json", {"format": 1, "params": {"a": np.array([np.nan, 1.0])}, "history": [float("inf")]}
    )
    assert without_digest(tmp_path / "a.json") == {"format": 1, "params": {"a": [None, 1.0]}, "history": [None]}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fit.json"
    path.write_text("old")

    def fail(fd: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(faults.DataError, match=r"fit\.json: cannot be written: disk full"):
        storage.write_whole(path, b"new")
    with pytest.raises(emdsl.DataError, match="disk full"):  # a module is written as a fit is, whole or not at all
        emdsl.compile(text="model M\nparam m : real\nobserved x ~ Normal(m, 1)").write(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["fit.json"]


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    """A temporary file stayed for good. One that is being written stays, and so do files of other names."""
    path, mine = tmp_path / "fit.json", tmp_path / ".fit.json.swp"
    code = "import os, sys\nfrom emdsl.runtime.fitting import whole\n"
    code += "os.fsync = lambda fd: os.kill(os.getpid(), 9)\nwhole.write_whole(sys.argv[1], b'new')\n"
    path.write_text("old")
    path.chmod(0o600)
    mine.write_text("another program's")
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (died,) = set(tmp_path.iterdir()) - {path, mine}
    assert path.read_text() == "old"
    written = [tmp_path / f".fit.json.{n}{whole.PART}" for n in range(2)]
    for file in written:
        file.write_text("as yet")
    for file in (died, written[0]):
        os.utime(file, (0, 0))
    with written[0].open("rb") as held:
        assert whole.is_mine(held)
        whole.write_whole(path, b"new")
    assert {*tmp_path.iterdir()} == {path, mine, *written} and path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600  # it was made readable for all


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    fit = emdsl.compile(text="model M\nparam m : real\nobserved x ~ Normal(m, 1)").fitter().fit({"x": 1.0})
    nowhere = tmp_path / "none" / "fit.npz"
    for path, why in ((tmp_path, "it is a directory"), (nowhere, "No such file"), ("y" * 300, "name too long")):
        for write in (fit.save, fit.model.write):
            with pytest.raises(emdsl.DataError, match=f"(?s)D040: .*{str(path)[:60]}.*: cannot be written: .*{why}"):
                write(path)
    assert not os.listdir(tmp_path)


def test_what_is_write_protected_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename asks the directory alone: a file of mode 400 was replaced."""
    path = tmp_path / "kept.json"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda place, mode: place != path or mode != os.W_OK)  # who is root may write all
    with pytest.raises(faults.DataError, match="cannot be written: Permission denied"):
        whole.write_whole(path, b"new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["kept.json"]


def refused(path: Path) -> str:
    with pytest.raises(faults.DataError) as info:
        GaussianMixture().restore(path)
    return str(info.value)


def test_what_is_no_fit_is_refused(tmp_path: Path) -> None:
    good, path = tmp_path / "good.json", tmp_path / "bad"
    GaussianMixture(seed=0).fit(X).save(good)
    document = without_digest(good)

    def written(**changes: Any) -> Path:
        path.write_text(json.dumps({**document, **changes}))
        return path

    assert "format 99" in refused(written(format=99))
    assert "of model Other" in refused(written(model="Other"))
    assert "another version" in refused(written(model_hash="0"))
    assert "no array of numbers" in refused(written(params={"mean": [[1], [1, 2]]}))
    assert "declared with shape" in refused(written(params={**document["params"], "mean": [0.0]}))
    assert "lacks the parameters" in refused(written(params={"mean": document["params"]["mean"]}))
    for key in set(document) - {"format", *storage.MORE}:
        path.write_text(json.dumps({k if k != key else f"{k}x": v for k, v in document.items()}))
        assert f"lacks {key}" in refused(path)
    assert "has format True" in refused(written(format=True))
    assert "no fit holds 'fixedx'" in refused(written(fixedx=[]))
    parts = {
        "labels": {"V": "ab"}, "history": [], "sizes": {"K": -1}, "status": "evil", "message": "\x1b[31m", "n_iter": -1,
        "objective": 10**400,
        "plan": {"z": 3}, "fixed": [1], "reference": {"x": ["a"]}, "factors": {"z": [[1], [1, 2]]},
        "options": {"init": 3}, "monte_carlo": {"rhat": {"b": "x"}},
    }  # fmt: skip
    for key, value in {"labels": 3, **parts}.items():
        assert f"its {key} is " in refused(written(**{key: value})), key
    assert "no array of numbers" in refused(written(params={**document["params"], "weights": ["0.5", "0.5"]}))
    assert "max_iter" in refused(written(options={"max_iter": -1}))
    assert "none of this model's" in refused(written(reference={**document["reference"], "x": [1.0, 2.0, 3.0]}))
    assert "its sizes is" in refused(written(sizes={**document["sizes"], "N": [[1, 2], [3]]}))
    assert "size D is no number" in refused(written(sizes={**document["sizes"], "D": []}))
    lost = GaussianMixture().restore(written(reference={"y": 1.0}))
    with pytest.raises(faults.DataError, match="no reference point of center"):
        lost.score(X)
    assert "holds factors" in refused(written(factors={"z": [1.0]}))
    path.write_text(good.read_text().replace('"objective": ', '"objective": NaN, "seed": '))
    assert "NaN is no number" in refused(path)
    path.write_text(good.read_text()[:-40])
    assert "no whole JSON" in refused(path)
    path.write_text("[1, 2]")
    assert "is no saved fit" in refused(path)
    path.write_bytes(pickle.dumps({"params": {}}))
    assert "pickles are not read" in refused(path)
    assert "cannot be read" in refused(tmp_path / "absent.json")


@pytest.mark.parametrize("name", ["fit.json", "fit.npz"])
def test_a_loaded_fit_is_fitted_again_as_it_was(tmp_path: Path, name: str) -> None:
    """Of draws: another seed and other options led to other numbers, and what the fit told of its errors was lost."""
    text = (
        "model M\nparam s : positive\nfor n in N:\n    latent u[n] ~ Gamma(2, s)\n    observed y[n] ~ Poisson(u[n])\n"
    )
    model = emdsl.compile(text=text + "infer u by saem(warm = 5)\n")
    model.module.MOST_SWEEPS, data = 200, {"y": [3, 0, 2, 5, 1]}
    fit = model.fitter(max_iter=9, tol=0).fit(data) if name == "fit.npz" else model.fitter(seed=4, max_iter=8).fit(data)
    fit.save(tmp_path / name)
    again = model.fitter().restore(tmp_path / name)
    assert str(again.monte_carlo_) == str(fit.monte_carlo_) and "monte_carlo_errors" in again.monte_carlo_
    assert again.get_params()["max_iter"] == fit.max_iter and again.get_params()["seed"] == fit.seed_
    assert again.fit(data).params_ == fit.params_
    assert model.fitter(max_iter=3).restore(tmp_path / name).max_iter == 3


def test_a_fit_with_a_design_is_loaded(tmp_path: Path) -> None:
    """Columns of a design are measured from others: a matrix, which was refused as none of this model's."""
    rng = np.random.default_rng(0)
    text = "model Lines\nparam b : real[P]\nparam s : positive\nfor n in N:\n    given X[n] : real[P]\n    "
    data = {"X": np.column_stack([np.ones(9), rng.normal(size=(9, 1))]), "y": rng.normal(size=9)}
    fit = emdsl.compile(text=text + "observed y[n] ~ Normal(X[n] @ b, s)").fitter().fit(data)
    fit.save(tmp_path / "fit.json")
    assert emdsl.load(tmp_path / "fit.json").score(data) == fit.score(data)
    document = without_digest(tmp_path / "fit.json")
    (tmp_path / "fit.json").write_text(json.dumps({**document, "reference": {"X": [[0.0, 1.0]]}}))
    with pytest.raises(emdsl.EmdslError, match="reference point of X is none"):
        emdsl.load(tmp_path / "fit.json")


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A file that was cut, has bits or digits changed, or lost or doubled some bytes or a line."""
    found, at = bytearray(content), rng.randrange(len(content))
    match rng.randrange(6):
        case 0:
            del found[at:]
        case 1:
            found[at] ^= 1 << rng.randrange(8)
        case 2 | 3:
            at = rng.choice([i for i, c in enumerate(found) if 48 <= c < 58])
            found[at] = 48 + (found[at] - 48 + rng.randrange(1, 10)) % 10
        case 4:
            found[at : at + 8] = found[at : at + 8] * rng.choice([0, 2])
        case _:
            lines = content.split(b"\n")
            del lines[rng.randrange(len(lines))]
            return b"\n".join(lines)
    return bytes(found)


@pytest.mark.parametrize("name", ["fit.json", "fit.npz"])
def test_a_damaged_fit_is_refused_or_the_same(tmp_path: Path, name: str) -> None:
    """A digit that had changed was another parameter, and nothing said so."""
    path, rng = tmp_path / name, random.Random(5)
    GaussianMixture(seed=0).fit(X).save(path)
    whole, good, told = path.read_bytes(), storage.read_document(path), []
    for _ in range(200):
        path.write_bytes(damaged(rng, whole))
        try:
            assert str(plain_value(storage.read_document(path))) == str(plain_value(good))
        except faults.DataError as error:
            told.append(str(error))
    assert len(told) > 150  # an archive's own sums find nearly all
    assert name == "fit.npz" or any("is damaged: what it says is not what was saved" in t for t in told)


@pytest.mark.parametrize("name", ["fit.json", "fit.npz"])
def test_what_is_saved_without_a_digest_is_read(tmp_path: Path, name: str) -> None:
    """A file from before there were digests, or one that was altered by hand and says so."""
    fit, path = GaussianMixture(seed=0).fit(X), tmp_path / name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "sealed", plain_value)
        fit.save(path)
    assert GaussianMixture().restore(path).score(X) == fit.score(X)


class Runs:
    """What makes a directory, if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_npz_with_objects_or_cut_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fit.npz"
    np.savez(path, document=np.array([Runs(tmp_path / "ran")], object), history=np.zeros(1))
    assert "no whole saved fit" in refused(path) and not (tmp_path / "ran").exists()
    GaussianMixture(seed=0).fit(X).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "no whole saved fit" in refused(path)
    GaussianMixture(seed=0).fit(X).save(path)
    whole = path.read_bytes()
    flags = whole.index(b"PK\x01\x02") + 8  # of the first file in the list at the end
    path.write_bytes(whole[:flags] + b"\x01" + whole[flags + 1 :])
    assert "is encrypted" in refused(path)
    for bad in (b"[" * 100_000, b"[]", b"3"):
        np.savez(path, document=np.frombuffer(bad, np.uint8), history=np.zeros(1))
        assert "no whole saved fit" in refused(path) or "is no saved fit" in refused(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    unclosed = header.getvalue().replace(b")", b" ").replace(b"}", b" ")  # numpy raised what it reads headers by
    for bad in (header.getvalue(), unclosed):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("document.npy", bad + bytes(8))
        assert "no whole saved fit" in refused(path)
    monkeypatch.setattr(storage, "MEGABYTES", 0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("document.npy", bytes(10**6))
    assert "bytes would become 1000000" in refused(path)


TWO_EFFECTS = """model TwoEffects
param t : positive
for g in G:
    latent b[g] ~ Normal(0, 1)
for h in H:
    latent c[h] ~ Normal(0, 1)
for n in N:
    given i[n] : index[G]
    given j[n] : index[H]
    observed y[n] ~ Normal(b[i[n]] + c[j[n]], t)
infer b, c by meanfield
"""


def test_factors_of_another_model_are_refused_where_they_are_asked(tmp_path: Path) -> None:
    """Found by changing saved fits by chance: a KeyError of the generated module."""
    data = {"i": [0, 1, 1], "j": [0, 0, 1], "y": [1.0, 2, 4]}
    fit = emdsl.compile(text=TWO_EFFECTS).fitter(max_iter=60).fit(data)
    fit.save(tmp_path / "fit.json")
    document = without_digest(tmp_path / "fit.json")
    name = next(iter(document["factors"]))
    for wrong in ({"b": [1.0]}, {**document["factors"], name: [[[1.0, 2], [3, 4]]] * 5}):
        (tmp_path / "fit.json").write_text(json.dumps({**document, "factors": wrong}))
        with pytest.raises(DataError, match=r"D020.*none of this model's"):
            emdsl.load(tmp_path / "fit.json").posterior(data)
    with pytest.raises(DataError, match=r"D021.*no log-likelihood"):
        fit.aic()


def test_an_objective_that_json_cannot_hold_is_told(tmp_path: Path) -> None:
    """Found by chance: a fit whose objective was minus infinity raised TypeError when shown."""
    text = "model M\nparam m : real\nfor n in N: observed y[n] ~ Normal(m, 1)"
    fit = emdsl.compile(text=text).fitter().fit([1.0, 2.0])
    fit.save(tmp_path / "fit.json")
    document = without_digest(tmp_path / "fit.json")
    (tmp_path / "fit.json").write_text(json.dumps({**document, "objective": None}))
    assert "-inf" in emdsl.load(tmp_path / "fit.json")._repr_html_()


def test_labels_travel_with_the_fit(tmp_path: Path) -> None:
    fit = RaggedPoisson(seed=0).fit([[1, 2], [9]])
    fit.labels_["V"] = ["a", "b"]
    fit.save(tmp_path / "fit.json")
    assert RaggedPoisson().restore(tmp_path / "fit.json").labels_ == {"V": ["a", "b"]}


# ---------------------------------------------------------------- emdsl's own fitter


def test_a_fitter_loads_from_the_file_alone(tmp_path: Path) -> None:
    fit = FakeModel().fitter(seed=0).fit(X)
    fit.save(tmp_path / "fit.json")
    again = load_fit(tmp_path / "fit.json", build)
    assert again.score(X) == fit.score(X)
    assert again.sample(10, seed=1)["x"].shape == (10, 2)
    GaussianMixture(seed=0).fit(X).save(tmp_path / "alone.json")
    with pytest.raises(EmdslError, match="holds no model text"):
        load_fit(tmp_path / "alone.json", build)


@pytest.mark.parametrize("end", ["json", "npz"])
def test_a_fit_of_a_model_of_other_densities_is_refused(tmp_path: Path, end: str) -> None:
    """Its name and variables were all that was compared. Layout and comments make no other model."""
    text, path = "model M\nparam m : real\nfor n in N: observed x[n] ~ Normal(m, 1)\n", tmp_path / f"fit.{end}"
    fit = emdsl.compile(text=text).fitter().fit([1.0, 2.0])
    fit.save(path)
    with pytest.raises(DataError, match="D020: the fit is of another version of M: its densities differ"):
        emdsl.compile(text=text.replace("Normal", "Laplace")).fitter().restore(path)
    again = emdsl.compile(text="# spaced\n" + text.replace(" ~ ", "~")).fitter()
    assert again.restore(path).score([1.0, 2.0]) == fit.score([1.0, 2.0])


def test_a_fitter_pickles_and_clones() -> None:
    fit = FakeModel().fitter(K=2, seed=0).fit(X)
    assert pickle.loads(pickle.dumps(fit)).score(X) == fit.score(X)  # noqa: S301
    base = pytest.importorskip("sklearn.base")
    assert base.clone(fit).get_params() == fit.get_params()


def test_faults_are_emdsl_s_own() -> None:
    with pytest.raises(DataError, match="D003"):
        FakeModel().fitter().fit(X[:, 0])


def test_fixed_parameters_stay_and_are_not_counted(tmp_path: Path) -> None:
    mean = np.array([[0.0, 0.0], [4.0, 4.0]])
    fit = FakeModel().fitter(fixed={"mean": mean}, seed=0).fit(X)
    np.testing.assert_array_equal(fit.params_["mean"], mean)
    assert fit.n_parameters_ == 1 + 6
    fit.save(tmp_path / "fit.json")
    again = load_fit(tmp_path / "fit.json", build)
    assert again.score(X) == fit.score(X) and pickle.loads(pickle.dumps(fit)).score(X) == fit.score(X)  # noqa: S301
    free = FakeModel().fitter(seed=0).fit(X)
    assert free.objective_ > fit.objective_
    with pytest.raises(DataError, match="did you mean mean"):
        FakeModel().fitter(fixed={"men": mean}).fit(X)


def test_a_fit_whose_labels_were_partly_missing(tmp_path: Path) -> None:
    """It is a fit of the model with those labels as latents, and is loaded as such."""
    text = """
        model PartlySeen
        param a : unit
        param m[2] : real
        for n in N:
            observed g[n] ~ Bernoulli(a)
            observed h[n] ~ Normal(m[g[n]], 1)
    """
    data = {"g": [0.0, 1.0, np.nan, 1.0, 0.0], "h": [0.1, 4.2, 3.9, 4.0, -0.3]}
    fit = emdsl.compile(text=text).fitter(seed=1).fit(data)
    fit.save(tmp_path / "fit.json")
    again = emdsl.load(tmp_path / "fit.json")
    assert again.score(data) == fit.score(data)
    np.testing.assert_array_equal(again.posterior(data)["g"], fit.posterior_["g"])


def test_labels_of_as_many_levels_as_a_number_says(tmp_path: Path) -> None:
    """Two variables of two levels have labels of their own; new data are read by those of the fit, and were not."""
    text = """
        model Literal
        param w[2] : simplex[2]
        param m[2] : real[2]
        for n in N:
            given    sex[n] : category[2]
            observed pet[n] : category[2] ~ Categorical(w[sex[n]])
            observed x[n] : real[2] ~ Normal(m[sex[n]], 1)
    """
    data = {"sex": np.array(["m", "f", "m", "f"]), "pet": np.array(["cat", "dog", "dog", "dog"]), "x": np.eye(4)[:, :2]}
    fit = emdsl.compile(text=text).fitter().fit(data)
    assert fit.labels_ == {"sex": ["f", "m"], "pet": ["cat", "dog"]}
    fit.save(tmp_path / "fit.json")
    rows = [emdsl.load(tmp_path / "fit.json").score_samples({n: v[k : k + 1] for n, v in data.items()}) for k in (0, 1)]
    np.testing.assert_allclose(np.concatenate(rows), fit.score_samples(data)[:2])
    assert [label for label, _ in all_rows(fit, fit.model.module.SPEC)] == ["w[0]", "w[1]", "m[0]", "m[1]"]
    one = {n: np.array(["cat", "dog", "dog", "dog"]) if n == "sex" else v for n, v in data.items()}
    shown = emdsl.compile(text=text).fitter().fit(one)  # the same two labels: one coding, of levels, not of coordinates
    assert shown.labels_ == {"2": ["cat", "dog"]}
    assert [label for label, _ in all_rows(shown, shown.model.module.SPEC)][-2:] == ["m[cat]", "m[dog]"]
