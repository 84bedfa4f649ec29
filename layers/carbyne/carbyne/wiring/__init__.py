"""The only assembly: each function's use case out of its settings and ports.

A module per function, so that none imports another's.  ``assemble`` takes the ports, for tests and benchmarks as well;
the function of the module's name makes the real ones, once for each instance.
"""
