// The table of all items: sorted by a heading, narrowed by status and by words.
const told = (name) => items.some((item) => known(item[name]) && item[name] !== "");
const COLUMNS = [
  { name: "Item", value: (i) => i.id },
  { name: "Time (UTC)", value: (i) => i.date, text: dateText, kind: "time" },
  { name: "Status", value: (i) => Object.keys(STATUSES).indexOf(i.status) },
  { name: "Shift x [px]", value: (i) => i.x, text: (i) => signed(i.x), kind: "number" },
  { name: "Shift y [px]", value: (i) => i.y, text: (i) => signed(i.y), kind: "number" },
  { name: "Sigma [px]", value: sigma, text: (i) => sigmaText(sigma(i)), kind: "number" },
  { name: "Model", value: (i) => i.model || null, text: (i) => i.model || "", shown: told("model") },
  { name: "Spread [px]", value: (i) => i.spread, text: (i) => fixed(i.spread, 3), kind: "number", shown: told("spread") },
  { name: "Residual [px]", value: (i) => i.residual, text: (i) => fixed(i.residual, 3), kind: "number", shown: told("residual") },
  { name: "Score before", value: (i) => i.before, text: (i) => fixed(i.before, 3), kind: "number" },
  { name: "Score after", value: (i) => i.after, text: (i) => fixed(i.after, 3), kind: "number" },
  { name: "Score gain", value: (i) => i.gain, text: (i) => signed(i.gain, 3), kind: "number" },
  { name: "Reason", value: (i) => i.reason },
].filter((column) => column.shown ?? true);
const choice = { column: null, down: false, words: [], hidden: new Set() };
let shown = items;

// Names of so many characters stay on one line.
const short = (item) => item.id.length <= 40;

function rowFor(item) {
  const cells = COLUMNS.map((column, k) => {
    if (k === 0) {
      const button = html("button", { type: "button", class: "open", onclick: (event) => { event.stopPropagation(); openItem(item.k); } }, ...breakable(item.id));
      return html("td", { class: `id ${short(item) ? "short" : ""}` }, button);
    }
    if (column.name === "Status") return html("td", {}, statusLabel(item.status));
    if (column.name === "Reason") return html("td", { class: "reason" }, html("div", { title: item.reason }, item.reason));
    const apart = column.name === "Spread [px]" && partsApart(item);
    return html("td", { class: `${column.kind || ""} ${apart ? "apart" : ""}`, title: apart ? apartWords(item) : null }, column.text(item));
  });
  return html("tr", { onclick: () => openItem(item.k) }, ...cells);
}
// Rows are made as they are scrolled to: a thousand at once take the browser a second to lay out.
const STEP = 60;
const rows = [];
let drawn = 0;

function drawMore() {
  const body = byId("table").tBodies[0];
  body.append(...shown.slice(drawn, drawn + STEP).map((item) => (rows[item.k] ??= rowFor(item))));
  drawn = Math.min(drawn + STEP, shown.length);
}

function scrolled(event) {
  const box = event.currentTarget;
  if (drawn < shown.length && box.scrollTop + 2 * box.clientHeight > box.scrollHeight) drawMore();
}

function compare(a, b) {
  const value = COLUMNS[choice.column].value, left = value(a), right = value(b);
  // what is not known comes last, whichever way is sorted
  if (!known(left) || !known(right)) return known(right) - known(left);
  const order = typeof left === "string" ? left.localeCompare(right) : left - right;
  return (choice.down ? -order : order) || a.k - b.k;
}

function select() {
  shown = items.filter((item) => !choice.hidden.has(item.status) && choice.words.every((word) => item.words.includes(word)));
  if (choice.column !== null) shown.sort(compare);
  const body = byId("table").tBodies[0];
  body.replaceChildren();
  byId("table").parentNode.scrollTop = 0;
  drawn = 0;
  drawMore();
  if (!shown.length) body.append(html("tr", {}, html("td", { class: "empty", colspan: COLUMNS.length }, "No item fits the search.")));
  byId("shown").textContent = shown.length === items.length ? `${items.length} items` : `${shown.length} of ${items.length} items`;
}

// The items that are shown, with all digits. A text that a spreadsheet would take for a formula is made a text.
const SAVED = ["id", "time", "status", "x", "y", "sx", "sy", "model", "spread", "residual", "before", "after", "gain", "reason"];
const HEADINGS = { id: "item", x: "shift_x_px", y: "shift_y_px", sx: "sigma_x_px", sy: "sigma_y_px", spread: "spread_px", residual: "residual_px",
  before: "score_before", after: "score_after", gain: "score_gain" };
function csvText() {
  const cell = (value) => (!known(value) ? "" : typeof value === "number" ? String(value) : `"${value.replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`);
  return [SAVED.map((name) => HEADINGS[name] || name), ...shown.map((item) => SAVED.map((name) => cell(item[name])))].map((row) => `${row.join(",")}\r\n`).join("");
}

function saveTable() {
  const address = URL.createObjectURL(new Blob([csvText()], { type: "text/csv" }));
  html("a", { href: address, download: "coregistration.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

let waiting = 0;
function selectAndDraw() {
  select();
  clearTimeout(waiting);
  waiting = setTimeout(() => drawCharts(shown), 120);
}

function sortBy(k) {
  choice.down = choice.column === k ? !choice.down : false;
  choice.column = k;
  [...byId("table").tHead.rows[0].cells].forEach((cell, j) => {
    if (j === k) cell.setAttribute("aria-sort", choice.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
  select();
}

function startTable() {
  for (const item of items) item.words = [item.id, item.status, STATUSES[item.status], dateText(item), item.model || "", partsApart(item) ? "parts apart" : "", item.reason].join(" ").toLowerCase();
  byId("table").tHead.rows[0].append(...COLUMNS.map((column, k) =>
    html("th", { scope: "col", class: column.kind }, html("button", { type: "button", onclick: () => sortBy(k) }, column.name))));
  byId("search").addEventListener("input", (event) => {
    choice.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    selectAndDraw();
  });
  byId("save").addEventListener("click", saveTable);
  byId("table").parentNode.addEventListener("scroll", scrolled, { passive: true });
  window.addEventListener("beforeprint", () => { while (drawn < shown.length) drawMore(); });
  for (const status of Object.keys(STATUSES)) {
    const count = items.filter((item) => item.status === status).length;
    if (!count) continue;
    const button = html("button", { type: "button", "aria-pressed": "true", title: "Show or hide these items" },
      mark(status), html("b", {}, String(count)), STATUSES[status]);
    button.addEventListener("click", () => {
      const hide = !choice.hidden.has(status);
      if (hide) choice.hidden.add(status); else choice.hidden.delete(status);
      button.setAttribute("aria-pressed", String(!hide));
      selectAndDraw();
    });
    byId("statuses").append(button);
  }
}
