"""Paper 1, LMPNet (Guo and Farrell): tensors and modules only; no files, no printing."""
