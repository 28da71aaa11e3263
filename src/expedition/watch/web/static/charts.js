"use strict";
// Charts of the page: each function returns an element. Data text reaches the document only as text nodes.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => `var(--c${n})`);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  for (const child of children.flat(2)) if (child !== null && child !== undefined) node.append(child);
  return node;
}
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of children.flat()) node.append(child);
  return node;
}
function format(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "unknown";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e4) return String(value);
  if (size >= 1e12) return trim(value / 1e12) + "T";
  if (size >= 1e9) return trim(value / 1e9) + "B";
  if (size >= 1e6) return trim(value / 1e6) + "M";
  if (size >= 1e4) return trim(value / 1e3) + "k";
  if (size !== 0 && size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}
function trim(value) { return String(Number(value.toPrecision(3))); }
function percent(value) { return value === null || value === undefined ? "unknown" : (value * 100).toFixed(value < 0.0995 ? 1 : 0) + " %"; }
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 120) return Number(seconds.toPrecision(2)) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(0) + " min";
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + " h";
  return (seconds / 86400).toFixed(1) + " d";
}
function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let n = 0;
  while (value >= 1000 && n < units.length - 1) { value /= 1000; n += 1; }
  return Number(value.toPrecision(3)) + " " + units[n];
}
const tip = {
  show(text, event) {
    const box = document.getElementById("tip");
    box.textContent = text;
    box.hidden = false;
    const width = box.offsetWidth, height = box.offsetHeight;
    box.style.left = Math.max(6, Math.min(event.clientX + 14, innerWidth - width - 8)) + "px";
    box.style.top = Math.max(6, event.clientY - height - 12) + "px";
  },
  hide() { document.getElementById("tip").hidden = true; },
};
function hover(node, text) {
  node.addEventListener("pointermove", (event) => tip.show(text, event));
  node.addEventListener("pointerleave", tip.hide);
  return node;
}
function empty(text) { return el("div", { class: "empty" }, text); }

function niceTicks(low, high, count) {
  const span = high - low || 1;
  const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) ticks.push(Math.abs(t) < step * 1e-9 ? 0 : t);
  return ticks;
}

