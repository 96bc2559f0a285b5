"""Numbers: functions, factors of matrices, climbing steps, starts."""
