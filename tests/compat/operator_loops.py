"""The operators as their definitions read: one box, one bin, one sample at a time, in float64 Python loops."""

import math

import numpy as np


def nms(boxes, scores, threshold, offset=0):
    """Kept indices, by falling score; equal scores in their given order."""

    def area(box):
        return (box[2] - box[0] + offset) * (box[3] - box[1] + offset)

    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        for j in kept:
            width = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0]) + offset
            height = min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1]) + offset
            shared = max(width, 0) * max(height, 0)
            union = area(boxes[i]) + area(boxes[j]) - shared
            if union and shared / union > threshold:
                break
        else:
            kept.append(i)
    return kept


def corners(y, x, height, width):
    """The four (row, column, weight) around a sample; none for one further than a cell outside."""
    if y < -1 or y > height or x < -1 or x > width:
        return []
    y, x = max(y, 0.0), max(x, 0.0)
    low_y, low_x = min(int(y), height - 1), min(int(x), width - 1)
    part_y = y - low_y if low_y < height - 1 else 0.0
    part_x = x - low_x if low_x < width - 1 else 0.0
    high_y, high_x = min(low_y + 1, height - 1), min(low_x + 1, width - 1)
    return [
        (low_y, low_x, (1 - part_y) * (1 - part_x)),
        (low_y, high_x, (1 - part_y) * part_x),
        (high_y, low_x, part_y * (1 - part_x)),
        (high_y, high_x, part_y * part_x),
    ]


def samples(roi, size, scale, ratio, aligned):
    """Per bin (row, column), its list of sample positions (y, x), and the divisor of the average."""
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (float(value) * scale - shift for value in roi[1:])
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    bin_y, bin_x = height / size[0], width / size[1]
    grid_y, grid_x = (ratio, ratio) if ratio > 0 else (max(math.ceil(bin_y), 0), max(math.ceil(bin_x), 0))
    for row in range(size[0]):
        for column in range(size[1]):
            yield (
                row,
                column,
                max(grid_y * grid_x, 1),
                [
                    (y1 + row * bin_y + (i + 0.5) * bin_y / grid_y, x1 + column * bin_x + (j + 0.5) * bin_x / grid_x)
                    for i in range(grid_y)
                    for j in range(grid_x)
                ],
            )


def roi_align(features, rois, size, scale, ratio, aligned):
    """features [B, C, H, W] -> [R, C, P, P]"""
    pooled = np.zeros((len(rois), features.shape[1], *size))
    for number, roi in enumerate(rois):
        plane = features[int(roi[0])]
        for row, column, count, positions in samples(roi, size, scale, ratio, aligned):
            for y, x in positions:
                for i, j, weight in corners(y, x, *plane.shape[1:]):
                    pooled[number, :, row, column] += weight * plane[:, i, j] / count
    return pooled


def roi_align_gradient(gradient, rois, shape, scale, ratio, aligned):
    """gradient [R, C, P, P] of the pooled -> [B, C, H, W] of the features"""
    total = np.zeros(shape)
    for number, roi in enumerate(rois):
        for row, column, count, positions in samples(roi, gradient.shape[2:], scale, ratio, aligned):
            for y, x in positions:
                for i, j, weight in corners(y, x, *shape[2:]):
                    total[int(roi[0]), :, i, j] += weight * gradient[number, :, row, column] / count
    return total


def roi_align_max(features, rois, size, scale, ratio, aligned):
    """features [B, C, H, W] -> largest sample and its y and x, each [R, C, P, P]"""
    value = np.full((len(rois), features.shape[1], *size), -10000.0)
    at_y, at_x = np.full_like(value, -1), np.full_like(value, -1)
    for number, roi in enumerate(rois):
        plane = features[int(roi[0])]
        for row, column, _, positions in samples(roi, size, scale, ratio, aligned):
            for y, x in positions:
                around = corners(y, x, *plane.shape[1:])
                for channel in range(len(plane)):
                    sample = sum(weight * plane[channel, i, j] for i, j, weight in around)
                    if sample > value[number, channel, row, column]:
                        value[number, channel, row, column] = sample
                        at_y[number, channel, row, column], at_x[number, channel, row, column] = y, x
    return value, at_y, at_x


def roi_align_max_gradient(gradient, rois, at_y, at_x, shape):
    """As `roi_align_gradient`, each bin's gradient to the cells around its largest sample."""
    total = np.zeros(shape)
    for (number, channel, row, column), value in np.ndenumerate(gradient):
        y, x = at_y[number, channel, row, column], at_x[number, channel, row, column]
        if y != -1 and x != -1:
            for i, j, weight in corners(y, x, *shape[2:]):
                total[int(rois[number][0]), channel, i, j] += weight * value
    return total
