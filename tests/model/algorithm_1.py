"""Algorithm 1 to the letter, in NumPy, loop by loop."""

import numpy as np


def softmax(values):
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()


def between(one, other, distance):
    """The distance of two cells (row, column), in whole numbers where it is squared."""
    rows, columns = (int(a) - int(b) for a, b in zip(one, other, strict=True))
    squared = rows * rows + columns * columns
    return squared if distance == "squared" else np.sqrt(squared)


def algorithm_1(raw, k, n, threshold, distance):
    """Algorithm 1 on the raw maps (c, h, w) of one image, open questions settled as in the package.

    Returns Yout, the cells, and for each keypoint the indices of the proposals that it erased.
    """
    c, h, w = raw.shape
    x = np.zeros((c, h, w))
    position, strength, live = [], raw.reshape(c, -1).max(1), []
    for j in range(c):
        position.append(np.unravel_index(raw[j].argmax(), (h, w)))
        live.append(bool(raw[j].max() > 0))
        if live[j]:
            x[j][position[j]] = 1
    yout, cells, members = np.zeros((k, h, w)), [], []
    weights = np.ones((c, k))
    for i in range(k):
        if x.max() == 0:
            break
        tie = np.zeros((h, w))
        for j in range(c):
            if live[j]:
                tie[position[j]] += float(strength[j])
        for _ in range(n):
            soft = softmax(weights[:, i])
            y = np.zeros((h, w))
            for j in range(c):
                y += soft[j] * x[j]
            candidates = [cell for cell in np.ndindex(h, w) if y[cell] >= y.max() * (1 - 1e-12)]
            peak = max(candidates, key=lambda cell: (tie[cell], -np.ravel_multi_index(cell, (h, w))))
            d = np.array([between(peak, position[j], distance) if live[j] else np.inf for j in range(c)])
            weights[:, i] = soft + np.where(live, 1 / np.maximum(d, 0.5), 0)
        soft = softmax(weights[:, i])
        yout[i] = sum(soft[j] * x[j] for j in range(c))
        cells.append(int(np.ravel_multi_index(peak, (h, w))))
        members.append([j for j in range(c) if live[j] and d[j] < threshold])
        for j in members[-1]:
            x[j] = 0
            live[j] = False
    return yout, cells, members