// series: [{name, x: [..], y: [..]}]; marks: [{x, text}]
function lineChart(series, { unit = "", xName = "step", log = false, marks = [], width = 620, height = 230, zero = false } = {}) {
  const shown = series.filter((s) => s.y.some((v) => v !== null));
  if (!shown.length) return empty("no rows yet");
  const W = width, H = height, L = 50, R = 12, T = 10, B = 26;
  const ok = (v) => v !== null && (!log || v > 0);
  const xs = shown.flatMap((s) => s.x), ys = shown.flatMap((s) => s.y.filter(ok));
  if (!ys.length) return empty("no finite values");
  const scale = (v) => (log ? Math.log10(v) : v);
  let x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = Math.min(...ys.map(scale)), y1 = Math.max(...ys.map(scale));
  if (zero && !log) y0 = Math.min(0, y0);
  if (x0 === x1) { x0 -= 1; x1 += 1; }
  const pad = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
  y1 += pad; if (!(zero && y0 === 0)) y0 -= pad;
  const px = (x) => L + ((x - x0) / (x1 - x0)) * (W - L - R), py = (v) => T + (1 - (scale(v) - y0) / (y1 - y0)) * (H - T - B);
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": shown.map((s) => s.name).join(", ") });
  for (const t of niceTicks(y0, y1, 4)) {
    const y = T + (1 - (t - y0) / (y1 - y0)) * (H - T - B);
    root.append(svg("line", { x1: L, x2: W - R, y1: y, y2: y, class: "gridline" }), svg("text", { x: L - 7, y: y + 4, "text-anchor": "end" }, format(log ? 10 ** t : t)));
  }
  for (const t of niceTicks(x0, x1, W / 100)) root.append(svg("text", { x: px(t), y: H - 7, "text-anchor": "middle" }, format(t)));
  for (const mark of marks) if (mark.x >= x0 && mark.x <= x1) root.append(
    hover(svg("g", {}, svg("line", { x1: px(mark.x), x2: px(mark.x), y1: T, y2: H - B, stroke: "var(--bad)", "stroke-width": 1.5, "stroke-dasharray": "4 3" }),
      svg("circle", { cx: px(mark.x), cy: T + 5, r: 5, fill: "var(--bad)" })), mark.text));
  shown.forEach((s, n) => {
    let path = "", open = false;
    s.y.forEach((v, i) => { if (!ok(v)) { open = false; return; } path += `${open ? "L" : "M"}${px(s.x[i]).toFixed(1)},${py(v).toFixed(1)}`; open = true; });
    root.append(svg("path", { d: path, fill: "none", stroke: s.colour || COLOURS[n % 8], "stroke-width": 1.7, "stroke-linejoin": "round" }));
  });
  const cursor = svg("line", { y1: T, y2: H - B, class: "cursor", visibility: "hidden" });
  const area = svg("rect", { x: L, y: T, width: W - L - R, height: H - T - B, fill: "transparent" });
  area.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect(), x = x0 + (((event.clientX - box.left) / box.width) * W - L) / (W - L - R) * (x1 - x0);
    const lines = shown.map((s) => { const i = nearest(s.x, x); return [s.x[i], `${s.name}  ${format(s.y[i], 4)}`]; });
    cursor.setAttribute("x1", px(lines[0][0])); cursor.setAttribute("x2", px(lines[0][0])); cursor.setAttribute("visibility", "visible");
    tip.show(`${xName} ${format(lines[0][0], 6)}\n` + lines.map((l) => l[1]).join("\n") + (unit ? `  ${unit}` : ""), event);
  });
  area.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); tip.hide(); });
  if (marks.length) root.insertBefore(area, root.firstChild); else root.append(area);
  root.append(cursor);
  const parts = [root];
  if (shown.length > 1) parts.push(legend(shown.map((s, n) => [s.name, s.colour || COLOURS[n % 8]])));
  return el("div", {}, ...parts);
}
function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; if (xs[mid] < x) low = mid; else high = mid; }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}
function legend(entries) {
  return el("div", { class: "legend" }, entries.map(([name, colour]) => el("span", {}, el("i", { style: `background:${colour}` }), name)));
}

// bars: [{label, value, colour?, note?}]; vertical
function barChart(bars, { width = 620, height = 200, unit = "" } = {}) {
  const W = width, H = height, L = 50, R = 12, T = 10, B = 26;
  const top = Math.max(...bars.map((b) => b.value)) * 1.08 || 1;
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img" });
  for (const t of niceTicks(0, top, 4)) {
    const y = T + (1 - t / top) * (H - T - B);
    root.append(svg("line", { x1: L, x2: W - R, y1: y, y2: y, class: "gridline" }), svg("text", { x: L - 7, y: y + 4, "text-anchor": "end" }, format(t)));
  }
  const step = (W - L - R) / bars.length, every = Math.ceil((bars.length * 44) / W);
  bars.forEach((b, n) => {
    const h = (b.value / top) * (H - T - B), x = L + n * step;
    root.append(hover(svg("rect", { x: x + step * 0.1, y: H - B - h, width: step * 0.8, height: Math.max(h, 0.5), rx: Math.min(3, step / 4), fill: b.colour || "var(--c0)" }), `${b.label}: ${format(b.value, 4)} ${unit}${b.note ? "\n" + b.note : ""}`));
    if (n % every === 0) root.append(svg("text", { x: x + step / 2, y: H - 7, "text-anchor": "middle" }, b.label));
  });
  return root;
}

