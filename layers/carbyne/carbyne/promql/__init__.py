"""PromQL, evaluated on arrays of samples; no I/O."""
