"""Tables as training data.

`lines` finds files and reads them, `columns` decides what a column holds, `reading` makes a `Table` of both, split by
content; `encoding` is what a network sees of it, `mlp` the network, and `card`, `samples`, `export` and `parity` are
what images have too.
"""
