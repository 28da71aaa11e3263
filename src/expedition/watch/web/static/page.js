"use strict";
// The page: one function a section. DATA is what page.py embedded.

const DATA = JSON.parse(document.getElementById("data").textContent);
const runs = Object.keys(DATA.views.global.data || {});
const runColour = (run) => COLOURS[Math.max(0, runs.indexOf(run)) % 8];

function section(id, title, lead, ...cards) {
  return el("section", { id }, el("h2", {}, title), el("p", { class: "lead" }, lead), el("div", { class: "grid" }, ...cards));
}
function card(title, unit, body, width = "") {
  return el("div", { class: `card ${width}` }, el("h3", {}, title, unit ? el("span", { class: "unit" }, unit) : null), body);
}
function tile(value, label, tone = null) {
  return el("div", { class: "card tile w3" }, el("b", tone ? { style: `color:var(--${tone})` } : {}, value), el("span", {}, label));
}
function chip(text, tone = "") { return el("span", { class: `chip ${tone}` }, text); }
function table(columns, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, columns.map((c) => el("th", { class: c.n ? "n" : null }, c.name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((v, i) => el("td", { class: columns[i].n ? "n" : null }, v === null || v === undefined ? "unknown" : v))))));
}
function age(view) { return view.fresh_s === null ? "age unknown" : `newest figure ${duration(view.fresh_s)} old when written`; }
function runSeries(name) {
  return runs.map((run) => ({ name: run, colour: runColour(run), ...points(DATA.views.global.data[run].series, name) })).filter((s) => s.y);
}
function points(series, name) { return { x: series.step, y: series[name] }; }
function last(list) { return list ? [...list].reverse().find((v) => v !== null) ?? null : null; }
function withTabs(names, draw) {
  const body = el("div"), tabs = el("div", { class: "tabs" });
  names.forEach((name) => {
    const button = el("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      [...tabs.children].forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      body.replaceChildren(draw(name));
    });
    tabs.append(button);
  });
  const first = names.includes("main") ? names.indexOf("main") : names.length - 1;
  tabs.children[first].click();
  return el("div", { class: "w12", style: "grid-column:span 12" }, names.length > 1 ? tabs : null, body);
}

function overview() {
  const run = runs.includes("main") ? "main" : runs[runs.length - 1];
  const series = run ? DATA.views.global.data[run].series : {};
  const open = DATA.incidents.filter((i) => i.status !== "resolved").length;
  const gates = DATA.gates ? DATA.gates.criteria || [] : [];
  const passed = gates.filter((g) => g.verdict === "pass").length, failed = gates.filter((g) => g.verdict === "fail").length;
  const goodput = DATA.goodput ? DATA.goodput.ratio : null;
  return section("overview", "Now", `${DATA.title} · preset ${DATA.preset} · written ${DATA.written}`,
    tile(run ? format(last(series.loss)) : "no run", run ? `loss of run ${run}, nats/token` : "nothing has trained yet"),
    tile(format(last(series.tokens)), "tokens trained"),
    tile(format(last(series.tokens_per_s)), "tokens/s"),
    tile(percent(last(series.mfu)), "MFU (BF16 peak, causal half)"),
    tile(String(open), `open of ${DATA.incidents.length} incidents`, open ? "bad" : null),
    tile(gates.length ? `${passed} / ${gates.length}` : "none", failed ? `criteria passed, ${failed} failed` : "criteria passed", failed ? "bad" : null),
    tile(percent(goodput), "productive of wall time"),
    tile(DATA.nodes.length ? `${DATA.nodes.filter((n) => n.state === "in service").length} / ${DATA.nodes.length}` : "none", "nodes in service"));
}

