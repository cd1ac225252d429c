// Sorting, finding and charts. Everything but the charts is on the page without this.
document.documentElement.classList.add("script");
const value = (row, at) => {
  const cell = row.children[at];
  return "v" in cell.dataset ? (cell.dataset.v === "" ? null : Number(cell.dataset.v)) : cell.textContent.trim();
};
const order = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
document.querySelectorAll("table.sorted").forEach((table) => {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "Sort by this column";
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending" ||
        (!head.hasAttribute("aria-sort") && head.classList.contains("n"));
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => [value(row, at), row]);
      keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : falling ? order(b, a) : order(a, b)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
  if (body.rows.length <= 25) return;
  const box = table.closest(".scroll");
  const all = document.createElement("button");
  all.className = "all";
  all.textContent = `Show all ${body.rows.length.toLocaleString("en")} rows`;
  all.addEventListener("click", () => { table.classList.remove("folded"); all.remove(); });
  box.after(all);
  const find = document.createElement("input");
  find.className = "find";
  find.type = "search";
  find.placeholder = "Find in this table";
  find.setAttribute("aria-label", "Find in this table");
  const texts = new Map([...body.rows].map((row) => [row, row.textContent.toLowerCase()]));
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    table.classList.toggle("folded", !wanted && all.isConnected);
    for (const [row, text] of texts) row.hidden = !text.includes(wanted);
  });
  box.before(find);
});
const { config, charts } = JSON.parse(document.getElementById("charts").textContent);
const waiting = [...document.querySelectorAll(".chart")];
const draw = async () => {
  for (const place of waiting) {
    const options = { config, renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom", disableDefaultStyle: true } };
    await vegaEmbed(place, charts[place.dataset.chart], options);
    place.classList.add("drawn");
    await new Promise((go) => setTimeout(go));
  }
  document.documentElement.classList.add("drawn");
};
draw();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
