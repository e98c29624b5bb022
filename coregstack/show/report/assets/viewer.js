// One item against the anchor: chips before and after, windows over the scene, numbers.
const CHIP = report.chip;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const view = { item: null, image: null, mode: "Overlay", swipe: 50, showOther: true, timer: null, arrows: null, across: null, middle: [CHIP / 2, CHIP / 2], ground: "Item" };

function evidenceOf(k) {
  const block = byId(`evidence-${k}`);
  return block ? JSON.parse(block.textContent) : null;
}

// What an item is shown against: the anchor, or the aligned item that a network of pairs scored it against.
const places = new Map(items.map((item) => [item.id, item.k]));
const anchorItem = items.find((item) => item.status === "anchor");
function reference(evidence) {
  return evidence && evidence.against ? `item ${evidence.against} (aligned)` : "the anchor";
}
// What is kept of it; an item that nothing was matched with is shown alone.
function referenceOf(item, evidence) {
  if (!evidence || !evidence.chips) return null;
  const k = evidence.against ? places.get(evidence.against) : anchorItem && anchorItem.k;
  return known(k) && k !== item.k ? evidenceOf(k) : null;
}

function pictureOf(evidence) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = `data:image/jpeg;base64,${evidence.picture}`;
  });
}

function radios(id, names, chosen, change) {
  byId(id).append(...names.map((name) => html("label", {},
    html("input", { type: "radio", name: id, value: name, checked: name === chosen, onchange: () => change(name) }), html("span", {}, name))));
}

// Pixels that a chip is shown of: its middle, where a field is far from its mean, or what was asked for.
const MAGNIFIED = CHIP / 3, LEAST = 12;
const acrossNow = () => view.across ?? (view.field ? MAGNIFIED : CHIP);
const WHOLE = { top: 0, left: 0, side: CHIP };

// The part that is shown: around the place that was gone to, but never beyond the chip.
function partNow() {
  const side = Math.round(acrossNow()), within = (middle) => Math.round(Math.min(Math.max(middle - side / 2, 0), CHIP - side));
  return { top: within(view.middle[0]), left: within(view.middle[1]), side };
}

function cut(image, column, { top, left, side }) {
  const canvas = html("canvas", { width: side, height: side }), context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, column * CHIP + left, top, side, side, 0, 0, side, side);
  return { canvas, context };
}

// Orange and blue are told apart by those too who do not see red and green as two colours.
function overlay(anchor, item) {
  const size = anchor.canvas.width;
  const both = anchor.context.getImageData(0, 0, size, size), { data } = item.context.getImageData(0, 0, size, size);
  for (let k = 0; k < data.length; k += 4) {
    both.data[k + 1] = (both.data[k] + data[k]) / 2;
    both.data[k + 2] = data[k];
  }
  const out = html("canvas", { width: size, height: size });
  out.getContext("2d").putImageData(both, 0, 0);
  return out;
}

function drawChip(canvas, column) {
  const context = canvas.getContext("2d"), side = canvas.width, part = partNow(), across = part.side, zoom = side / across;
  // single pixels are seen as such
  context.imageSmoothingEnabled = across > MAGNIFIED / 2;
  context.imageSmoothingQuality = "high";
  const anchor = cut(view.image, 0, part), item = cut(view.image, column, part);
  if (view.mode === "Overlay") {
    context.drawImage(overlay(anchor, item), 0, 0, side, side);
  } else if (view.mode === "Flicker") {
    context.drawImage((view.showOther ? anchor : item).canvas, 0, 0, side, side);
  } else {
    const edge = Math.round(across * view.swipe / 100);
    context.drawImage(item.canvas, 0, 0, side, side);
    if (edge) context.drawImage(anchor.canvas, 0, 0, edge, across, 0, 0, edge * zoom, side);
    // as wide on the page, however small the picture is shown
    const thick = 2 * side / (canvas.clientWidth || side);
    context.fillStyle = "#e69f00";
    context.fillRect(edge * zoom - thick / 2, 0, thick, side);
  }
}

