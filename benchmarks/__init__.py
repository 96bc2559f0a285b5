"""Speed and memory beside a peer, in one run: `python -m benchmarks`, or `python -m benchmarks gaussian_full`.

One workload a file, each with `run() -> list[Line]`: same data, same start, same number of iterations, and the
log-likelihoods of both, which must agree. Peers come with `pip install '.[bench]'`. No test asserts a time.
"""