function globalView() {
  if (!runs.length) return section("global", "Global", "Loss, learning rate, gradient norm, tokens.", card("", "", empty("No run has written metrics yet. A run writes them as it trains."), "w12"));
  const all = section("global", "Global", `Every run, by optimiser step. Thinned curves keep each stretch's extremes. ${age(DATA.views.global)}.`);
  all.append(withTabs([...(runs.length > 1 ? ["all runs"] : []), ...runs], (name) => {
    const chosen = name === "all runs" ? null : name;
    const pick = (metric) => runSeries(metric).filter((s) => !chosen || s.name === chosen);
    const marks = DATA.incidents.filter((i) => chosen && i.run === chosen).map((i) => ({ x: i.step, text: `${i.severity} ${i.rule} at step ${i.step}\n${i.symptom}` }));
    const attempts = chosen ? DATA.views.global.data[chosen].attempts : [];
    const resumes = attempts.slice(1).map((a) => ({ x: a.from_step, text: `attempt ${a.number} began at step ${a.from_step}` }));
    const again = attempts.filter((a) => a.superseded).map((a) => ({ name: `attempt ${a.number}, done again`, x: a.superseded.step, y: a.superseded.loss }));
    const kinds = chosen ? Object.keys(DATA.views.global.data[chosen].series).filter((n) => n.startsWith("loss/")).map((n) => ({ name: n.slice(5), ...points(DATA.views.global.data[chosen].series, n) })) : [];
    const parts = chosen ? ["data_s", "forward_backward_s", "optimizer_s", "other_s"].filter((n) => DATA.views.global.data[chosen].series[n]).map((n) => ({ name: n.replace(/_s$/, "").replace("_", " and "), ...points(DATA.views.global.data[chosen].series, n) })) : [];
    return el("div", { class: "grid" },
      card("Loss", "nats/token", lineChart([...pick("loss"), ...again], { unit: "nats/token", marks: [...marks, ...resumes], width: 860, height: 270 }), "w8"),
      card("Tokens", "trained", lineChart(pick("tokens"), { unit: "tokens", width: 400, height: 255, zero: true }), "w4"),
      card("Learning rate", "", lineChart(pick("learning_rate"), { width: 400, height: 200, zero: true }), "w4"),
      card("Gradient norm", "before clipping, log", lineChart(pick("gradient_norm"), { width: 400, height: 200, log: true }), "w4"),
      card("Speed", "tokens/s", lineChart(pick("tokens_per_s"), { width: 400, height: 200, zero: true }), "w4"),
      kinds.length ? card("Loss by kind of data", "nats/token", lineChart(kinds, { unit: "nats/token" })) : null,
      parts.length ? card("Where a step's time goes", "s", lineChart(parts, { unit: "s", zero: true })) : null);
  }));
  return all;
}

function hardwareView() {
  const { ranks, host } = DATA.views.hardware.data;
  const kinds = [["gpu_temperature_c", "GPU °C"], ["gpu_power_w", "GPU W"], ["gpu_memory_bytes", "GPU memory"], ["gpu_utilisation", "GPU busy"], ["cpu_temperature_c", "CPU °C"], ["cpu_utilisation", "CPU busy"], ["load_share", "CPU load"], ["host_memory_bytes", "host memory"]];
  const shown = ranks.length ? ranks : [{ rank: 0, run: "this machine", cpu_temperature_c: host.temperature_c, load_share: host.load_1min === null ? null : host.load_1min / host.processors, host_memory_bytes: host.memory_bytes, ...gpuRow(host.gpus[0]) }];
  const values = kinds.map(([name]) => { const row = shown.map((r) => r[name] ?? null), top = Math.max(...row.filter((v) => v !== null), 1e-12); return row.map((v) => (v === null ? null : v / top)); });
  const raw = (r, c) => { const v = shown[c][kinds[r][0]] ?? null; return v === null ? "unknown" : kinds[r][0].endsWith("bytes") ? bytes(v) : kinds[r][0].endsWith("utilisation") || kinds[r][0] === "load_share" ? percent(v) : format(v); };
  const map = heatMap(values, { rows: kinds.map((k) => k[1]), columns: shown.map((r) => String(r.rank)), low: 0, high: 1, text: (v, r, c) => raw(r, c), hue: "var(--c1)", cell: Math.max(26, Math.min(110, 620 / shown.length)), label: 100 });
  const facts = [["processors", String(host.processors)], ["load, 1 min", format(host.load_1min)], ["memory in use", `${bytes(host.memory_bytes)} of ${bytes(host.memory_total_bytes)}`], ["temperature", host.temperature_c === null ? "unknown: no sensor" : format(host.temperature_c) + " °C"], ["accelerators", host.gpus.length ? String(host.gpus.length) : "none found"]];
  return section("hardware", "Hardware", "Temperature, power, memory, utilisation of every rank; hatched is unknown, never zero.",
    card("Ranks", "each row against its own maximum", map, "w8"), card("The machine that wrote this page", "", el("dl", {}, facts.map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])), "w4"));
}
function gpuRow(gpu) { return gpu ? { gpu_temperature_c: gpu.temperature_c, gpu_power_w: gpu.power_w, gpu_memory_bytes: gpu.memory_bytes, gpu_utilisation: gpu.utilisation } : {}; }

