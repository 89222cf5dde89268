"""Trained models over many images: predictors, one for each method, and the runner of an LMPNet."""
