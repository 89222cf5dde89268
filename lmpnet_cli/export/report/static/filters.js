"use strict";
// The filter atlas: the full-scale visualisation of the filters, and the details of one filter.
if (DATA.filters) {
  const { columns, width, height, image } = DATA.filters;
  const href = imageUrl(image);
  let zoom = 1;
  let selected = -1; // index of the column

  const scale = (to) => {
    zoom = Math.max(1, Math.min(8, to));
    byId("sheet").style.width = `${100 * zoom}%`;
  };

  // Cuts a box out of the visualisation, in pixels.
  const crop = ([x, y, boxWidth, boxHeight], name) =>
    element(
      "svg",
      { viewBox: `${x} ${y} ${boxWidth} ${boxHeight}`, role: "img", "aria-label": name },
      element("image", { href, width, height, preserveAspectRatio: "none" }),
    );

  const histogram = (title, rows) =>
    rows && rows.length ? element("div", {}, element("h2", {}, title), shares(rows.map(([name, share]) => [name, share, `${(100 * share).toFixed(1)} %`]))) : null;

  const show = (detail) => {
    selected = columns.findIndex((column) => String(column.filter) === detail);
    [...byId("sheet").querySelectorAll("button")].forEach((button, index) => {
      if (index === selected) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    if (selected < 0) {
      byId("filter").replaceChildren();
      return;
    }
    const column = columns[selected];
    const entropy = column.entropy === null ? "never active" : `entropy ${column.entropy.toFixed(3)} nats`;
    const tiles = column.tiles.map((tile) => {
      const lines = tile.files.map((file, index) => element("p", {}, `#${tile.ranks[index]} ${file}: ${tile.activations[index].toPrecision(3)}`));
      return element("div", {}, crop(tile.box, `ranks ${tile.ranks.join(", ")}`), ...lines);
    });
    byId("filter").replaceChildren(
      element("h2", {}, `Filter ${column.filter}`),
      element("p", {}, `#${column.rank} by maximum activation, ${column.max.toPrecision(3)}; ${entropy}.`),
      ...[histogram("Votes for keypoints", column.votes), histogram("Predicted classes of its strongest images", column.classes)].filter(Boolean),
      element("h2", {}, "Images by rank"),
      element("div", { class: "tiles" }, ...tiles),
    );
  };

  byId("sheet").append(
    element("img", { src: href, alt: "Filters from left to right by maximum activation, images from top to bottom by rank" }),
    ...columns.map((column) => {
      const button = element("button", {
        type: "button",
        "aria-label": `Filter ${column.filter}`,
        title: `Filter ${column.filter}`,
        onclick: () => (location.hash = `filters/${column.filter}`),
      });
      button.style.left = `${(100 * column.left) / width}%`;
      button.style.width = `${(100 * column.width) / width}%`;
      return button;
    }),
  );
  byId("larger").addEventListener("click", () => scale(zoom * 1.5));
  byId("smaller").addEventListener("click", () => scale(zoom / 1.5));
  byId("whole").addEventListener("click", () => scale(1));
  sections.filters = show;
  keys.filters = (event) => {
    if (event.key === "+") scale(zoom * 1.5);
    else if (event.key === "-") scale(zoom / 1.5);
    else if (event.key === "0") scale(1);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const next = Math.max(0, Math.min(columns.length - 1, selected + (event.key === "ArrowRight" ? 1 : -1)));
      location.hash = `filters/${columns[next].filter}`;
    }
  };
}
