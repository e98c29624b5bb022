// Charts: plain SVG, redrawn when the width or the choice of items changes.
const HEIGHT = 300;
const ROOM = { top: 14, right: 16, bottom: 34, left: 76 };
const MAP_REACH = 100; // in sides of the anchor's footprint

function nice(low, high, count) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough * .75);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(k * step);
  return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function padded(values, least = 0) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = [0, 1];
  const pad = Math.max((high - low) * .06, least);
  return [low - pad, high + pad];
}

const DAY = 86400000;
function dateTicks(low, high, count) {
  const span = high - low;
  if (span < 2 * DAY) {
    const step = [1, 5, 15, 30, 60, 180, 360, 720].map((m) => m * 60000).find((s) => span / s <= count) || DAY;
    const ticks = [];
    for (let t = Math.ceil(low / step) * step; t <= high; t += step) ticks.push([t, new Date(t).toISOString().slice(11, 16)]);
    return ticks;
  }
  const days = span / DAY;
  if (days < 60) {
    const step = [1, 2, 5, 7, 14].find((s) => days / s <= count) || 14;
    const ticks = [];
    for (let t = Math.ceil(low / DAY) * DAY; t <= high; t += step * DAY) ticks.push([t, new Date(t).toISOString().slice(5, 10)]);
    return ticks;
  }
  const step = [1, 2, 3, 6, 12, 24, 60, 120].find((m) => days / 30.4 / m <= count) || 240;
  const first = new Date(low), ticks = [];
  for (let m = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / step) * step; ; m += step) {
    const t = Date.UTC(Math.floor(m / 12), m % 12, 1);
    if (t > high) return ticks;
    if (t >= low) ticks.push([t, step >= 12 ? String(Math.floor(m / 12)) : new Date(t).toISOString().slice(0, 7)]);
  }
}

// Where an item lies along time; its place in the list where no times are known.
const timed = items.some((item) => item.date !== null);
const moment = (item) => (timed ? item.date : item.k + 1);

function timeAxis(shown, width) {
  const values = shown.map(moment).filter(known);
  const [low, high] = padded(values, timed ? 3600000 : .5);
  const at = (value) => ROOM.left + (value - low) / (high - low) * (width - ROOM.left - ROOM.right);
  const count = Math.max(2, Math.floor((width - ROOM.left) / 62));
  const ticks = timed ? dateTicks(low, high, count) : nice(low, high, count).ticks.filter(Number.isInteger).map((t) => [t, String(t)]);
  const undated = shown.filter((item) => !known(moment(item))).length;
  const label = undated ? `${undated} without a time: not shown here` : undefined;
  return { at, ticks, label };
}

