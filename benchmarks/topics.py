"""Topics of documents: one sweep over the documents and one M-step, beside scikit-learn with two jobs.

scikit-learn's components have a prior of their own and its bound is another number: what agrees is the work, one sweep
of q over the distinct pairs of a document and a word.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line, by_loops

EVERYTHING_LATENT = """model Topics
size K = 20
for k in K:
    latent topic[k] ~ Dirichlet(ones(V) / K)
for d in D:
    latent theta[d] ~ Dirichlet(ones(K) / K)
    for i in L[d]:
        latent   z[d, i] ~ Categorical(theta[d])
        observed w[d, i] : category[V] ~ Categorical(topic[z[d, i]])
infer theta, topic, z by meanfield
"""
DOCUMENTS, WORDS, TOPICS, STEPS = 5000, 5000, 20, 15


def corpus(seed: int = 0) -> list[np.ndarray]:
    """Documents of about 100 tokens, each of few topics, as arrays of words."""
    rng = np.random.default_rng(seed)
    topic = rng.dirichlet(np.full(WORDS, 0.05), TOPICS).cumsum(axis=1)
    out = []
    for share in rng.dirichlet(np.full(TOPICS, 0.1), DOCUMENTS):
        z = rng.choice(TOPICS, rng.poisson(100), p=share)
        u = rng.random(len(z))
        out.append(np.array([min(int(np.searchsorted(topic[k], v)), WORDS - 1) for k, v in zip(z, u, strict=True)]))
    return out


def run() -> list[Line]:
    """Milliseconds between one iteration and the next, the median of each side: starts and workers are left out.

    In numpy, and with the loop that numba compiles, from the first iteration on.
    """
    from scipy.sparse import coo_array
    from sklearn.decomposition import LatentDirichletAllocation

    words = corpus()
    at = np.repeat(np.arange(DOCUMENTS), [len(w) for w in words])
    counts = coo_array((np.ones(len(at)), (at, np.concatenate(words))), shape=(DOCUMENTS, WORDS)).tocsr()
    mine: list[float] = []
    other: list[float] = []

    class Timed(LatentDirichletAllocation):
        def _em_step(self, *arguments: Any, **options: Any) -> Any:
            out = super()._em_step(*arguments, **options)
            other.append(time.perf_counter())
            return out

    def theirs() -> None:
        settings = {"learning_method": "batch", "max_doc_update_iter": 1, "n_jobs": 2, "random_state": 0}
        Timed(TOPICS, max_iter=STEPS, evaluate_every=-1, **settings).fit(counts)

    def ours() -> float:
        mine.clear()
        fitter.fit({"w": words})
        return float(np.median(np.diff(mine))) * 1e3

    model = emdsl.compile(str(MODELS / "latent_dirichlet_allocation.em"))
    fitter = model.fitter(
        K=TOPICS, V=WORDS, max_iter=STEPS, tol=0, seed=0, progress=lambda *_: mine.append(time.perf_counter())
    )
    theirs()
    peer = float(np.median(np.diff(other))) * 1e3
    work, name = f"LDA, {DOCUMENTS} documents of 100 tokens, V={WORDS} K={TOPICS}, one sweep", "scikit-learn, 2 jobs"
    lines = []
    for wish, added, goal in (("off", "", "faster"), ("on", ", compiled loop", "5")):
        with by_loops(wish):
            lines.append(Line(work + added, name, peer, ours(), goal))
    return [*lines, to_the_same_bound()]


def to_the_same_bound() -> Line:
    """Reuters' documents, everything latent: seconds of the processor until a fit passes where the peer ends.

    Both bounds are of one model: Dirichlet(1 / K) over topics and over words. The peer's bound is not in its time.
    """
    from lda.datasets import load_reuters
    from scipy.sparse import csr_array
    from sklearn.decomposition import LatentDirichletAllocation

    counts = load_reuters()
    rows = csr_array(counts.astype(float))
    words = [np.repeat(np.arange(len(row)), row) for row in counts]
    start = time.process_time()
    peer = LatentDirichletAllocation(TOPICS, max_iter=60, evaluate_every=-1, random_state=0).fit(rows)
    theirs = time.process_time() - start
    goal = float(peer._approx_bound(rows, peer._unnormalized_transform(rows), sub_sampling=False))
    passed: list[float] = []

    def seen(_: int, bound: float) -> None:
        if bound >= goal and not passed:
            passed.append(time.process_time())

    fitter = emdsl.compile(text=EVERYTHING_LATENT).fitter(K=TOPICS, V=counts.shape[1], seed=0, progress=seen)
    start = time.process_time()
    fitter.fit({"w": words})
    ours = (passed[0] if passed else time.process_time()) - start
    work = f"LDA on Reuters, K={TOPICS}, to scikit-learn's bound"
    reached = f"{fitter.objective_:.0f}, scikit-learn's {goal:.0f}"
    return Line(work, "scikit-learn, 60 iterations", theirs * 1e3, ours * 1e3, "faster", reached)
