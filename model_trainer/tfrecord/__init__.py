"""TFRecord files as training data.

`framing` reads them without believing what they say of themselves, `examples` takes features out of their records,
`images` and `rows` make a data set of them.
"""