function networkView() {
  const links = DATA.views.network.data;
  if (!links) return section("network", "Network", "Bandwidth between ranks.", card("", "", empty("Not measured yet: expedition cluster links"), "w12"));
  const names = links.bytes_per_s.map((_, n) => String(n)), known = links.bytes_per_s.flat().filter((v) => v !== null).sort((a, b) => a - b);
  const middle = known[Math.floor(known.length / 2)], sums = links.bytes_per_s.map((row, n) => { const v = [...row, ...links.bytes_per_s.map((r) => r[n])].filter((x) => x !== null); return v.length ? v.reduce((a, b) => a + b, 0) / v.length : null; });
  const slow = sums.map((v, n) => [n, v]).filter(([, v]) => v !== null && v < 0.6 * middle);
  return section("network", "Network", `Measured: ${links.conditions.join("; ")}. ${age(DATA.views.network)}.`,
    card("Bandwidth from row to column", "best of the repeats", heatMap(links.bytes_per_s, { rows: names.map((n) => `rank ${n}`), columns: names, text: (v) => bytes(v) + "/s", hue: "var(--c2)", cell: 92, low: 0 }), "w8"),
    card("Mean of a rank's links", "", el("div", {}, sums.map((v, n) => shareRow(`rank ${n}`, v === null ? 0 : v / Math.max(...sums), bytes(v) + "/s", slow.some(([s]) => s === n) ? "var(--bad)" : "var(--c2)")),
      el("p", { class: "lead", style: "margin:12px 0 0" }, slow.length ? `Congested (below 60 % of the median): rank ${slow.map(([n]) => n).join(", ")}` : `No rank lies below 60 % of the median, ${bytes(middle)}/s.`)), "w4"));
}

function moeView() {
  const data = DATA.views.moe.data || {}, names = Object.keys(data);
  if (!names.length) return section("moe", "Experts", "Load balance of the mixture of experts.", card("", "", empty("No MoE metrics yet."), "w12"));
  const out = section("moe", "Experts", "Load balance by layer; shares count (token, expert) assignments.");
  out.append(withTabs(names, (run) => {
    const { series, expert_shares: shares, rows } = data[run];
    const layers = (prefix) => Object.keys(series).filter((n) => n.startsWith(prefix + "/")).sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).map((n) => ({ name: "layer " + n.split("/").pop(), ...points(series, n) }));
    const experts = shares[0]?.length || 0, even = experts ? 1 / experts : 0;
    const flat = shares.flat().map((s) => s / (even || 1)), bins = 16, top = Math.max(2, ...flat), counts = Array(bins).fill(0);
    flat.forEach((v) => { counts[Math.min(bins - 1, Math.floor((v / top) * bins))] += 1; });
    return el("div", { class: "grid" },
      card("Load CV by layer", "std over mean", lineChart(layers("load_cv"), { width: 400, height: 200, zero: true }), "w4"),
      card("Busiest 10 % of experts", "share of assignments", lineChart([...layers("top10_expert_share"), ...(layers("top10_expert_share").length ? [] : [{ name: "worst layer", ...points(series, "top10_expert_share") }])].filter((s) => s.y), { width: 400, height: 200, zero: true }), "w4"),
      card("Router losses", "before coefficients", lineChart(["router_z_loss", "auxiliary_loss"].filter((n) => series[n]).map((n) => ({ name: n.replaceAll("_", " "), ...points(series, n) })), { width: 400, height: 200 }), "w4"),
      experts ? card("Use of every expert", `share of the layer's assignments, newest ${rows} rows`, heatMap(shares, { rows: shares.map((_, n) => `layer ${n}`), columns: shares[0].map((_, n) => String(n)), text: (v) => percent(v), hue: "var(--c3)", low: 0, cell: 34, label: 70 }), "w8") : null,
      experts ? card("Utilisation histogram", "experts by share ÷ even share", barChart(counts.map((c, n) => ({ label: ((n * top) / bins).toFixed(1), value: c, colour: "var(--c3)" })), { unit: "experts", width: 400, height: 190 }), "w4") : null);
  }));
  return out;
}

