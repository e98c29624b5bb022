"use strict";
// Everything that comes from outside is set as text or attribute, never parsed as markup.
const report = JSON.parse(document.getElementById("data").textContent);
const items = report.items;
items.forEach((item, k) => { item.k = k; item.date = item.time === null ? null : Date.parse(item.time); });

const STATUSES = {
  coregistered: "coregistered",
  already_aligned: "already aligned",
  no_improvement: "no improvement",
  failed: "failed",
  anchor: "anchor",
};
const MARKS = {
  coregistered: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  already_aligned: (r) => `M${-r * .9} ${-r * .9}h${1.8 * r}v${1.8 * r}h${-1.8 * r}z`,
  no_improvement: (r) => `M0 ${-1.15 * r}L${1.1 * r} ${.85 * r}H${-1.1 * r}z`,
  failed: (r) => {
    const a = r * .35, b = r * 1.05;
    return `M${-b} ${-b + a}L${-b + a} ${-b}L0 ${-a}L${b - a} ${-b}L${b} ${-b + a}L${a} 0L${b} ${b - a}` +
      `L${b - a} ${b}L0 ${a}L${-b + a} ${b}L${-b} ${b - a}L${-a} 0z`;
  },
  anchor: (r) => `M0 ${-1.35 * r}L${1.35 * r} 0L0 ${1.35 * r}L${-1.35 * r} 0z`,
};

const byId = (id) => document.getElementById(id);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const html = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// A name that may be broken between its parts, and nowhere else unless it has to be.
const breakable = (name) => name.split(/(?<=[_\-./])/).flatMap((part) => [html("wbr"), part]).slice(1);

const known = (value) => value !== null && value !== undefined;
const fixed = (value, digits) => (known(value) ? value.toFixed(digits).replace("-", "−") : "");
function signed(value, digits = 3) {
  if (!known(value)) return "";
  const text = fixed(value, digits);
  return Number(value.toFixed(digits)) === 0 ? text.replace("−", "") : value > 0 ? `+${text}` : text;
}
function sigmaText(value) {
  if (!known(value)) return "";
  return value < 0.0005 ? "<0.001" : fixed(value, 3);
}
const length = (item) => (known(item.x) ? Math.hypot(item.x, item.y) : null);
const sigma = (item) => (known(item.sx) ? Math.max(item.sx, item.sy) : null);
// where only the day is known, midnight stands for it
const dateText = (item) => (item.date === null ? "" : item.time.slice(0, 19).replace("T00:00:00", "").replace("T", " "));

function median(values) {
  const sorted = values.filter(known).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function mark(status) {
  return svg("svg", { class: `mark ${status}`, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
    svg("path", { class: "point", d: MARKS[status](5) }));
}
const statusLabel = (status) => html("span", { class: "status" }, mark(status), STATUSES[status]);

// A length in metres beside one in pixels, where the map counts in metres.
function metres(pixels) {
  return known(pixels) && report.metres ? `${fixed(pixels * report.metres, pixels * report.metres < 10 ? 2 : 1)} m` : "";
}
