"use strict";
// The atlas of filters: the full-scale graph, and what one filter answers to.
if (DATA.filters) {
  const { columns, width, height, picture } = DATA.filters;
  const href = pictureOf(picture);
  let zoom = 1;
  let chosen = null;

  const scale = (to) => {
    zoom = Math.max(1, Math.min(8, to));
    byId("sheet").style.width = `${100 * zoom}%`;
  };

  // A part of the graph, by its pixels.
  const crop = ([x, y, across, down], name) =>
    element(
      "svg",
      { viewBox: `${x} ${y} ${across} ${down}`, role: "img", "aria-label": name },
      element("image", { href, width, height, preserveAspectRatio: "none" }),
    );

  const histogram = (title, rows) =>
    rows && rows.length ? element("div", {}, element("h2", {}, title), shares(rows.map(([name, share]) => [name, share, `${(100 * share).toFixed(1)} %`]))) : null;

  const show = (rest) => {
    chosen = columns.findIndex((column) => String(column.filter) === rest);
    [...byId("sheet").querySelectorAll("button")].forEach((button, index) => {
      if (index === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    if (chosen < 0) {
      byId("filter").replaceChildren();
      return;
    }
    const column = columns[chosen];
    const entropy = column.entropy === null ? "never active" : `entropy ${column.entropy.toFixed(3)} nats`;
    const tiles = column.tiles.map((tile) => {
      const lines = tile.files.map((file, index) => element("p", {}, `#${tile.ranks[index]} ${file}: ${tile.activations[index].toPrecision(3)}`));
      return element("div", {}, crop(tile.place, `ranks ${tile.ranks.join(", ")}`), ...lines);
    });
    byId("filter").replaceChildren(
      element("h2", {}, `Filter ${column.filter}`),
      element("p", {}, `#${column.rank} by maximum activation, ${column.max.toPrecision(3)}; ${entropy}.`),
      ...[histogram("Votes for", column.votes), histogram("Predicted classes where it is strongest", column.classes)].filter(Boolean),
      element("h2", {}, "Images by rank"),
      element("div", { class: "tiles" }, ...tiles),
    );
  };

  byId("sheet").append(
    element("img", { src: href, alt: "Filters by maximum activation, from left to right; images by rank, from top to bottom" }),
    ...columns.map((column) => {
      const button = element("button", {
        type: "button",
        "aria-label": `Filter ${column.filter}`,
        title: `Filter ${column.filter}`,
        onclick: () => (location.hash = `filters/${column.filter}`),
      });
      button.style.left = `${(100 * column.place[0]) / width}%`;
      button.style.width = `${(100 * column.place[1]) / width}%`;
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
      const next = Math.max(0, Math.min(columns.length - 1, (chosen ?? -1) + (event.key === "ArrowRight" ? 1 : -1)));
      location.hash = `filters/${columns[next].filter}`;
    }
  };
}
