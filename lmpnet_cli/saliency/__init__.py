"""Keypoints by occlusion and guided backpropagation, from any classifier: tensors only, no files, no printing."""
