"use strict";
// The gallery of images with their keypoints, and a page for each keypoint.
let makeCard = null; // draws the card of an image with notes; it opens the viewer, which goes through the images of a list
if (DATA.gallery) {
  const { names, colors, skeleton, images } = DATA.gallery;
  const corrections = makeCorrections(DATA.gallery);
  const shown = names.map(() => true);
  let windows = true; // whether the windows of the objects are drawn
  let filtered = images; // the images that pass the filters, sorted
  let outdated = false; // whether corrections were made since the section was drawn
  let patchIndex = null; // index of the keypoint whose patches were drawn last

  const found = (image) => image.points.filter(Boolean).length;
  const describe = (image, index) => {
    const [x, y, score] = image.points[index];
    return `${names[index]}: ${corrections.change(image, index) || `score ${score.toFixed(2)}`}, x ${x.toFixed(1)}, y ${y.toFixed(1)}`;
  };

  // The window of the object, or null where it is the whole image.
  const frameOf = ({ window, width, height }) => (String(window) === String([0, 0, width, height]) ? null : window);

  // The radius of a point, in pixels of the image. More than 20 keypoints are dots without numbers, as on overlays.
  const radiusOf = (image, size, numbered) => size * (numbered ? 1 : 0.35) * Math.max(image.width, (image.height * 4) / 3); // cards have a ratio of 4 to 3

  // Draws an image in the coordinates of its own pixels; the centre of pixel x is at x + 0.5.
  const draw = (image, size, numbered = found(image) <= 20) => {
    const href = imageUrl(image.id);
    const svg = element("svg", { viewBox: `0 0 ${image.width} ${image.height}`, role: "img", "aria-label": image.file });
    if (href) svg.append(element("image", { href, width: image.width, height: image.height, preserveAspectRatio: "none" }));
    const frame = windows && frameOf(image);
    if (frame) {
      const [x, y, width, height] = frame;
      const radius = radiusOf(image, size, numbered);
      for (const [stroke, share] of [["#000", 0.25], ["#fff", 0.12]]) {
        svg.append(element("rect", { class: "window", x, y, width, height, fill: "none", stroke, "stroke-width": radius * share }));
      }
    }
    svg.append(element("g", { class: "points" }, ...drawPoints(image, size, numbered)));
    return svg;
  };

  // Lines come first and the first keypoint last, above the others.
  const drawPoints = (image, size, numbered) => {
    const radius = radiusOf(image, size, numbered);
    const marks = [];
    for (const numbers of skeleton) {
      const ends = numbers.map((number) => number - 1);
      if (!ends.every((index) => image.points[index] && shown[index])) continue;
      const [[x1, y1], [x2, y2]] = ends.map((index) => image.points[index].map((value) => value + 0.5));
      for (const [stroke, share] of [["#000", 0.25], ["#fff", 0.12]]) {
        marks.push(element("line", { class: "edge", x1, y1, x2, y2, stroke, "stroke-width": radius * share }));
      }
    }
    for (let index = names.length - 1; index >= 0; index--) {
      if (!image.points[index] || !shown[index]) continue;
      const [x, y] = image.points[index];
      const mark = element(
        "g",
        { class: "point", "data-keypoint": index, transform: `translate(${x + 0.5} ${y + 0.5})` },
        element("title", {}, describe(image, index)),
        element("circle", { r: radius, fill: colors[index], stroke: "#000", "stroke-width": radius / 7 }),
      );
      if (numbered) {
        const place = { "font-size": radius * 1.25, "text-anchor": "middle", "dominant-baseline": "central" };
        mark.append(element("text", { ...place, fill: "#000" }, String(index + 1)));
      }
      marks.push(mark);
    }
    return marks;
  };

  const score = (image) => (image.score === null ? "no keypoints" : `mean score ${image.score.toFixed(2)}`);
  const label = (image) => (image.label === null ? "" : `Predicted: ${image.label}, ${(100 * image.probability).toFixed(0)} %`);

  const orders = {
    name: () => 0,
    low: (a, b) => (a.score ?? -1) - (b.score ?? -1),
    high: (a, b) => (b.score ?? -1) - (a.score ?? -1),
    few: (a, b) => found(a) - found(b),
  };

  const states = {
    all: () => true,
    done: (state) => ["corrected", "good"].includes(state),
    bad: (state) => state === "bad",
    open: (state) => !state,
  };

  const folderOf = ({ file }) => file.slice(0, Math.max(0, file.lastIndexOf("/")));

  const badge = (image) => {
    const state = corrections.state(image.file);
    return state ? element("b", { class: `state ${state}` }, state) : null;
  };

  makeCard = (image, list, ...notes) =>
    element(
      "button",
      { type: "button", class: "card", onclick: () => viewer.show(list.indexOf(image), list) },
      draw(image, 0.03),
      badge(image),
      element("span", {}, image.file),
      ...notes.map((note) => element("span", { class: "quiet" }, note)),
    );

  const cards = () => {
    const wanted = byId("class").value;
    const folder = byId("folder").value;
    const isWanted = states[byId("state").value];
    const text = byId("find").value.toLowerCase();
    filtered = images.filter(
      (image) =>
        (!wanted || image.label === wanted.slice(1)) &&
        (!folder || folderOf(image) === folder.slice(1)) &&
        isWanted(corrections.state(image.file)) &&
        image.file.toLowerCase().includes(text),
    );
    filtered.sort(orders[byId("sort").value]);
    const page = paged("gallery", filtered, 48, cards);
    byId("cards").replaceChildren(
      ...page.map((image) => makeCard(image, filtered, `${score(image)}, ${found(image)} of ${names.length} keypoints. ${label(image)}`)),
    );
  };

  const dot = (index) => {
    const made = element("span", { class: "dot" });
    made.style.background = colors[index];
    return made;
  };

  const viewer = makeViewer({
    names,
    dot,
    draw,
    drawPoints,
    label,
    corrections,
    changed: () => {
      outdated = true;
      countCorrections();
    },
    closed: () => {
      if (outdated) route();
      outdated = false;
    },
  });

  const toggle = (index) => {
    shown[index] = !shown[index];
    byId("legend").children[index].setAttribute("aria-pressed", shown[index]);
    redraw();
  };

  const toggleWindows = () => {
    windows = !windows;
    byId("windows").setAttribute("aria-pressed", windows);
    redraw();
  };

  const redraw = () => {
    if (current === "gallery") cards();
    if (viewer.isOpen()) viewer.show();
  };

  byId("legend").append(
    ...names.map((name, index) =>
      element(
        "button",
        { type: "button", "aria-pressed": true, title: `Show or hide (${index + 1})`, onclick: () => toggle(index) },
        dot(index),
        `${index + 1} ${name}`,
      ),
    ),
  );
  byId("windows").hidden = !images.some(frameOf);
  byId("windows").addEventListener("click", toggleWindows);
  const counts = new Map();
  for (const image of images) if (image.label !== null) counts.set(image.label, (counts.get(image.label) || 0) + 1);
  byId("class").append(
    element("option", { value: "" }, `all (${images.length})`),
    ...[...counts].sort().map(([name, count]) => element("option", { value: `=${name}` }, `${name} (${count})`)),
  );
  const folders = [...new Set(images.map(folderOf))].sort();
  byId("folder").closest("label").hidden = folders.length < 2;
  byId("folder").append(
    element("option", { value: "" }, "all"),
    ...folders.map((folder) => element("option", { value: `=${folder}` }, folder || "(not in a folder)")),
  );
  for (const [id, event] of [["class", "change"], ["folder", "change"], ["state", "change"], ["sort", "change"], ["find", "input"]]) {
    byId(id).addEventListener(event, () => {
      pages.gallery = 0;
      cards();
    });
  }

  const countCorrections = () => {
    const count = corrections.count();
    byId("save").disabled = count === 0;
    byId("save").textContent = count ? `Save corrections (${count})` : "Save corrections";
  };
  byId("save").addEventListener("click", corrections.save);
  countCorrections();

  // Draws the patch around one keypoint in every image, highest score first.
  const patches = (detail) => {
    const index = Math.max(0, Math.min(names.length - 1, Math.trunc(Number(detail || 1)) - 1 || 0));
    if (index !== patchIndex) pages.keypoints = 0;
    patchIndex = index;
    const having = images.filter((image) => image.points[index]).sort((a, b) => b.points[index][2] - a.points[index][2]);
    byId("tabs").replaceChildren(
      ...names.map((name, position) =>
        element(
          "button",
          { type: "button", "aria-current": position === index && "true", onclick: () => (location.hash = `keypoints/${position + 1}`) },
          dot(position),
          `${position + 1} ${name}`,
        ),
      ),
    );
    const total = having.reduce((sum, image) => sum + image.points[index][2], 0);
    const mean = having.length ? total / having.length : 0;
    byId("statistics").replaceChildren(
      shares([
        ["found in", having.length / Math.max(1, images.length), `${having.length} of ${images.length} images`],
        ["mean score", mean, mean.toFixed(2)],
      ]),
    );
    const page = paged("keypoints", having, 96, () => patches(detail));
    byId("patches").replaceChildren(
      ...page.map((image) => {
        const [x, y, value] = image.points[index];
        const half = 0.16 * Math.max(image.width, image.height);
        const svg = draw(image, 0.016, true);
        svg.setAttribute("viewBox", `${x + 0.5 - half} ${y + 0.5 - half} ${2 * half} ${2 * half}`);
        for (const mark of svg.querySelectorAll(".point, .edge")) if (Number(mark.dataset.keypoint) !== index) mark.remove();
        // show a ring in place of the disc, so that the part below it is visible
        for (const number of svg.querySelectorAll(".point text")) number.remove();
        for (const ring of svg.querySelectorAll(".point circle")) {
          const outline = ring.cloneNode();
          ring.before(outline);
          for (const [each, color, width] of [[outline, "#000", half / 10], [ring, colors[index], half / 20]]) {
            each.setAttribute("fill", "none");
            each.setAttribute("stroke", color);
            each.setAttribute("stroke-width", width);
          }
        }
        const open = () => viewer.show(having.indexOf(image), having);
        return element(
          "button",
          { type: "button", class: "card", title: `${image.file}\n${describe(image, index)}`, onclick: open },
          svg,
          element("span", {}, corrections.change(image, index) || value.toFixed(2)),
        );
      }),
    );
  };

  sections.gallery = cards;
  sections.keypoints = patches;
  keys.gallery = (event) => {
    if (/^[1-9]$/.test(event.key) && names.length >= Number(event.key)) toggle(Number(event.key) - 1);
    else if (event.key === "w" && !byId("windows").hidden) toggleWindows();
    else if (viewer.isOpen()) viewer.key(event);
  };
  keys.keypoints = (event) => {
    if (viewer.isOpen()) keys.gallery(event);
  };
}
