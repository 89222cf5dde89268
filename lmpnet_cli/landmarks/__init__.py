"""Named landmarks, learned from a few annotated images: `lmpnet fit`.

`fit` is the command; `examples` computes what is learned from, `learning` fits the weights, `cross_validation` says how
well the landmarks are found, and `scores` is the named PCK, which `lmpnet eval --method landmarks` uses as well.
"""
