"""Notify: who wants to know what.

It follows one log, a sync's or a registry's, and tells subscribers of the changes that match their filter: in
order, from any cursor on, with what happened to their own selection. What is stored once is told to whoever
asks; whoever falls behind reads on from her cursor, and is told when that is no longer possible.
"""
