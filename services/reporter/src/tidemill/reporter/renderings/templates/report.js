// Sorting, finding and charts. Everything but the charts is on the page without this.
const FOLDED = 25, FEW_MORE = 10;
const value = (row, at) => {
  const cell = row.children[at];
  return "v" in cell.dataset ? (cell.dataset.v === "" ? null : Number(cell.dataset.v)) : cell.textContent.trim();
};
const order = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
const sorted = (rows, at, falling) =>
  rows.map((row) => [value(row, at), row])
    .sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : falling ? order(b, a) : order(a, b)))
    .map(([, row]) => row);
const made = (tag, properties) => Object.assign(document.createElement(tag), properties);

document.querySelectorAll("table.sorted").forEach((table) => {
  const body = table.tBodies[0];
  const texts = new Map();
  let rows = [...body.rows];
  let folded = rows.length > FOLDED + FEW_MORE;
  let wanted = "";
  const found = (row) => {
    if (!texts.has(row)) texts.set(row, [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase());
    return texts.get(row).includes(wanted);
  };
  // Out of the page meanwhile: each row that moves within it costs as much as all.
  const show = () => {
    body.remove();
    rows.forEach((row, at) => {
      row.hidden = wanted ? !found(row) : folded && at >= FOLDED;
      body.append(row);
    });
    table.append(body);
  };
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = made("button", { title: "Sort by this column" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const falling = before ? before === "ascending" : head.classList.contains("n");
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      rows = sorted(rows, at, falling);
      show();
    });
  });
  if (!folded) return;
  const all = made("button", { className: "all", textContent: `Show all ${rows.length.toLocaleString("en")} rows` });
  all.addEventListener("click", () => { folded = false; all.remove(); show(); });
  const find = made("input", { className: "find", type: "search", placeholder: "Find in this table" });
  find.setAttribute("aria-label", "Find in this table");
  find.addEventListener("input", () => { wanted = find.value.trim().toLowerCase(); show(); });
  const box = table.closest(".scroll");
  box.after(all);
  box.before(find);
  show();
});

// Vega-Lite asks the cell around a point for what only the point itself knows.
const patch = (spec) => {
  for (const mark of spec.marks) {
    const said = mark.name?.endsWith("voronoi") && mark.encode.update.tooltip;
    if (said) said.signal = said.signal.replaceAll("datum[", "datum.datum[");
  }
  return spec;
};
const { config, charts } = JSON.parse(document.getElementById("charts").textContent);
const tooltip = { theme: "custom", disableDefaultStyle: true };
const draw = async (places) => {
  for (const place of places) {
    const options = { config, patch, tooltip, renderer: "svg", actions: false, ast: true };
    await vegaEmbed(place, charts[place.dataset.chart], options);
    place.classList.add("drawn");
    await new Promise((go) => setTimeout(go));
  }
};
// Within a closed part there is no width to draw in.
document.querySelectorAll("details").forEach((part) =>
  part.addEventListener("toggle", () => draw(part.querySelectorAll(".chart")), { once: true }));
draw(document.querySelectorAll(".chart:not(details .chart)")).then(() => document.documentElement.classList.add("drawn"));