function drawChips() {
  if (!view.image || !view.evidence.chips) return;
  drawChip(byId("before"), 1);
  drawChip(byId("after"), 2);
  byId("single").parentNode.hidden = view.image.naturalWidth < 4 * CHIP;
  if (!byId("single").parentNode.hidden) drawChip(byId("single"), 3);
  const other = reference(view.evidence);
  const hints = {
    Overlay: `${other[0].toUpperCase()}${other.slice(1)} is orange, the item blue: what lies in the same place is grey, what does not has coloured fringes. ${partNow().side} px across${view.field ? ", at a place where the field is far from its mean" : ", at full resolution"}; wheel or + and − to zoom, drag to move.`,
    Swipe: `Left of the line ${other}, right of it the item. Drag in a picture or move the slider.`,
    Flicker: `Shown now: ${view.showOther ? other : "the item"}. What is aligned stands still.`,
  };
  byId("chips-hint").textContent = hints[view.mode];
  byId("swipe-label").hidden = view.mode !== "Swipe";
  byId("toggle").hidden = view.mode !== "Flicker";
  byId("toggle").textContent = view.timer ? "Pause" : calm ? "Show the other" : "Play";
}

function flick() { view.showOther = !view.showOther; drawChips(); }
function play(on) {
  clearInterval(view.timer);
  view.timer = on ? setInterval(flick, 600) : null;
  drawChips();
}

// Top, left, bottom and right of an overview, in pixels of the anchor.
function spanOf({ origin, overview, factor }) {
  return [origin[0], origin[1], origin[0] + overview[0] * factor, origin[1] + overview[1] * factor];
}

// What arrows show: what was asked for, else the field where there is one.
const arrowsNow = () => (view.field ? view.arrows ?? "Field" : view.arrows === "Residual" ? "Residual" : "Shift");

// What each window shows beyond what was found; files of earlier versions do not tell it.
function residualsOf(ties, item) {
  if (ties.residual_y) return [ties.residual_y, ties.residual_x];
  return known(item.x) ? [ties.shift_y.map((v) => v - item.y), ties.shift_x.map((v) => v - item.x)] : [ties.shift_y, ties.shift_x];
}

// The arrow of each window, in pixels of the anchor: the longest of those that agree is a small part of the extent.
function arrowsOf(ties, item, extent) {
  if (arrowsNow() === "Field") return fieldArrows(view.field, extent);
  const [dy, dx] = arrowsNow() === "Residual" ? residualsOf(ties, item) : [ties.shift_y, ties.shift_x];
  const sizes = dy.map((v, k) => Math.hypot(v, dx[k])), kept = sizes.filter((size, k) => ties.inlier[k] && size);
  const longest = Math.max(1e-6, ...(kept.length ? kept : sizes)), gain = extent * .085 / longest, most = extent * .14;
  // bands are matched in the same windows: their arrows begin side by side
  const bands = [...new Set(ties.band || [0])].sort((a, b) => a - b), apart = (k) => (ties.band ? bands.indexOf(ties.band[k]) - (bands.length - 1) / 2 : 0) * extent * .014;
  const arrows = sizes.map((size, k) => {
    const scale = size * gain > most ? most / size : gain, [y, x] = [dy[k] * scale, dx[k] * scale], fromX = ties.x[k] + apart(k);
    return { fromY: ties.y[k], fromX, y: ties.y[k] + y, x: fromX + x, angle: Math.atan2(y, x), out: !ties.inlier[k], band: ties.band ? ties.band[k] : 0, short: scale < gain,
      tip: Math.min(extent * .02, Math.hypot(y, x) * .5),
      words: `shift x ${signed(ties.shift_x[k])} px, y ${signed(ties.shift_y[k])} px, weight ${fixed(ties.weight[k], 2)}${ties.band ? `, match band ${ties.band[k] + 1}` : ""}` };
  });
  return { arrows, longest };
}

