"""`lmpnet parts`: learn which place is the same part of the object in every image (not in the paper)."""