function incidentsView() {
  const t = DATA.times;
  const body = DATA.incidents.length ? el("div", {}, [...DATA.incidents].reverse().map(incident)) : empty("No incident yet.");
  return section("incidents", "Incidents", `Mean time to detect ${duration(t.mttd_s)}, to acknowledge ${duration(t.mtta_s)}, to resolve ${duration(t.mttr_s)}.`, card("", "", body, "w12"));
}
function incident(i) {
  const tone = i.status === "resolved" ? "good" : i.severity === "SEV-3" ? "warn" : "bad";
  const facts = [["rule", i.rule], ["run", `${i.run}, step ${i.step}, ${format(i.tokens)} tokens`], ["on duty", i.on_duty ?? "no roster kept"], ["root cause", i.root_cause ?? "not known yet"], ["fix", i.fix ?? "none yet"], ["prevention", i.prevention ?? "none yet"], ["lost", i.lost_gpu_hours === null ? "counted when resolved" : `${format(i.lost_gpu_hours)} GPU-hours, $${format(i.cost_usd)} on ${i.price.gpus} × $${i.price.usd_per_gpu_hour}`], ["diagnosis", i.diagnosis.findings.length ? i.diagnosis.findings.join("; ") : "nothing stands out"], ["evidence", i.evidence.map((e) => `${e.path.split("/").pop()} (${e.sha256.slice(0, 12)})`).join(", ")]];
  const gradients = Object.entries(i.diagnosis.gradients || {});
  const top = Math.max(...gradients.map(([, v]) => v || 0), 1e-12);
  return el("details", i.status === "resolved" ? {} : { open: "" },
    el("summary", {}, chip(i.severity, i.severity === "SEV-3" ? "warn" : "bad"), chip(i.status, tone), el("strong", {}, i.id), el("span", {}, i.symptom)),
    el("div", { class: "grid", style: "margin-top:8px" },
      el("div", { style: "grid-column:span 7" }, el("dl", {}, facts.map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]))),
      el("div", { style: "grid-column:span 5" }, el("ul", { class: "times" }, i.timeline.map((line) => el("li", {}, el("time", {}, line.time.slice(0, 19).replace("T", " ")), `${line.what} (${line.who})`))),
        gradients.length ? el("h3", {}, "Gradient norm by part") : null, gradients.slice(0, 12).map(([name, v]) => shareRow(name, v === null ? 1 : v / top, v === null ? "not finite" : format(v), v === null ? "var(--bad)" : "var(--c0)")))));
}

