"""The contract of the federation: the shape of every record, event and answer, as msgspec Structs.

Importable by anybody, does nothing, imports only msgspec and typing. Shapes here are open: unknown fields
are ignored, as neighbours of a later version may send them; the doors for people are strict on top of it.
"""
