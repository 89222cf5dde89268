"use strict";
// Shared by all sections: data, elements, paging, the section in the address, and the light and dark theme.
const DATA = JSON.parse(document.getElementById("data").textContent);
const sections = {}; // name of a section -> function that draws it, given the rest of the address
const keys = {}; // name of a section -> function that handles a key there

function byId(id) {
  return document.getElementById(id);
}

// Text is always set as text, so that a file name can never become markup.
function element(name, attributes = {}, ...children) {
  const svg = ["svg", "image", "circle", "rect", "line", "text", "g", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// The URL of an embedded image, or null where the file was missing when the report was made.
function imageUrl(id) {
  const script = byId(id);
  return script ? `data:image/webp;base64,${script.textContent}` : null;
}

// Draws the page buttons in every element with data-pages="name", and returns the items of the current page.
const pages = {};
function paged(name, items, size, redraw) {
  const last = Math.max(0, Math.ceil(items.length / size) - 1);
  const page = Math.min(pages[name] || 0, last);
  const go = (to) => {
    pages[name] = Math.max(0, Math.min(last, to));
    redraw();
  };
  keys.page = (step) => go(page + step);
  for (const bar of document.querySelectorAll(`[data-pages="${name}"]`)) {
    bar.hidden = last === 0 && bar !== document.querySelector(`[data-pages="${name}"]`);
    const range = items.length ? `${page * size + 1} to ${Math.min(items.length, (page + 1) * size)} of ${items.length}` : "no images";
    bar.replaceChildren(
      element("button", { type: "button", disabled: page === 0, title: "First page", onclick: () => go(0) }, "«"),
      element("button", { type: "button", disabled: page === 0, title: "Previous page (PageUp)", onclick: () => go(page - 1) }, "‹"),
      element("span", {}, range),
      element("button", { type: "button", disabled: page === last, title: "Next page (PageDown)", onclick: () => go(page + 1) }, "›"),
      element("button", { type: "button", disabled: page === last, title: "Last page", onclick: () => go(last) }, "»"),
    );
  }
  return items.slice(page * size, (page + 1) * size);
}

// Rows of a name, a bar and a value; shares are between 0 and 1.
function shares(rows) {
  const box = element("div", { class: "share" });
  for (const [name, share, value] of rows) {
    const bar = element("i");
    bar.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
    box.append(element("span", {}, name), element("span", {}, bar), element("span", { class: "quiet" }, value));
  }
  return box;
}

let current = null;
function route() {
  const names = [...document.querySelectorAll("[data-section]")].map((link) => link.dataset.section);
  const [name, detail] = location.hash.slice(1).split("/");
  current = names.includes(name) ? name : names[0];
  for (const link of document.querySelectorAll("[data-section]")) {
    if (link.dataset.section === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    byId(`section-${link.dataset.section}`).hidden = link.dataset.section !== current;
  }
  delete keys.page; // the section that is drawn next sets it again, if it has pages
  if (byId("viewer").open) byId("viewer").close();
  if (sections[current]) sections[current](detail);
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  if (event.key === "d") switchTheme();
  else if (!byId("viewer").open && (event.key === "PageDown" || event.key === "PageUp") && keys.page) {
    event.preventDefault();
    keys.page(event.key === "PageDown" ? 1 : -1);
  } else if (keys[current]) keys[current](event);
});
byId("theme").addEventListener("click", switchTheme);
window.addEventListener("hashchange", route);
