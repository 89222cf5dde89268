"use strict";
// What was corrected in this page: the points of each object, and whether an image is good or bad. Corrections stay in
// the browser where it allows that, and are saved as a COCO keypoint file.
function makeCorrections({ images, names, category, skeleton, info, checksum }) {
  const key = `lmpnet corrections ${checksum}`;
  const marks = new Map(); // file name -> "good" or "bad"
  const objects = new Map(); // file name -> its objects; each has an entry in `images`
  let saved = true; // whether the last download contains all corrections

  for (const image of images) {
    image.original = image.points;
    image.points = [...image.points]; // an entry that is no longer that of `original` was corrected
    if (!objects.has(image.file)) objects.set(image.file, []);
    objects.get(image.file).push(image);
  }

  const isCorrected = (image, index) => image.points[index] !== image.original[index];

  // What was done to a point, in a word; empty where nothing was.
  const change = (image, index) => {
    if (!isCorrected(image, index)) return "";
    if (!image.points[index]) return "hidden";
    return image.original[index] ? "moved" : "added";
  };

  // The state of an image with all its objects: corrected, good, bad, or empty where nobody has judged it.
  const state = (file) => {
    if (marks.get(file) === "bad") return "bad";
    const corrected = objects.get(file).some((image) => names.some((_, index) => isCorrected(image, index)));
    return corrected ? "corrected" : marks.get(file) || "";
  };
  const count = () => [...objects.keys()].filter(state).length;

  const keep = () => {
    const points = images.flatMap((image, position) =>
      names.flatMap((_, index) => (isCorrected(image, index) ? [[position, index, image.points[index]]] : [])),
    );
    try {
      localStorage.setItem(key, JSON.stringify({ saved, marks: [...marks], points }));
    } catch {
      // no storage for pages from disk, or no room: the page warns before it is closed
    }
  };

  const restore = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(key));
      if (!kept) return;
      for (const [file, mark] of kept.marks) marks.set(file, mark);
      for (const [position, index, point] of kept.points) images[position].points[index] = point;
      saved = kept.saved;
    } catch {
      // as above: the page begins without corrections
    }
  };

  const changed = () => {
    saved = count() === 0;
    keep();
  };

  // Positions are inside the image and have two decimals, as in keypoints.json. A person's point has the score 1.
  const place = (image, index, x, y) => {
    const inside = (value, side) => Math.round(100 * Math.max(0, Math.min(side - 1, value))) / 100;
    image.points[index] = [inside(x, image.width), inside(y, image.height), 1];
    changed();
  };

  const hide = (image, index) => {
    image.points[index] = null;
    changed();
  };

  const reset = (image, index) => {
    image.points[index] = image.original[index];
    changed();
  };

  const mark = (file, value) => {
    if (marks.get(file) === value) marks.delete(file);
    else marks.set(file, value);
    changed();
  };

  // Readers take x = y = 0 for "not labelled", so a point in the very corner moves by a hundredth of a pixel.
  const coordinates = ([x, y]) => [x === 0 && y === 0 ? 0.01 : x, y];

  const extent = (points) => {
    if (!points.length) return [0, 0, 0, 0];
    const low = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
    const high = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
    return [...low, ...high.map((value, axis) => Math.round(100 * (value - low[axis])) / 100)];
  };

  // A window for points on an image in which no object was found: their extent with a margin, inside the image.
  const windowAround = (points, { width, height }) => {
    const [x, y, w, h] = extent(points);
    const margin = Math.max(0.25 * Math.max(w, h), 0.05 * Math.max(width, height));
    const [left, top] = [Math.max(0, x - margin), Math.max(0, y - margin)];
    const [right, bottom] = [Math.min(width, x + w + margin), Math.min(height, y + h + margin)];
    return [left, top, right - left, bottom - top].map((value) => Math.round(100 * value) / 100);
  };

  const annotation = (image) => {
    const points = image.points.filter(Boolean).map(coordinates);
    const bbox = image.window || (image.empty ? windowAround(points, image) : extent(points));
    return {
      category_id: 1,
      keypoints: image.points.flatMap((point) => (point ? [...coordinates(point), 2] : [0, 0, 0])),
      num_keypoints: points.length,
      bbox,
      area: Math.round(100 * bbox[2] * bbox[3]) / 100,
      iscrowd: 0,
      segmentation: [],
    };
  };

  // The COCO file: only images that are corrected or good, with an annotation for each object, and the names of the bad.
  const coco = () => {
    const content = {
      info: { ...info, date_created: new Date().toISOString() },
      images: [],
      categories: [{ id: 1, name: category, keypoints: names, skeleton }],
      annotations: [],
      bad: [...objects.keys()].filter((file) => state(file) === "bad"),
    };
    for (const [file, all] of objects) {
      if (!["corrected", "good"].includes(state(file))) continue;
      const id = content.images.length + 1;
      content.images.push({ id, file_name: file, width: all[0].width, height: all[0].height, lmpnet: { state: state(file) } });
      for (const image of all) {
        if (image.empty && !image.points.some(Boolean)) continue; // there is no object
        content.annotations.push({ id: content.annotations.length + 1, image_id: id, ...annotation(image) });
      }
    }
    return content;
  };

  const save = () => {
    const href = URL.createObjectURL(new Blob([JSON.stringify(coco(), null, 1)], { type: "application/json" }));
    element("a", { href, download: "corrections.json" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000); // the browser may still be asking where to put the file
    saved = true;
    keep();
  };

  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
  restore();
  return { change, state, count, place, hide, reset, mark, marked: (file) => marks.get(file), save };
}
