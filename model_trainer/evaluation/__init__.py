"""How good a trained model is on images that it never learned from.

`answers` asks the model; `classes`, `calibration` and `confidence` are what is made of its answers; `record` is
evaluation.json.
"""