function frame(width, height, top, bottom, vertical, xTicks, yLabel, xLabel) {
  const group = svg("g");
  const { ticks, digits } = nice(vertical.low, vertical.high, Math.max(4, Math.round((bottom - top) / 45)));
  for (const tick of ticks) {
    const y = vertical.at(tick);
    group.append(svg("line", { class: "grid", x1: ROOM.left, x2: width - ROOM.right, y1: y, y2: y }),
      svg("text", { x: ROOM.left - 7, y: y + 4, "text-anchor": "end" }, fixed(tick, digits)));
  }
  for (const [x, label] of xTicks) {
    group.append(svg("line", { class: "axis", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
    if (label !== null) {
      const edge = Math.min(Math.max(x, ROOM.left), width - ROOM.right - 4);
      group.append(svg("text", { x: edge, y: bottom + 17, "text-anchor": "middle" }, label));
    }
  }
  group.append(svg("line", { class: "axis", x1: ROOM.left, x2: width - ROOM.right, y1: bottom, y2: bottom }),
    svg("text", { transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
  if (xLabel) group.append(svg("text", { x: (ROOM.left + width - ROOM.right) / 2, y: height - 3, "text-anchor": "middle" }, xLabel));
  return group;
}

function scale(low, high, from, to) {
  return { low, high, at: (value) => from + (value - low) / (high - low) * (to - from) };
}

function describe(item) {
  const lines = [item.id, STATUSES[item.status]];
  if (item.date !== null) lines.push(`${dateText(item)} UTC`);
  if (known(item.x)) lines.push(`shift x ${signed(item.x)} px, y ${signed(item.y)} px, sigma ${sigmaText(sigma(item))} px`);
  if (item.model) lines.push(`${MODELS[item.model] || item.model}, spread ${fixed(item.spread, 3)} px, ${fixed(item.residual, 3)} px expected to be left`);
  if (partsApart(item)) lines.push(`parts of it lie up to ${fixed(2 * item.spread, 1)} px apart`);
  if (known(item.before)) lines.push(`score ${fixed(item.before, 3)}${known(item.after) ? ` → ${fixed(item.after, 3)}` : ""}`);
  return lines.join("\n");
}

function dot(item, x, y, radius, extra = "") {
  return svg("path", {
    class: `point ${item.status} ${extra}`, d: MARKS[item.status](radius), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "data-k": item.k,
  });
}
// What is pointed at tells what it is, and opens: thousands of marks need no words and listeners of their own.
function pointedAt(event) {
  const { k } = event.target.dataset;
  if (k === undefined) return;
  if (event.type === "click") openItem(Number(k));
  else if (!event.target.firstChild) event.target.append(svg("title", {}, describe(items[k])));
}
const radiusFor = (shown) => (shown.length > 400 ? 2.4 : shown.length > 100 ? 3.6 : 5);

function canvasFor(id, label) {
  const box = byId(id), width = Math.max(box.clientWidth, 260);
  const root = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const type of ["click", "pointerover"]) root.addEventListener(type, pointedAt);
  root.classList.toggle("several", shown.length > 12);
  root.classList.toggle("many", shown.length > 150);
  root.classList.toggle("crowd", shown.length > 500);
  box.replaceChildren(root);
  return { root, width };
}

function drawShifts(shown) {
  const { root, width } = canvasFor("chart-shift", "Shift of each item along x and y over time; the same numbers are in the table");
  const time = timeAxis(shown, width), middle = (HEIGHT - ROOM.bottom + ROOM.top) / 2, radius = radiusFor(shown);
  // the anchor stays where it is
  const found = shown.filter((item) => known(item.x) || item.status === "anchor").map((item) => (known(item.x) ? item : { ...item, x: 0, y: 0 }));
  const lost = shown.filter((item) => !known(item.x) && item.status !== "anchor" && known(moment(item)));
  const panels = [["x", "sx", ROOM.top, middle - 14, "x [px], right"], ["y", "sy", middle + 2, HEIGHT - ROOM.bottom, "y [px], down"]];
  panels.forEach(([name, spread, top, bottom, label], k) => {
    const [low, high] = padded([0, ...found.flatMap((item) => [item[name] - (item[spread] || 0), item[name] + (item[spread] || 0)])], .05);
    // +y is down, as in the picture of the scene
    const vertical = k ? scale(low, high, top, bottom - 6) : scale(low, high, bottom - 6, top);
    root.append(frame(width, HEIGHT, top, bottom, vertical, time.ticks.map(([t, text]) => [time.at(t), k ? text : null]), label, k ? time.label : undefined));
    root.append(svg("line", { class: "zero", x1: ROOM.left, x2: width - ROOM.right, y1: vertical.at(0), y2: vertical.at(0) }));
    for (const item of found) {
      if (!known(moment(item))) continue;
      const x = time.at(moment(item)), y = vertical.at(item[name]);
      if (known(item[spread])) {
        root.append(svg("line", { class: `bar-line ${item.status}`, x1: x, x2: x,
          y1: vertical.at(item[name] + item[spread]), y2: vertical.at(item[name] - item[spread]) }));
      }
      root.append(dot(item, x, y, radius));
    }
    for (const item of lost) root.append(dot(item, time.at(moment(item)), bottom, radius * .8));
  });
}

function drawScores(shown) {
  const { root, width } = canvasFor("chart-score", "Matching score of each item before and after, over time; the same numbers are in the table");
  const time = timeAxis(shown, width), radius = radiusFor(shown), bottom = HEIGHT - ROOM.bottom;
  const scored = shown.filter((item) => known(item.before) && known(moment(item)));
  const [low, high] = padded(scored.flatMap((item) => [item.before, known(item.after) ? item.after : item.before]), .02);
  const vertical = scale(Math.max(low, -.02), Math.min(high, 1.02), bottom, ROOM.top);
  root.append(frame(width, HEIGHT, ROOM.top, bottom, vertical, time.ticks.map(([t, text]) => [time.at(t), text]), "score, 0 to 1", time.label));
  for (const item of scored) {
    const x = time.at(moment(item));
    if (known(item.after)) {
      root.append(svg("line", { class: `bar-line ${item.status}`, x1: x, x2: x, y1: vertical.at(item.before), y2: vertical.at(item.after) }),
        dot(item, x, vertical.at(item.after), radius));
    }
    root.append(dot(item, x, vertical.at(item.before), radius * .85, "hollow"));
  }
}

function drawResiduals(shown) {
  byId("residuals").hidden = !items.some((item) => known(item.residual));
  if (byId("residuals").hidden) return;
  const { root, width } = canvasFor("chart-residual", "Misalignment to be expected of each item over time; the same numbers are in the table");
  const time = timeAxis(shown, width), radius = radiusFor(shown), bottom = HEIGHT - ROOM.bottom;
  const told = shown.filter((item) => (known(item.residual) || item.status === "anchor") && known(moment(item)))
    .map((item) => (known(item.residual) ? item : { ...item, residual: 0 }));
  const [, high] = padded([.01, ...told.flatMap((item) => [item.residual, oneShiftLeaves(item) || 0])]);
  const vertical = scale(0, high, bottom, ROOM.top);
  root.append(frame(width, HEIGHT, ROOM.top, bottom, vertical, time.ticks.map(([t, text]) => [time.at(t), text]), "left [px]", time.label));
  for (const item of told) {
    const x = time.at(moment(item)), alone = oneShiftLeaves(item), y = vertical.at(item.residual);
    if (known(alone)) {
      root.append(svg("line", { class: `bar-line ${item.status}`, x1: x, x2: x, y1: vertical.at(alone), y2: y }),
        dot(item, x, vertical.at(alone), radius * .85, "hollow"));
    }
    if (partsApart(item)) root.append(svg("circle", { class: "ring", cx: x, cy: y, r: radius + 4 }));
    root.append(dot(item, x, y, radius));
  }
}

function drawScatter(shown) {
  const { root, width } = canvasFor("chart-scatter", "Shift along x against shift along y of each item; the same numbers are in the table");
  const found = shown.filter((item) => known(item.x) || item.status === "anchor").map((item) => (known(item.x) ? item : { ...item, x: 0, y: 0 }));
  const bottom = HEIGHT - ROOM.bottom - 8, radius = radiusFor(shown), across = width - ROOM.left - ROOM.right, down = bottom - ROOM.top;
  const [left, right] = padded([0, ...found.map((item) => item.x)], .2), [low, high] = padded([0, ...found.map((item) => item.y)], .2);
  // one pixel is as long across as it is down
  const unit = Math.max((right - left) / across, (high - low) / down);
  const x = scale((left + right - unit * across) / 2, (left + right + unit * across) / 2, ROOM.left, width - ROOM.right);
  const y = scale((low + high - unit * down) / 2, (low + high + unit * down) / 2, ROOM.top, bottom);
  const ticks = nice(x.low, x.high, across / 80);
  root.append(frame(width, HEIGHT, ROOM.top, bottom, y, ticks.ticks.map((t) => [x.at(t), fixed(t, ticks.digits)]), "y [px], down", "x [px], right"));
  for (const t of ticks.ticks) root.append(svg("line", { class: "grid", x1: x.at(t), x2: x.at(t), y1: ROOM.top, y2: bottom }));
  root.append(svg("line", { class: "zero", x1: x.at(0), x2: x.at(0), y1: ROOM.top, y2: bottom }),
    svg("line", { class: "zero", x1: ROOM.left, x2: width - ROOM.right, y1: y.at(0), y2: y.at(0) }));
  for (const item of found) root.append(dot(item, x.at(item.x), y.at(item.y), radius));
}

// What pixels show of relief beside what the orbit tells: two dots an item.
function drawViews(shown) {
  const both = (item) => known(item.view_x) && known(report.views.tilts[item.k][0]);
  byId("views").hidden = !report.views || !items.some(both);
  if (byId("views").hidden) return;
  const { root, width } = canvasFor("chart-views", "View of each item along x and y, as it was found, against the tilt that metadata tell");
  const { tilts, metres, words } = report.views, bottom = HEIGHT - ROOM.bottom - 8, radius = radiusFor(shown);
  const dots = shown.filter(both)
    .flatMap((item) => [[item, 100 * tilts[item.k][1], item.view_x, ""], [item, 100 * tilts[item.k][0], item.view_y, "hollow"]]);
  const [left, right] = padded([0, ...dots.map(([, told]) => told)], .001), [low, high] = padded([0, ...dots.map(([, , found]) => found)], .01);
  const x = scale(left, right, ROOM.left, width - ROOM.right), y = scale(low, high, bottom, ROOM.top);
  const { ticks, digits } = nice(left, right, (width - ROOM.left - ROOM.right) / 80);
  root.append(frame(width, HEIGHT, ROOM.top, bottom, y, ticks.map((t) => [x.at(t), fixed(t, digits)]), "view found [px rms]", "view told, less the anchor's [px for 100 m of height]"));
  root.append(svg("line", { class: "zero", x1: x.at(0), x2: x.at(0), y1: ROOM.top, y2: bottom }),
    svg("line", { class: "zero", x1: ROOM.left, x2: width - ROOM.right, y1: y.at(0), y2: y.at(0) }));
  if (known(metres)) {
    // as far as both axes reach
    const ends = [low, high].map((found) => 100 * found / metres).sort((a, b) => a - b);
    const from = Math.max(left, ends[0]), to = Math.min(right, ends[1]);
    root.append(svg("line", { class: "axis", x1: x.at(from), y1: y.at(metres * from / 100), x2: x.at(to), y2: y.at(metres * to / 100) }));
  }
  for (const [item, told, found, extra] of dots) root.append(dot(item, x.at(told), y.at(found), radius, extra));
  byId("views-words").textContent = `${words[0].toUpperCase()}${words.slice(1)}.`;
}

/** Least and greatest x, least and greatest y of a footprint. */
function extent(area) {
  const corners = area.flat();
  return [0, 1].flatMap((axis) => [Math.min, Math.max].map((outer) => corners.map((c) => c[axis]).reduce((a, b) => outer(a, b))));
}

/** Footprints that are worth a map with the anchor's: what lies farther away would make dots of all others. */
function nearAnchor(placed) {
  const anchor = items.find((item) => item.status === "anchor" && item.area) ?? placed[0];
  const [left, right, low, high] = extent(anchor.area), reach = MAP_REACH * Math.max(right - left, high - low);
  return placed.filter((item) => {
    const [west, east, south, north] = extent(item.area);
    return Math.hypot(west + east - left - right, south + north - low - high) / 2 <= reach;
  });
}

function drawMap(shown) {
  const { root, width } = canvasFor("chart-map", "Footprints of the items on the ground");
  const areas = shown.filter((item) => item.area), placed = areas.length ? nearAnchor(areas) : areas;
  const far = areas.length - placed.length;
  byId("map-far").textContent = far ? ` · ${far} too far away to be shown` : "";
  if (!placed.length) {
    const words = far ? "The footprints are too far away to be shown." : "No footprints are known.";
    root.append(svg("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, words));
    return;
  }
  const ends = extent(placed.flatMap((item) => item.area));
  const [left, right] = padded(ends.slice(0, 2)), [low, high] = padded(ends.slice(2));
  const shrink = report.degrees ? Math.cos((low + high) / 2 * Math.PI / 180) : 1;
  const bottom = HEIGHT - ROOM.bottom - 8, across = width - ROOM.left - ROOM.right, down = bottom - ROOM.top;
  const unit = Math.max((right - left) * shrink / across, (high - low) / down);
  const divisor = report.degrees ? 1 : 1000, name = report.degrees ? "°" : "km";
  const x = scale((left + right - unit * across / shrink) / 2, (left + right + unit * across / shrink) / 2, ROOM.left, width - ROOM.right);
  const y = scale((low + high - unit * down) / 2, (low + high + unit * down) / 2, bottom, ROOM.top);
  const ticks = nice(x.low / divisor, x.high / divisor, across / 90);
  const vertical = scale(y.low / divisor, y.high / divisor, bottom, ROOM.top);
  root.append(frame(width, HEIGHT, ROOM.top, bottom, vertical, ticks.ticks.map((t) => [x.at(t * divisor), fixed(t, ticks.digits)]),
    report.degrees ? `latitude [${name}]` : `north [${name}]`, report.degrees ? `longitude [${name}]` : `east [${name}]`));
  for (const item of placed) {
    const d = item.area.map((part) => `M${part.map((c) => `${x.at(c[0]).toFixed(1)} ${y.at(c[1]).toFixed(1)}`).join("L")}z`).join("");
    root.append(svg("path", { class: `shape ${item.status}`, d, "data-k": item.k }));
  }
}

// What is rare lies on top, so that the many do not hide it; the anchor above all.
function rarestLast(shown) {
  const count = {}, names = Object.keys(STATUSES);
  for (const { status } of shown) count[status] = (count[status] || 0) + 1;
  return [...shown].sort((a, b) => count[b.status] - count[a.status] || names.indexOf(a.status) - names.indexOf(b.status));
}

function drawCharts(shown) {
  const ordered = rarestLast(shown);
  // whether there is a chart of views decides how wide that of residuals is
  for (const draw of [drawShifts, drawScores, drawScatter, drawMap, drawViews, drawResiduals]) draw(ordered);
}
