"""Results as pictures: overlays, grids, heat maps, charts and videos. Arrays in, arrays or files out."""
