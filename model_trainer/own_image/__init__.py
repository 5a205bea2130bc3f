"""A team's own image trains: what it is handed, and what is taken from it.

`prepare` runs before the team's container and `finish` after it, in the same pod. They share a folder that the team's
container does not see, so what it is measured on is nothing that it was shown.
"""
