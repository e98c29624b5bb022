// A displacement that varies over the scene: what it leaves, its length and its sigma on small maps, and its arrows.
const MODELS = { shift: "one shift", affine: "affine map", field: "displacement field", terrain: "common patterns" };
const MOVED_BY = { affine: "the affine map", field: "the field", terrain: "the patterns" };
const movedBy = (item) => MOVED_BY[item.model] || "the shift";

// Dark to bright, told apart by everyone and in grey too (cividis, sampled).
const RAMP = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"].map((text) =>
  [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16)));
function ramp(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), k = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[k].map((from, c) => from + (RAMP[k + 1][c] - from) * (at - k));
}

// What is to be expected where one shift is all that is applied, px.
const oneShiftLeaves = (item) => (known(item.spread) ? Math.hypot(item.spread, item.sx || 0, item.sy || 0) : null);
const partsApart = (item) => item.model === "shift" && known(item.spread) && item.spread >= report.apart;
function apartWords(item) {
  return `Its parts do not move as one: one shift leaves ${fixed(oneShiftLeaves(item), 2)} px. The residual arrows show how they lie; model="field" follows them.`;
}

function numbersOf(text, unit) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, k) => view.getInt16(2 * k, true) * unit);
}

function fieldOf(k) {
  const block = byId(`field-${k}`);
  if (!block) return null;
  const told = JSON.parse(block.textContent), [y, x, sigmas] = ["y", "x", "sigma"].map((name) => numbersOf(told[name], told.unit));
  return { ...told, y, x, sigma: sigmas, length: y.map((v, j) => Math.hypot(v, x[j])) };
}

// One bar for each thing that could be done, as long as what it leaves.
function drawLeft(item) {
  const both = [["one shift", oneShiftLeaves(item), "soft"], [MODELS[item.model], item.residual, "own"]].filter((one) => known(one[1]));
  const most = Math.max(...both.map((one) => one[1]), 1e-6);
  byId("field-left").replaceChildren(...both.flatMap(([name, value, kind], k) => [
    svg("text", { x: 0, y: 14 + 44 * k }, `${name}: ${value < 0.0005 ? "<0.001" : fixed(value, 3)} px`),
    svg("rect", { class: kind, x: 0, y: 20 + 44 * k, width: Math.max(1, 260 * value / most), height: 12, rx: 3 })]));
  byId("field-left").setAttribute("aria-label", `Left: ${both.map(([name, value]) => `${name} ${fixed(value, 3)} px`).join(", ")}`);
}

function drawFieldMap(name, values, shape) {
  const [rows, cols] = shape, most = Math.max(...values, 1e-6);
  const small = html("canvas", { width: cols, height: rows }), pixels = new ImageData(cols, rows);
  values.forEach((value, k) => pixels.data.set([...ramp(value / most), 255], 4 * k));
  small.getContext("2d").putImageData(pixels, 0, 0);
  const canvas = byId(`field-${name}`), zoom = 400 / Math.max(rows, cols);
  canvas.width = Math.round(cols * zoom);
  canvas.height = Math.round(rows * zoom);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  const bar = byId(`field-${name}-bar`), across = bar.getContext("2d");
  for (let k = 0; k < bar.width; k++) {
    across.fillStyle = `rgb(${ramp(k / (bar.width - 1)).map(Math.round).join(",")})`;
    across.fillRect(k, 0, 1, bar.height);
  }
  byId(`field-${name}-most`).textContent = `${fixed(most, most < .1 ? 3 : 2)} px`;
}

function drawField(item, field) {
  byId("viewer-field").hidden = !field;
  if (!field) return;
  byId("field-name").textContent = `What the ${MODELS[item.model] || MODELS.field} does`;
  drawLeft(item);
  drawFieldMap("length", field.length, field.shape);
  drawFieldMap("sigma", field.sigma, field.shape);
  const applied = item.status === "coregistered" ? "" : " It is not applied.";
  byId("field-caption").textContent = `The mean of (${signed(field.mean[1], 2)}, ${signed(field.mean[0], 2)}) px (x, y) is taken off the map of the length.${applied}`;
}

// Arrows of a field about its mean, at not more than some nodes along a side.
function fieldArrows(field, extent) {
  const [rows, cols] = field.shape, every = Math.max(1, Math.ceil(Math.max(rows, cols) / 16));
  const sorted = [...field.length].sort((a, b) => a - b), longest = Math.max(sorted[sorted.length - 1], 1e-6);
  // few places lie far beyond all others
  const gain = extent * .055 / Math.max(sorted[Math.floor(sorted.length * .9)], longest / 4), arrows = [];
  for (let i = Math.floor((rows - 1) % every / 2); i < rows; i += every) {
    for (let j = Math.floor((cols - 1) % every / 2); j < cols; j += every) {
      const k = i * cols + j, fromY = field.origin[0] + i * field.step, fromX = field.origin[1] + j * field.step;
      const y = field.y[k] * gain, x = field.x[k] * gain;
      arrows.push({ fromY, fromX, y: fromY + y, x: fromX + x, angle: Math.atan2(y, x), tip: Math.min(extent * .016, Math.hypot(y, x) * .5), out: false,
        words: `x ${signed(field.x[k] + field.mean[1])} px, y ${signed(field.y[k] + field.mean[0])} px, sigma ${sigmaText(field.sigma[k])} px` });
    }
  }
  return { arrows, longest };
}