function governanceView() {
  const { shares, languages, safety, alignment } = Object.fromEntries(["shares", "languages", "safety", "alignment"].map((n) => [n, DATA.views[n]]));
  if (!shares.present) return section("data", "Data governance", "Sources, languages, safety, alignment.", card("", "", empty("No dataset version yet: expedition data build"), "w12"));
  const d = shares.data, total = d.tokens || 1, tone = { large: "var(--c0)", minority: "var(--c2)", dialect: "var(--c1)", unknown: "var(--c7)" };
  const kinds = Object.entries(d.kinds).sort((a, b) => b[1] - a[1]);
  const languageBody = !languages.present ? empty("The version has no language statistics.") : languageCards(languages.data, tone);
  const top = safety.present ? Math.max(...safety.data.flatMap((r) => [r.pii || 0, r.toxicity || 0]), 1e-9) : 1;
  const safetyBody = !safety.present ? empty("The build's report has no PII or toxicity stage.") : el("div", {},
    safety.data.filter((r) => r.source === null).flatMap((r) => [["personal data", r.pii, "var(--c3)"], ["toxicity", r.toxicity, "var(--c5)"]].map(([name, v, c]) => shareRow(`${r.version} · ${name}`, (v || 0) / top, percent(v), c))),
    el("div", { class: "scroll", style: "max-height:190px;margin-top:10px" }, table([{ name: "version" }, { name: "source" }, { name: "personal data", n: 1 }, { name: "toxicity", n: 1 }], safety.data.filter((r) => r.source !== null).map((r) => [r.version, r.source, percent(r.pii), percent(r.toxicity)]))));
  const alignmentBody = !alignment.present ? empty("The build reported no subtitle offsets.") : barChart(alignment.data.counts.map((c, n) => ({ label: alignment.data.labels[n], value: c, colour: "var(--c6)", note: alignment.data.cells[n] })), { unit: "clips" });
  return section("data", "Data governance", `Dataset ${d.version}: ${format(d.documents)} documents, ${format(d.tokens)} expanded tokens. ${age(shares)}.`,
    card("Share by kind", "marker: planned", el("div", {}, kinds.map(([kind, tokens], n) => shareRow(kind, tokens / total, `${format(tokens)} · ${percent(tokens / total)}`, COLOURS[n % 8], DATA.mix[kind] ?? null))), "w4"),
    card("Tokens by source", "expanded", el("div", { class: "scroll" }, table([{ name: "source" }, { name: "kind" }, { name: "documents", n: 1 }, { name: "tokens", n: 1 }, { name: "share", n: 1 }], d.sources.map((s) => [s.source, s.kind, format(s.documents), format(s.tokens), percent(s.tokens / total)]))), "w8"),
    card("Languages", "by expanded tokens, dialects and minority languages named", languageBody, "w12"),
    card("PII and toxicity", "share of documents acted on, in build order", safetyBody),
    card("Subtitle minus media time", "s", alignmentBody));
}
function languageCards(rows, tone) {
  const total = rows.reduce((s, r) => s + r.tokens, 0) || 1, big = rows.slice(0, 9), rest = rows.slice(9);
  const groups = ["large", "minority", "dialect", "unknown"].map((c) => ({ label: c === "unknown" ? "undetermined" : c === "dialect" ? "dialects" : c + " languages", value: rows.filter((r) => r.class === c).reduce((s, r) => s + r.tokens, 0), colour: tone[c], note: `${rows.filter((r) => r.class === c).length} varieties` })).filter((g) => g.value);
  const slices = big.map((r, n) => ({ label: r.language, value: r.tokens, colour: COLOURS[n % 8], note: `${format(r.documents)} documents, ${r.class}` }));
  if (rest.length) slices.push({ label: `${rest.length} more`, value: rest.reduce((s, r) => s + r.tokens, 0), colour: "var(--soft)", note: rest.map((r) => r.language).slice(0, 24).join(" ") });
  return el("div", { class: "grid" },
    el("div", { style: "grid-column:span 3" }, donut(slices), legend(slices.map((s) => [s.label, s.colour]))),
    el("div", { style: "grid-column:span 4" }, groups.map((g) => shareRow(g.label, g.value / total, percent(g.value / total), g.colour))),
    el("div", { class: "scroll", style: "grid-column:span 5;max-height:300px" }, table([{ name: "language" }, { name: "class" }, { name: "documents", n: 1 }, { name: "tokens", n: 1 }, { name: "share", n: 1 }], rows.map((r) => [r.language, el("span", { style: `color:${tone[r.class]}` }, r.class === "unknown" ? "undetermined" : r.class), format(r.documents), format(r.tokens), percent(r.tokens / total)]))));
}