function drawGround() {
  const canvas = byId("ground"), overlayed = byId("vectors"), { evidence, other } = view;
  const spans = [evidence, other].filter(Boolean).map(spanOf);
  const extent = Math.max(...spans.map((span) => Math.max(span[2] - span[0], span[3] - span[1]))), margin = extent * .01;
  const found = arrowsOf(evidence.ties, view.item, extent);
  // item and reference are seen whole, and so are the arrows of windows at their edges
  for (const { fromY, fromX, y, x } of found.arrows) {
    spans.push([Math.min(fromY, y) - margin, Math.min(fromX, x) - margin, Math.max(fromY, y) + margin, Math.max(fromX, x) + margin]);
  }
  const [top, left] = [0, 1].map((axis) => Math.min(...spans.map((span) => span[axis])));
  const [bottom, right] = [2, 3].map((axis) => Math.max(...spans.map((span) => span[axis])));
  const height = bottom - top, width = right - left, zoom = 640 / Math.max(height, width);
  canvas.width = Math.round(width * zoom);
  canvas.height = Math.round(height * zoom);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const draw = (from, image, y) => context.drawImage(image, 0, y, from.overview[1], from.overview[0],
    (from.origin[1] - left) * zoom, (from.origin[0] - top) * zoom, from.overview[1] * from.factor * zoom, from.overview[0] * from.factor * zoom);
  if (view.ground === "Other" && other) draw(other, view.otherImage, other.chips ? CHIP : 0);
  else draw(evidence, view.image, evidence.chips ? CHIP : 0);
  overlayed.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
  overlayed.setAttribute("preserveAspectRatio", "xMinYMin meet");
  drawArrows(overlayed, evidence.ties, found);
}

// Windows of each band are counted as they are drawn: those of several bands lie at the same places.
function agreeWords(ties, field) {
  const agree = ties.inlier.filter(Boolean).length, all = ties.inlier.length, bands = [...new Set(ties.band || [0])].sort((a, b) => a - b);
  const words = [html("b", {}, `${agree} of ${all} windows agree`)];
  if (field) return [...words, "."];
  const keys = bands.map((band) => {
    const own = ties.inlier.filter((_, k) => !ties.band || ties.band[k] === band);
    return html("span", { class: `key band${band % 4}` }, bands.length > 1 ? `band ${band + 1}: ${own.filter(Boolean).length} of ${own.length}` : "they agree");
  });
  if (agree < all) keys.push(html("span", { class: "key out" }, "set aside"));
  return [...words, ". ", ...keys.flatMap((key) => [key, " "])];
}

function drawArrows(root, ties, { arrows, longest }) {
  root.replaceChildren();
  const caption = byId("windows-caption"), field = arrowsNow() === "Field";
  byId("arrows").hidden = !arrows.length;
  if (!arrows.length) {
    caption.replaceChildren(view.item.status === "anchor" ? "The anchor: all other items are aligned to it." : "No windows were matched.");
    return;
  }
  for (const layer of ["", "top"]) {
    for (const { fromY, fromX, y, x, angle, tip, out, band, words } of arrows) {
      const head = [angle + 2.6, angle - 2.6].map((a) => `M${x} ${y}l${tip * Math.cos(a)} ${tip * Math.sin(a)}`).join("");
      root.append(svg("path", { class: `arrow ${layer} ${out ? "out" : `band${(band || 0) % 4}`} ${field ? "field" : ""}`, d: `M${fromX} ${fromY}L${x} ${y}${head}` },
        svg("title", {}, words)));
    }
  }
  const names = { Field: `The ${MODELS[view.item.model] || MODELS.field} less its mean`, Shift: "Each window's shift",
    Residual: `What each window shows beyond ${movedBy(view.item)}` };
  caption.replaceChildren(`${names[arrowsNow()]}; the longest arrow${field ? "" : " that agrees"} is ${fixed(longest, 3)} px${arrows.some((arrow) => arrow.short) ? ", and longer ones are drawn shorter" : ""}. `, ...(ties.y.length ? agreeWords(ties, field) : []));
  root.setAttribute("aria-label", caption.textContent);
}

