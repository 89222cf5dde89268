"""Images, videos and data sets: listing, decoding and loading them; annotations, for evaluation only."""
