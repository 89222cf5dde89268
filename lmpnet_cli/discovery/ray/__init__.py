"""`discover --backend ray`: the same run on a Ray cluster. Deleting this folder removes nothing else."""