function facts(item, evidence) {
  const list = [], add = (name, ...value) => { if (value.some((part) => part)) list.push(html("dt", {}, name), html("dd", {}, ...value)); };
  add("Time (UTC)", dateText(item));
  add("Shift x", known(item.x) ? `${signed(item.x)} ± ${sigmaText(item.sx)} px` : "");
  add("Shift y", known(item.y) ? `${signed(item.y)} ± ${sigmaText(item.sy)} px` : "");
  add("Length", known(item.x) ? `${fixed(length(item), 3)} px${metres(length(item)) && ` (${metres(length(item))})`}` : "");
  add("Model", MODELS[item.model] || "");
  add("Spread", known(item.spread) ? `${fixed(item.spread, 3)} px` : "");
  add("Residual", known(item.residual) ? `${fixed(item.residual, 3)} px${metres(item.residual) && ` (${metres(item.residual)})`}` : "");
  add("Score before", fixed(item.before, 4));
  add("Score after", fixed(item.after, 4));
  add("Gain", signed(item.gain, 4));
  if (evidence && evidence.ties.y.length) add("Windows", `${evidence.ties.inlier.filter(Boolean).length} of ${evidence.ties.y.length} agree`);
  const wide = (name, value) => list.push(html("dt", { class: "wide" }, name), html("dd", { class: "wide" }, value));
  if (evidence && evidence.against) wide("Compared with", `${evidence.against}, aligned: the item is reached only through others.`);
  byId("viewer-files").hidden = !item.files.length;
  byId("viewer-files").lastElementChild.replaceChildren(...item.files.map((file) => html("li", {}, file)));
  byId("facts").replaceChildren(...list);
}

const AFTER = {
  coregistered: (by) => `After: moved by ${by}.`,
  already_aligned: (by) => `If it were moved by ${by} found; it was aligned well enough and is left as it is.`,
  no_improvement: (by) => `If it were moved by ${by} found; that gains too little, so it is left as it is.`,
  failed: () => "No shift is known, so there is no after.",
};

function address(hash) {
  // a page that is shown inside another, as in a notebook, may not change its address
  try { history.replaceState(null, "", hash); } catch { /* then it has none to share */ }
}

async function openItem(k) {
  const item = items[k], evidence = evidenceOf(k), other = referenceOf(item, evidence);
  Object.assign(view, { item, evidence, other, field: fieldOf(k), image: null, otherImage: null, middle: [CHIP / 2, CHIP / 2] });
  byId("viewer-id").replaceChildren(...breakable(item.id));
  byId("viewer-status").replaceChildren(mark(item.status), STATUSES[item.status]);
  byId("viewer-details").textContent = item.reason;
  const place = shown.indexOf(item);
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place >= shown.length - 1;
  facts(item, evidence);
  byId("viewer-apart").hidden = !partsApart(item);
  byId("viewer-apart").textContent = partsApart(item) ? apartWords(item) : "";
  for (const [name, value] of [["arrows", arrowsNow()], ["zoom", `${acrossNow()} px`]]) {
    for (const radio of byId(name).querySelectorAll("input")) radio.checked = radio.value === value;
  }
  byId("arrows").lastChild.hidden = !view.field;
  byId("viewer-chips").hidden = !evidence || !evidence.chips;
  byId("viewer-windows").hidden = !evidence;
  byId("grounds").hidden = !other;
  byId("grounds").lastChild.lastChild.textContent = evidence && evidence.against ? evidence.against : "Anchor";
  byId("modes").firstElementChild.textContent = `Compare with ${reference(evidence)} by`;
  byId("viewer-bare").hidden = Boolean(evidence);
  byId("after-caption").textContent = AFTER[item.status] ? AFTER[item.status](movedBy(item)) : "";
  byId("before-caption").textContent = "Before: the item as it came.";
  byId("before").setAttribute("aria-label", `${item.id} before, against ${reference(evidence)}`);
  byId("single").setAttribute("aria-label", `${item.id} moved by one shift alone, against ${reference(evidence)}`);
  byId("after").setAttribute("aria-label", `${item.id} after, against ${reference(evidence)}`);
  byId("after").parentNode.hidden = !known(item.x);
  address(`#item-${k + 1}`);
  if (!byId("viewer").open) byId("viewer").showModal();
  // a button that has been switched off hears no keys; some browsers take the focus from it at once
  if (document.activeElement.disabled || document.activeElement === document.body) byId("viewer-id").focus();
  drawField(item, view.field);
  if (!evidence) return;
  const pictures = await Promise.all([pictureOf(evidence), other ? pictureOf(other) : null]);
  if (view.item !== item) return;
  [view.image, view.otherImage] = pictures;
  drawChips();
  drawGround();
  document.documentElement.dataset.opened = item.id;
}

