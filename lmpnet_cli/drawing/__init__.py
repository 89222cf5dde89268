"""Draw results as images, charts and videos. Functions take arrays and return arrays or write files."""
