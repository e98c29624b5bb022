// The page: summary, then table and charts, then whatever item the address names.
function summarise() {
  const days = items.filter((item) => item.date !== null).map((item) => item.time).sort();
  const span = days.length ? `${days[0].slice(0, 10)} to ${days[days.length - 1].slice(0, 10)}` : "";
  byId("lead").append(`${items.length} items aligned to `, html("b", {}, ...breakable(report.anchor)));
  for (const text of [span, report.grid].filter(Boolean)) byId("lead").append(" · ", html("span", {}, text));
  if (report.crs) byId("map-note").append(` · ${report.crs}`);
  byId("footer").textContent = `Made by coregstack ${report.version} on ${report.created}. Shifts are what is applied to an item's content to match the anchor, ` +
    "in pixels of the anchor: +x to the right, +y down. The matching score is 1 for a perfect match.";
  const moved = items.filter((item) => item.status === "coregistered"), others = items.filter((item) => item.status !== "anchor");
  const sizes = moved.map(length), large = sizes.length ? Math.max(...sizes) : null;
  const add = (name, value, more) => byId("numbers").append(html("div", {}, html("dt", {}, name),
    html("dd", {}, value || "none", more ? html("small", {}, more) : null)));
  add("Median shift applied", known(median(sizes)) ? `${fixed(median(sizes), 2)} px` : "", metres(median(sizes)));
  add("Largest shift applied", known(large) ? `${fixed(large, 2)} px` : "", metres(large));
  const spread = median(others.map(sigma));
  add("Median sigma of a shift", known(spread) ? `${sigmaText(spread)} px` : "", metres(spread));
  add("Median score of what was moved", moved.length ? `${fixed(median(moved.map((i) => i.before)), 3)} → ${fixed(median(moved.map((i) => i.after)), 3)}` : "");
  const left = median(moved.map((item) => item.residual)), apart = items.filter(partsApart).length;
  if (known(left)) add("Median residual of what was moved", `${fixed(left, 3)} px`, metres(left));
  if (apart) add("Items whose parts lie apart", String(apart), "one shift does not follow them");
  const notes = [...report.problems.map((text) => `Problem: ${text}`), ...report.notes];
  byId("notes").hidden = !notes.length;
  byId("notes").open = true;
  byId("notes").firstChild.textContent = notes.length === 1 ? "1 thing to know" : `${notes.length} things to know`;
  byId("notes").lastChild.append(...notes.map((text) => html("li", {}, text)));
}

// Before and after of the item whose score gained most, at first sight.
async function showGain() {
  const best = items.filter((item) => item.status === "coregistered" && known(item.gain)).sort((a, b) => b.gain - a.gain)
    .find((item) => byId(`evidence-${item.k}`));
  const evidence = best && evidenceOf(best.k);
  if (!evidence || !evidence.chips) return;
  const image = await pictureOf(evidence);
  for (const [name, column] of [["before", 1], ["after", 2]]) {
    const canvas = byId(`gain-${name}`), context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(overlay(cut(image, 0, WHOLE), cut(image, column, WHOLE)), 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", `${best.id} ${name}, over ${reference(evidence)}`);
  }
  byId("gain-words").replaceChildren("The item that gained most, ", html("button", { type: "button", class: "open", onclick: () => openItem(best.k) }, ...breakable(best.id)),
    `, over ${reference(evidence)}: its score rose from ${fixed(best.before, 3)} to ${fixed(best.after, 3)} as it was moved by ${fixed(length(best), 2)} px` +
    `${metres(length(best)) && ` (${metres(length(best))})`}. What lies in the same place is grey, what does not has coloured fringes. ${CHIP} px across, at full resolution.`);
  byId("gain").hidden = false;
}

summarise();
showGain();
startTable();
startViewer();
select();
drawCharts(shown);
let pending = 0;
window.addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => drawCharts(shown)); });
function follow() {
  const named = /^#item-(\d+)$/.exec(location.hash);
  if (named && items[Number(named[1]) - 1]) openItem(Number(named[1]) - 1);
}
window.addEventListener("hashchange", follow);
follow();
document.documentElement.dataset.ready = "true";
