"""NumPy's .npz files as training data.

`arrays` reads them without believing what they say of themselves, `reading` makes images or rows of features of them,
split by content.
"""
