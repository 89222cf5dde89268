"use strict";
// The viewer of one image, in which its points are corrected with the mouse, by touch or with the keyboard.
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const DRAG_FROM = 3; // pixels of the screen; a shorter way is a click

// `changed` is called after each correction, `closed` when the viewer is closed.
function makeViewer({ names, dot, draw, drawPoints, label, corrections, changed, closed }) {
  const dialog = byId("viewer");
  let list = []; // the images that the viewer goes through
  let position = 0; // of the image that it shows
  let image = null;
  let adding = null; // index of the missing keypoint that the next click on the image places
  let drag = null; // the point that is dragged: its index, its mark, and where it was taken
  let numbered = true; // stays the same while points are added and hidden
  let svg, rows, actions, hint;

  const pointOf = (target) => {
    const mark = target.closest(".point");
    return mark ? Number(mark.dataset.keypoint) : null;
  };

  // Converts the position of a pointer to pixels of the image.
  const pixelAt = (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [x - 0.5, y - 0.5];
  };

  // Draws what a correction changes. The focus stays where it was, or in the same row of the table.
  const refresh = (focus = document.activeElement?.dataset.focus) => {
    svg.querySelector(".points").replaceChildren(...drawPoints(image, 0.016, numbered));
    for (const mark of svg.querySelectorAll(".point")) {
      mark.setAttribute("tabindex", 0);
      mark.dataset.focus = `point-${mark.dataset.keypoint}`;
      const disc = mark.querySelector("circle");
      mark.append(element("circle", { class: "grip", r: 1.7 * disc.getAttribute("r"), fill: "transparent" })); // for fingers
    }
    svg.classList.toggle("adding", adding !== null);
    rows.replaceChildren(...names.map(row));
    actions.replaceChildren(...imageActions());
    hint.textContent =
      adding === null
        ? "Drag a point to move it. Click a point, then use the arrow keys (Shift: 10 pixels) or Delete."
        : `Click on the image to place ${names[adding]}, or press Escape.`;

    if (!focus) return;
    const find = (condition) => dialog.querySelector(`[data-focus${condition}]`);
    const again = find(`="${focus}"`) || find(`^="${focus.replace(/[A-Z]\w+$/, "")}"`); // or another button of its row
    again?.focus({ preventScroll: true });
  };

  const correct = (name, index, ...rest) => {
    corrections[name](image, index, ...rest);
    adding = null;
    refresh();
    changed();
  };

  const startAdding = (event, index) => {
    adding = index;
    if (event.detail) return refresh();
    // pressed by a key: the point appears in the middle, to be moved by keys
    const [x, y, width, height] = image.window || [0, 0, image.width, image.height];
    correct("place", index, x + width / 2, y + height / 2);
    refresh(`point-${index}`);
  };

  const row = (name, index) => {
    const point = image.points[index];
    const change = corrections.change(image, index);
    const button = (text, title, onclick) =>
      element("button", { type: "button", "data-focus": `row-${index}-${text}`, title: `${title} ${name}`, onclick }, text);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, dot(index), ` ${index + 1} ${name}`),
      element("td", {}, change || (point ? point[2].toFixed(2) : "not found")),
      element("td", {}, point ? `${point[0].toFixed(1)}, ${point[1].toFixed(1)}` : ""),
      element(
        "td",
        { class: "actions" },
        point
          ? button("Hide", "Hide (Delete)", () => correct("hide", index))
          : button("Add", "Click on the image to add", (event) => startAdding(event, index)),
        change && change !== "added" ? button("Reset", "Reset to what was found:", () => correct("reset", index)) : null,
      ),
    );
  };

  const imageActions = () => {
    const state = corrections.state(image.file);
    const toggle = (value, title) => {
      const pressed = corrections.marked(image.file) === value;
      const name = value[0].toUpperCase() + value.slice(1);
      return element(
        "button",
        { type: "button", "data-focus": value, "aria-pressed": String(pressed), title, onclick: () => mark(value) },
        name,
      );
    };
    return [
      toggle("good", "All points are correct as they are (g)"),
      toggle("bad", "The image is not usable (b)"),
      state ? element("span", { class: `state ${state}` }, state) : null,
    ].filter(Boolean);
  };

  const mark = (value) => {
    corrections.mark(image.file, value);
    refresh();
    changed();
  };

  const show = (to = position, images = list) => {
    list = images;
    position = Math.max(0, Math.min(list.length - 1, to));
    image = list[position];
    adding = drag = null;
    numbered = image.points.filter(Boolean).length <= 20;
    svg = draw(image, 0.016, numbered);
    svg.setAttribute("role", "group"); // its points can have the focus
    rows = element("tbody");
    actions = element("span", { class: "actions" });
    hint = element("p", { class: "quiet", "aria-live": "polite" });

    const columns = ["Keypoint", "Score", "x, y", ""].map((text) => element("th", { scope: "col" }, text));
    const step = (by, title, text) =>
      element("button", { type: "button", disabled: !list[position + by], title, onclick: () => show(position + by) }, text);
    dialog.replaceChildren(
      element(
        "div",
        { class: "paging" },
        step(-1, "Previous (left arrow, PageUp)", "‹"),
        step(1, "Next (right arrow, PageDown)", "›"),
        element("span", {}, `${position + 1} of ${list.length}`),
        actions,
        element("button", { type: "button", title: "Close (Escape)", onclick: () => dialog.close() }, "Close"),
      ),
      element(
        "div",
        { class: "view" },
        svg,
        element(
          "div",
          {},
          element("h2", {}, image.file),
          element("p", { class: "quiet" }, `${image.width} x ${image.height} pixels. ${label(image)}`),
          hint,
          element("table", {}, element("thead", {}, element("tr", {}, ...columns)), rows),
        ),
      ),
    );
    svg.addEventListener("touchstart", (event) => {
      if (pointOf(event.target) !== null) event.preventDefault(); // a finger on a point drags it and does not scroll
    });
    svg.addEventListener("pointerdown", take);
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerup", drop);
    svg.addEventListener("pointercancel", () => {
      drag = null;
      refresh();
    });
    svg.addEventListener("click", (event) => {
      if (adding !== null) correct("place", adding, ...pixelAt(event));
    });
    if (!dialog.open) dialog.showModal();
    refresh();
  };

  // Where discs overlap, the nearest point is taken.
  const take = (event) => {
    if (adding !== null || event.button !== 0 || pointOf(event.target) === null) return;
    const [x, y] = pixelAt(event);
    const distance = (each) => Math.hypot(image.points[pointOf(each)][0] - x, image.points[pointOf(each)][1] - y);
    const [nearest] = [...svg.querySelectorAll(".point")].sort((a, b) => distance(a) - distance(b));
    const index = pointOf(nearest);
    const offset = [image.points[index][0] - x, image.points[index][1] - y];
    drag = { index, mark: nearest, offset, from: [event.clientX, event.clientY], moved: false };
    svg.setPointerCapture(event.pointerId);
  };

  const move = (event) => {
    if (!drag) return;
    drag.moved ||= Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) >= DRAG_FROM;
    if (!drag.moved) return;
    const [x, y] = pixelAt(event).map((value, axis) => value + drag.offset[axis] + 0.5);
    drag.mark.setAttribute("transform", `translate(${x} ${y})`);
    drag.mark.classList.add("moving");
  };

  const drop = (event) => {
    if (!drag) return;
    const { index, mark, offset, moved } = drag;
    drag = null;
    if (!moved) return mark.focus();
    // the focus leaves the point, so that the next arrow key goes to another image and does not move it
    mark.blur();
    correct("place", index, ...pixelAt(event).map((value, axis) => value + offset[axis]));
  };

  const key = (event) => {
    const index = pointOf(event.target);
    if (index !== null && STEPS[event.key]) {
      const length = event.shiftKey ? 10 : 1;
      correct("place", index, ...STEPS[event.key].map((step, axis) => image.points[index][axis] + length * step));
    } else if (index !== null && ["Delete", "Backspace"].includes(event.key)) {
      correct("hide", index);
      refresh(`row-${index}-Add`);
    } else if (event.key === "Escape" && (adding !== null || index !== null)) {
      adding = null;
      document.activeElement.blur();
      refresh();
    } else if (["ArrowRight", "PageDown"].includes(event.key)) show(position + 1);
    else if (["ArrowLeft", "PageUp"].includes(event.key)) show(position - 1);
    else if (event.key === "g") mark("good");
    else if (event.key === "b") mark("bad");
    else return;
    event.preventDefault();
  };

  dialog.addEventListener("close", closed);
  return { show, key, isOpen: () => dialog.open };
}
