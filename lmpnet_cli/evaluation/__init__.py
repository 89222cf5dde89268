"""`lmpnet eval` and `lmpnet salient`: scores of keypoints against annotations, beside trivial baselines."""
