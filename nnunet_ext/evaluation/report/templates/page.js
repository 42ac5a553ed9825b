"use strict";

// Tables: a click on a title sorts by it, another one turns the order round. What is no number in a column of
// numbers, a dash, stays at the end.
function sortBy(header) {
  const table = header.closest("table");
  const headers = [...header.parentNode.children];
  const column = headers.indexOf(header);
  const descending = header.getAttribute("aria-sort") === "ascending";
  const numeric = header.classList.contains("number");
  const keyOf = (row) => {
    const text = row.children[column].textContent.trim();
    return numeric ? parseFloat(text) : text;
  };
  const missing = (key) => key === "-" || Number.isNaN(key);
  const keyed = [...table.tBodies[0].rows].map((row) => [keyOf(row), row]);
  keyed.sort(([a], [b]) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -order : order;
  });
  headers.forEach((each) => each.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

document.addEventListener("click", (event) => {
  const header = event.target.closest(".sortable th");
  if (header) sortBy(header);
});

// Plots: drawn when they come into sight. Browsers keep few 3D drawings at a time, so the one that was opened
// last is the only one; the others keep a still, which is also what is printed.
let turning = null;

async function keepStill(figure) {
  const drawing = figure.querySelector(".drawing");
  let still = figure.querySelector(".still");
  if (!still) {
    still = Object.assign(document.createElement("img"), { className: "still", alt: "surfaces" });
    drawing.after(still);
  }
  still.src = await Plotly.toImage(drawing, { format: "png", width: 700, height: 420 });
}

function letGo(figure) {
  const drawing = figure.querySelector(".drawing");
  Plotly.purge(drawing);
  delete figure.dataset.drawn;
  const details = figure.closest("details");
  if (details) details.open = false;
}

async function draw(figure) {
  if (figure.dataset.drawn) return;
  figure.dataset.drawn = "yes";
  const turns = figure.classList.contains("turns");
  if (turns && turning && turning !== figure) letGo(turning);
  if (turns) turning = figure;
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  const drawing = figure.querySelector(".drawing");
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  await Plotly.newPlot(drawing, data, layout, options);
  if (!turns) return;
  await keepStill(figure);
  drawing.on("plotly_relayout", () => keepStill(figure));
}

const sight = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "300px" },
);
document.querySelectorAll("figure.plot").forEach((figure) => sight.observe(figure));
const openPlots = () => [...document.querySelectorAll("figure.plot:not(.turns)")].filter((figure) => {
  const details = figure.closest("details");
  return !details || details.open;
});

// Paper has a width of its own, and nothing there can be scrolled.
const PAPER_PX = 680;
window.addEventListener("beforeprint", () => openPlots().forEach(async (figure) => {
  await draw(figure);
  await Plotly.relayout(figure.querySelector(".drawing"), { width: PAPER_PX });
}));
window.addEventListener("afterprint", () => openPlots().forEach((figure) =>
  Plotly.relayout(figure.querySelector(".drawing"), { width: null, autosize: true })));

// What is folded away is not part of the page until it is opened.
document.addEventListener("toggle", (event) => {
  const template = event.target.open && event.target.querySelector(":scope > template");
  if (template) template.replaceWith(template.content);
}, true);
