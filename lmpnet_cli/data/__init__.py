"""List, decode and load images, videos and data sets; read annotations, for evaluation only."""
