"""`lmpnet discover`, `merge` and `match`: find keypoints on images, resume and join runs."""
