"""Trains, evaluates and exports one version of a model: what the Jobs of a run execute.

`main` reads what to do and reports how it went; `train_stage` and `export_stage` read as the list of steps.
"""
