"""Occlusion at a fraction of the cost: only what a patch changes is computed."""
