"""Carbyne: a serverless, tiered store for metrics on AWS.

The layer that every function shares.  Dependencies point one way: functions -> use cases -> domain; adapters -> domain;
only ``wiring`` sees both.  Importing a module does no I/O and reads no environment.
"""
