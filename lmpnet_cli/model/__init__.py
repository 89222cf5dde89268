"""The core model (paper 1): Guo and Farrell, *LMPNet for Weakly-supervised Keypoint Discovery*.

Tensors and modules only: no files and no printing. Read the files in this order, which is the order of the paper:

1. `pooling`: leaky max pooling, equations 1 to 3 (section 3.1).
2. `selection`: keypoint proposals and filter selection (section 3.2).
3. `clustering`: learnable clustering, Algorithm 1 (section 3.4).
4. `masking`: attention mask-out (section 3.3).
5. `backbone` and `lmpnet`: the network, its replica and the model that every command calls (figure 2).
6. `fusion`: the proposals of both networks to keypoints (section 3.3).
7. `entropy`: how sparse a map is (section 4, figure 6).
8. `part_head`: the same keypoint in every image (not in the paper), from `cell_features`.
9. `landmark_head`: named landmarks that a user has annotated on a few images (not in the paper).
10. `objects`: where the objects are, for the first look (not in the paper).
11. `onnx_module`: the whole model as traceable modules.

`reading` holds what the paper leaves open between maps and keypoints, and `pretrained` fetches the weights of timm.
"""
