"""The whole system on one machine: real parts, and a small runtime that does what template.yaml says."""
