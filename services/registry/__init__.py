"""The registry: one network's own places.

It decides what the network says. Every accepted wish becomes exactly one numbered, signed event in the
transaction of its change; a wish that changes nothing becomes none. It starts, writes and serves with nothing
but its own database.
"""
