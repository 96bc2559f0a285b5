"""The loop of a fit, and the estimator around it."""
