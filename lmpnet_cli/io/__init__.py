"""Files and the machine: checkpoints, COCO, output folders, run records, devices."""