function step(by) {
  const place = shown.indexOf(view.item) + by;
  if (shown.includes(view.item) && place >= 0 && place < shown.length) openItem(shown[place].k);
}

// Zoom about a place of a chip, given as shares of its side; the place stays where it is.
function zoomTo(across, [down, right] = [.5, .5]) {
  const { top, left, side } = partNow(), next = Math.min(Math.max(across, LEAST), CHIP);
  view.middle = [top + down * side + (.5 - down) * next, left + right * side + (.5 - right) * next];
  view.across = next;
  for (const radio of byId("zoom").querySelectorAll("input")) radio.checked = radio.value === `${Math.round(next)} px`;
  drawChips();
}

function sharesOf(event) {
  const box = event.currentTarget.getBoundingClientRect();
  return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
}

function dragTo(event) {
  const box = event.currentTarget.getBoundingClientRect(), { top, left, side } = partNow();
  view.middle = [top + side / 2 - event.movementY * side / box.height, left + side / 2 - event.movementX * side / box.width];
  drawChips();
}

function swipeTo(event) {
  const box = event.currentTarget.getBoundingClientRect();
  view.swipe = Math.min(100, Math.max(0, (event.clientX - box.left) / box.width * 100));
  byId("swipe").value = view.swipe;
  drawChips();
}

function startViewer() {
  radios("modes", ["Overlay", "Swipe", "Flicker"], view.mode, (name) => { view.mode = name; play(name === "Flicker" && !calm); });
  radios("zoom", [`${CHIP} px`, `${MAGNIFIED} px`], "", (name) => zoomTo(parseInt(name, 10)));
  radios("arrows", ["Shift", "Residual", "Field"], "", (name) => { view.arrows = name; drawGround(); });
  radios("grounds", ["Item", "Other"], view.ground, (name) => { view.ground = name; drawGround(); });
  byId("swipe").addEventListener("input", (event) => { view.swipe = Number(event.target.value); drawChips(); });
  byId("toggle").addEventListener("click", () => (calm ? flick() : play(!view.timer)));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  const viewer = byId("viewer");
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => { play(false); address("#"); });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.matches("input")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
    if (event.key === "+" || event.key === "=") zoomTo(acrossNow() / 1.5);
    if (event.key === "-") zoomTo(acrossNow() * 1.5);
  });
  for (const id of ["before", "single", "after"]) {
    byId(id).addEventListener("pointermove", (event) => {
      if (view.mode === "Swipe" && (event.buttons || event.pointerType === "mouse")) swipeTo(event);
      else if (event.buttons && view.mode !== "Swipe") dragTo(event);
    });
    byId(id).addEventListener("wheel", (event) => {
      event.preventDefault();
      zoomTo(acrossNow() * (event.deltaY > 0 ? 1.25 : .8), sharesOf(event));
    }, { passive: false });
  }
}