// values[row][column] or null = unknown (hatched)
function heatMap(values, { rows, columns, text = (v, r, c) => format(v), low = null, high = null, cell = 40, label = 90, hue = "var(--c0)" } = {}) {
  const known = values.flat().filter((v) => v !== null);
  const lo = low ?? Math.min(...known, 0), hi = high ?? Math.max(...known, 1e-12);
  const n = values[0]?.length ?? 0, W = Math.max(420, label + n * cell + 10), size = (W - label - 10) / Math.max(1, n), h = Math.min(cell, 34), T = 22;
  const id = "hatch" + Math.random().toString(36).slice(2);
  const root = svg("svg", { viewBox: `0 0 ${W} ${T + values.length * h + 6}`, class: "chart", role: "img", style: `max-width:${W * 1.15}px` },
    svg("defs", {}, svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("rect", { width: 6, height: 6, fill: "var(--nonebg)" }), svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, stroke: "var(--line)", "stroke-width": 3 }))));
  columns.forEach((name, c) => { if (c % Math.ceil(n / 24) === 0) root.append(svg("text", { x: label + (c + 0.5) * size, y: 14, "text-anchor": "middle" }, name)); });
  values.forEach((row, r) => {
    root.append(svg("text", { x: label - 8, y: T + (r + 0.5) * h + 4, "text-anchor": "end" }, rows[r]));
    row.forEach((v, c) => {
      const part = v === null ? 0 : Math.max(0, Math.min(1, (v - lo) / (hi - lo || 1)));
      const fill = v === null ? `url(#${id})` : `color-mix(in oklab, ${hue} ${(8 + part * 84).toFixed(0)}%, var(--card))`;
      root.append(hover(svg("rect", { x: label + c * size + 1, y: T + r * h + 1, width: size - 2, height: h - 2, rx: 3, fill }), `${rows[r]} · ${columns[c]}\n${v === null ? "unknown" : text(v, r, c)}`));
      if (size > 44 && v !== null) {
        const t = svg("text", { x: label + (c + 0.5) * size, y: T + (r + 0.5) * h + 4, "text-anchor": "middle", class: "cell-text", "pointer-events": "none" }, text(v, r, c));
        t.style.fill = part > 0.55 ? "var(--card)" : "var(--ink)";
        root.append(t);
      }
    });
  });
  return root;
}

// slices: [{label, value, colour, note}]
function donut(slices) {
  const total = slices.reduce((sum, s) => sum + s.value, 0) || 1, R = 88, r = 54;
  const root = svg("svg", { viewBox: "-100 -100 200 200", class: "chart", role: "img", style: "max-width:240px;margin:0 auto" });
  let angle = -Math.PI / 2;
  for (const s of slices) {
    const next = angle + Math.min(0.99999, s.value / total) * 2 * Math.PI, large = next - angle > Math.PI ? 1 : 0;
    const p = (a, d) => `${(Math.cos(a) * d).toFixed(2)},${(Math.sin(a) * d).toFixed(2)}`;
    root.append(hover(svg("path", { d: `M${p(angle, R)}A${R},${R} 0 ${large} 1 ${p(next, R)}L${p(next, r)}A${r},${r} 0 ${large} 0 ${p(angle, r)}Z`, fill: s.colour, stroke: "var(--card)", "stroke-width": 1.2 }), `${s.label}: ${percent(s.value / total)}\n${s.note || ""}`));
    angle = next;
  }
  root.append(svg("text", { "text-anchor": "middle", y: -2, style: "font-size:22px;font-weight:650;fill:var(--ink)" }, String(slices.length)), svg("text", { "text-anchor": "middle", y: 16 }, "groups"));
  return root;
}
function shareRow(name, share, value, colour, planned = null) {
  const track = el("div", { class: "track" }, el("i", { style: `width:${Math.min(100, share * 100)}%;background:${colour}` }));
  if (planned !== null) track.append(hover(el("i", { style: `position:absolute;top:0;left:${planned * 100}%;width:2px;background:var(--ink);border-radius:0` }), `planned ${percent(planned)}`));
  return el("div", { class: "row" }, el("span", { class: "name", title: name }, name), track, el("span", { class: "v" }, value));
}
