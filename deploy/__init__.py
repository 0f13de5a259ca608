"""What a container does before its service: secrets made on first start, identity, whom to follow.

`python -m deploy secrets | registry | sync | notify | healthy`. Imports no service: it prepares the
environment, then becomes the service's own command.
"""
