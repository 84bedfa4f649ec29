"""Tables: blocks, accounts, registry."""
