"""A sync: one common view of what many networks say.

It follows the nodes that its operator chose, proves what they send, and merges it by a public policy. Anybody
may run one; two that stand at the same heads, policy and followed set hold the same view, byte for byte. It
writes into nobody's node.
"""