function clusterView() {
  const g = DATA.goodput, palette = { productive: "var(--c2)", data_stall: "var(--c4)", overhead: "var(--c6)", skipped: "var(--c3)", recomputed: "var(--c1)", restore: "var(--c7)", startup: "var(--c0)", fault: "var(--bad)", paused: "var(--soft)", other: "var(--line)" };
  const order = Object.keys(palette), buckets = g ? Object.entries(g.buckets).filter(([, v]) => v > 0).sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0])) : [];
  const body = g && g.wall_s ? el("div", {}, el("div", { class: "bar" }, buckets.map(([n, v]) => hover(el("i", { style: `width:${(v / g.wall_s) * 100}%;background:${palette[n] || "var(--soft)"}` }), `${n.replace("_", " ")}: ${duration(v)}, ${percent(v / g.wall_s)}`))), legend(buckets.map(([n, v]) => [`${n.replace("_", " ")} ${percent(v / g.wall_s)}`, palette[n] || "var(--soft)"]))) : empty("Not accounted yet: expedition cluster goodput");
  const nodes = DATA.nodes.length ? table([{ name: "node" }, { name: "state" }, { name: "why" }], DATA.nodes.map((n) => [n.node, chip(n.state, n.state === "in service" ? "good" : n.state === "suspect" ? "warn" : "bad"), n.history[n.history.length - 1].reason])) : empty("No node has been tested yet: expedition cluster burnin");
  const drills = DATA.drills ? table([{ name: "fault" }, { name: "run" }, { name: "detect", n: 1 }, { name: "restore", n: 1 }, { name: "restart", n: 1 }, { name: "lost steps", n: 1 }, { name: "result" }], DATA.drills.drills.map((d) => [d.kind, d.run, duration(d.detect_s), duration(d.restore_s), duration(d.restart_s), d.lost_steps === null ? "unknown" : String(d.lost_steps), chip(d.ok ? "recovered" : "failed", d.ok ? "good" : "bad")])) : empty("No drill yet: expedition cluster drill");
  return section("cluster", "Cluster", "Where the hours went, which nodes may serve, how fast a job comes back.",
    card("Goodput", g && g.wall_s ? `${duration(g.wall_s)} of wall time` : "", body, "w12"), card("Nodes", "", el("div", { class: "scroll" }, nodes)), card("Fault drills", "local processes", drills));
}

function gatesView() {
  const rows = DATA.gates ? DATA.gates.criteria || [] : [];
  if (!rows.length) return section("gates", "Gates", "Acceptance criteria, from evidence.", card("", "", empty("Not evaluated yet: expedition gate all"), "w12"));
  const tone = { pass: "good", fail: "bad", "no evidence": "", waived: "warn" }, counts = {};
  rows.forEach((r) => { counts[r.verdict] = (counts[r.verdict] || 0) + 1; });
  const value = (v) => (typeof v === "number" ? format(v, 4) : v === null || v === undefined ? "–" : typeof v === "object" ? JSON.stringify(v) : String(v));
  const columns = [{ name: "gate" }, { name: "criterion" }, { name: "verdict" }, { name: "measured", n: 1 }, { name: "threshold", n: 1 }, { name: "chapter", n: 1 }, { name: "conditions" }];
  return section("gates", "Gates", Object.entries(counts).map(([k, n]) => `${n} ${k}`).join(" · "),
    card("", "", el("div", { class: "scroll" }, table(columns, rows.map((r) => [r.gate, r.id, chip(r.verdict, tone[r.verdict]), value(r.measured), value(r.threshold), r.scaled ? value(r.chapter_threshold) : "same", [...(r.scaled ? ["scaled"] : []), ...(r.conditions || [])].join(", ") || "–"]))), "w12"));
}
function ganttView() {
  const body = DATA.gantt ? el("img", { class: "gantt", src: DATA.gantt, alt: "Gantt chart of W0 to W26" }) : empty("Not drawn yet: expedition programme gantt");
  return section("programme", "Programme", "W0 to W26: six workstreams, milestones, critical path.", card("", "", body, "w12"));
}

function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches || location.hash === "#dark";
  root.dataset.theme = dark ? "dark" : "light";
  document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });
}
function start() {
  theme();
  document.title = `${DATA.title} · war room`;
  document.getElementById("title").textContent = DATA.title;
  document.getElementById("preset").textContent = DATA.preset;
  const views = { overview: ["Now", true], global: ["Global", DATA.views.global.present], hardware: ["Hardware", DATA.views.hardware.present], network: ["Network", DATA.views.network.present], moe: ["Experts", DATA.views.moe.present], incidents: ["Incidents", true], data: ["Data", DATA.views.shares.present], cluster: ["Cluster", Boolean(DATA.goodput)], gates: ["Gates", Boolean(DATA.gates)], programme: ["Programme", Boolean(DATA.gantt)] };
  document.getElementById("nav").append(...Object.entries(views).map(([id, [name, present]]) => el("a", { href: `#${id}`, class: present ? null : "absent" }, el("i"), name)));
  document.getElementById("main").replaceChildren(overview(), globalView(), hardwareView(), networkView(), moeView(), incidentsView(), governanceView(), clusterView(), gatesView(), ganttView());
  document.getElementById("footer").textContent = `Static page, drawn from the workspace's artefacts at ${DATA.written}. “unknown” means that nothing measured it.`;
  document.body.dataset.ready = "yes";
}
start();
