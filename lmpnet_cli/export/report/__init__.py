"""`lmpnet report`: show a folder of results as one HTML file."""
