"""Carbyne: a serverless, tiered store for metrics on AWS.

The layer that every function shares.  Imports go one way: functions -> use cases -> domain; adapters -> domain; only
``wiring`` and ``cli`` import both.  Importing a module does no I/O and reads no environment.
"""
