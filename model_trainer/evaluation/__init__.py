"""How good a trained model is on images that it never learned from.

`answers` asks the model; `classes`, `calibration` and `confidence` are what is made of its answers; `record` is
evaluation.json. `numbers` is all this of a model that learned a number, and `measuring` knows which of both it is.
"""
