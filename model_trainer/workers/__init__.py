"""Several processes, each in a pod of its own, that train one network together (`spec.training.workers`).

`place.py` says which worker this is, `link.py` is one connection, `world.py` all of them, `steps.py` makes a step of
Keras one of the world, `member.py` is a training's part in it, and `following.py` the run of all but the first.
"""
