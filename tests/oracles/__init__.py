"""Independent implementations that the tests hold emdsl against: EM written by hand for one model each,
log-likelihoods written directly, and scipy's optimisers. Nothing here imports emdsl.
"""
