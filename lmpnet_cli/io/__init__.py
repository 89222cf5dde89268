"""Read and write files (checkpoints, COCO, output folders, run records) and choose devices."""
