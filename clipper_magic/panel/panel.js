// The live panel. Plain ESM, no build step. The DOM is made once and patched in place, so that focus, selection and a
// screen reader's position survive each refresh. All words come from the kernel ("labels", "rows", "meta").

const CURVES = ["p50", "p95", "p99"];
const POINTS = 120;
const SVG = "http://www.w3.org/2000/svg";
const PLOT = { left: 46, right: 104, top: 10, bottom: 20, height: 168, gap: 15 };
const RATE_HEIGHT = 44;
const HERE_EVERY_MS = 10_000;

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
}

function fill(template, fields) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => (name in fields ? fields[name] : whole));
}

// --- the table ---

const COLUMNS = ["app", "model", "state", "replicas", "latency", "qps", "batch", "cache", "defaults"];

class Line {
  constructor(panel) {
    this.panel = panel;
    this.row = null;
    this.name = make("span", { class: "name" });
    this.facts = make("small");
    this.app = make("th", { scope: "row" }, this.name, this.facts);
    this.model = make("span", { class: "name" });
    this.current = make("small", { class: "current" });
    this.use = make("button", { type: "button", class: "use", onclick: () => panel.send({ do: "version", key: this.row.key }) });
    this.glyph = make("span", { class: "glyph", "aria-hidden": "true" });
    this.state = make("span");
    this.fewer = make("button", { type: "button", class: "step", onclick: () => this.scale(-1) }, "−");
    this.count = make("output", { "aria-live": "off" }); // the note below tells what became of a click
    this.more = make("button", { type: "button", class: "step", onclick: () => this.scale(+1) }, "+");
    this.cells = { app: this.app };
    for (const column of COLUMNS.slice(1)) this.cells[column] = make("td", { class: column });
    this.cells.model.append(this.model, " ", this.current, this.use);
    this.cells.state.append(this.glyph, " ", this.state);
    this.cells.replicas.append(this.fewer, this.count, this.more);
    this.latency = make("span");
    this.late = make("small", { class: "late" });
    this.cells.latency.append(this.latency, this.late);
    this.share = make("span");
    this.why = make("small");
    this.cells.defaults.append(this.share, this.why);
    this.element = make("tr", {}, ...COLUMNS.map((column) => this.cells[column]));
  }

  scale(step) {
    const wanted = Math.max(0, this.row.requested + step);
    if (wanted === this.row.requested) return;
    this.row = { ...this.row, requested: wanted }; // two quick clicks are two steps
    this.showCount();
    this.panel.send({ do: "replicas", key: this.row.key, n: wanted });
  }

  showCount() {
    const { labels } = this.panel;
    put(this.count, `${this.row.observed}/${this.row.requested}`);
    mark(this.count, "aria-label", fill(labels.replicas_of, { model: this.row.key, ready: this.row.observed, wanted: this.row.requested }));
  }

  show(row) {
    const { labels } = this.panel;
    this.row = row;
    const versioned = row.version !== "";
    this.element.classList.toggle("first", row.first);
    put(this.name, row.first ? row.app : "");
    put(this.facts, row.first ? row.facts : "");
    put(this.model, versioned ? row.key : row.model);
    put(this.current, versioned && row.current ? labels.current : "");
    this.use.hidden = !versioned || row.current;
    put(this.use, labels.use);
    mark(this.use, "aria-label", fill(labels.use_version, { model: row.model, version: row.version }));
    put(this.glyph, row.glyph);
    put(this.state, row.state);
    for (const element of [this.fewer, this.count, this.more]) element.hidden = !versioned;
    if (versioned) {
      this.showCount();
      mark(this.fewer, "aria-label", fill(labels.fewer, { model: row.key }));
      mark(this.more, "aria-label", fill(labels.more, { model: row.key }));
      mark(this.fewer, "aria-disabled", String(row.requested === 0));
    }
    put(this.latency, row.latency);
    put(this.late, row.late ? `⚠ ${labels.late}` : "");
    for (const column of ["qps", "batch", "cache"]) put(this.cells[column], row[column]);
    put(this.share, row.defaults);
    put(this.why, row.why);
    for (const column of COLUMNS) {
      mark(this.cells[column], "data-label", labels[`head_${column}`]);
      this.cells[column].classList.toggle("blank", column === "replicas" ? !versioned : blank(row, column));
    }
  }
}

// A card of the narrow form has no lines without words.
function blank(row, column) {
  const words = { app: row.first ? row.app : "", defaults: row.defaults + row.why }[column] ?? row[column];
  return words === "";
}

class Table {
  constructor(panel) {
    this.panel = panel;
    this.lines = new Map();
    this.caption = make("caption");
    this.heads = COLUMNS.map(() => make("th", { scope: "col" }));
    this.body = make("tbody");
    this.element = make("table", {}, this.caption, make("thead", {}, make("tr", {}, ...this.heads)), this.body);
  }

  show(rows) {
    const { labels } = this.panel;
    put(this.caption, labels.title);
    COLUMNS.forEach((column, i) => put(this.heads[i], labels[`head_${column}`]));
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const ids = new Set(rows.map((row) => row.id));
    for (const [id, line] of this.lines) {
      if (ids.has(id)) continue;
      line.element.remove();
      this.lines.delete(id);
    }
    rows.forEach((row, place) => {
      let line = this.lines.get(row.id);
      if (line === undefined) this.lines.set(row.id, (line = new Line(this.panel)));
      line.show(row);
      const there = this.body.children[place];
      if (there !== line.element) this.body.insertBefore(line.element, there ?? null);
    });
    this.keepFocus(focused);
  }

  keepFocus(focused) {
    if (focused === null || focused === document.activeElement) return;
    const line = focused.closest("tr");
    const target = focused.hidden && line ? line.querySelector("button.step:last-of-type") : focused;
    if (target && target.isConnected) target.focus();
  }
}

// --- the chart ---

class Chart {
  constructor(panel) {
    this.panel = panel;
    this.title = make("label");
    this.choice = make("select", { onchange: () => panel.choose(this.choice.value) });
    this.title.append(make("span"), " ", this.choice);
    this.svg = draw("svg", { role: "img", height: PLOT.height });
    this.grid = draw("g", { class: "grid" });
    this.slo = draw("path", { class: "slo" });
    this.sloLabel = draw("text", { class: "slo" });
    this.curves = CURVES.map((name) => draw("path", { class: `curve ${name}` }));
    this.labels = CURVES.map((name) => draw("text", { class: name }));
    this.from = draw("text", { class: "axis" });
    this.to = draw("text", { class: "axis", "text-anchor": "end" });
    this.svg.append(this.grid, this.slo, ...this.curves, this.sloLabel, ...this.labels, this.from, this.to);
    this.rates = draw("svg", { role: "img", height: RATE_HEIGHT });
    this.area = draw("path", { class: "area" });
    this.rateLabel = draw("text", { class: "rate" });
    this.rates.append(this.area, this.rateLabel);
    this.element = make("figure", {}, this.title, this.svg, this.rates);
    this.width = 0;
    this.watcher = new ResizeObserver(() => this.show());
    this.watcher.observe(this.element);
  }

  choices(apps, chosen) {
    const known = [...this.choice.options].map((option) => option.value);
    if (known.join("\n") !== apps.join("\n")) {
      this.choice.replaceChildren(...apps.map((app) => make("option", { value: app }, app)));
    }
    if (this.choice.value !== chosen) this.choice.value = chosen;
    put(this.title.firstChild, this.panel.labels.chart_of);
  }

  show() {
    const { meta, labels, model } = this.panel;
    this.element.hidden = meta.apps.length === 0;
    if (this.element.hidden) return;
    this.choices(meta.apps, meta.app);
    const bytes = model.get("series");
    if (!bytes || bytes.byteLength !== 4 * POINTS * 4) return;
    const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    const curves = [0, 1, 2, 3].map((i) => values.subarray(i * POINTS, (i + 1) * POINTS));
    const width = Math.max(220, Math.round(this.element.clientWidth));
    for (const svg of [this.svg, this.rates]) mark(svg, "width", String(width));
    const latest = curves.map((curve) => last(curve));
    this.drawLatencies(curves, latest, width, meta);
    this.drawRate(curves[3], latest[3], width);
    const words = CURVES.map((name, i) => `${name} ${this.time(latest[i])}`).join(", ");
    mark(this.svg, "aria-label", `${labels.chart_of} ${meta.app}: ${words}; ${meta.slo_label}`);
  }

  drawLatencies(curves, latest, width, meta) {
    const known = curves.slice(0, 3).flatMap((curve) => [...curve].filter((value) => value > 0));
    const low = 10 ** Math.floor(Math.log10(Math.min(meta.slo_s / 10, ...known)));
    const high = 10 ** Math.ceil(Math.log10(Math.max(meta.slo_s * 1.2, ...known)));
    const inner = PLOT.height - PLOT.top - PLOT.bottom;
    const right = width - PLOT.right;
    const y = (seconds) => PLOT.top + inner * (1 - Math.log10(seconds / low) / Math.log10(high / low));
    const x = (i) => PLOT.left + (i * (right - PLOT.left)) / (POINTS - 1);
    this.drawGrid(low, high, y, right);
    mark(this.slo, "d", `M${PLOT.left} ${y(meta.slo_s).toFixed(1)}H${right}`);
    CURVES.forEach((_, i) => mark(this.curves[i], "d", path(curves[i], x, y)));
    const placed = [{ element: this.sloLabel, at: y(meta.slo_s), text: meta.slo_label }];
    CURVES.forEach((name, i) => {
      const there = Number.isFinite(latest[i]);
      put(this.labels[i], "");
      if (there) placed.push({ element: this.labels[i], at: y(latest[i]), text: `${name} ${this.time(latest[i])}` });
    });
    spread(placed);
    for (const { element, at, text } of placed) {
      put(element, text);
      mark(element, "x", String(right + 6));
      mark(element, "y", (at + 4).toFixed(1));
    }
    put(this.from, this.panel.labels.minute);
    mark(this.from, "x", String(PLOT.left));
    put(this.to, this.panel.labels.now);
    mark(this.to, "x", String(right));
    for (const element of [this.from, this.to]) mark(element, "y", String(PLOT.height - 5));
  }

  drawGrid(low, high, y, right) {
    const decades = [];
    for (let e = Math.round(Math.log10(low)); e <= Math.round(Math.log10(high)); e += 1) decades.push(e);
    const lines = decades.map((e) => `M${PLOT.left} ${y(10 ** e).toFixed(1)}H${right}`).join("");
    if (this.grid.dataset.lines === lines) return;
    this.grid.dataset.lines = lines;
    const texts = decades.map((e) => {
      const text = draw("text", { class: "axis", x: PLOT.left - 6, y: y(10 ** e) + 4, "text-anchor": "end" });
      text.textContent = this.time(10 ** e);
      return text;
    });
    this.grid.replaceChildren(draw("path", { d: lines }), ...texts);
  }

  drawRate(curve, latest, width) {
    const right = width - PLOT.right;
    const top = Math.max(1, ...[...curve].filter(Number.isFinite));
    const base = RATE_HEIGHT - 4;
    const x = (i) => PLOT.left + (i * (right - PLOT.left)) / (POINTS - 1);
    const start = curve.findIndex(Number.isFinite);
    const points = [...curve].slice(Math.max(0, start)).map((value, i) => `L${x(i + start).toFixed(1)} ${(base - (value / top) * (base - 4)).toFixed(1)}`);
    mark(this.area, "d", start < 0 ? "" : `M${x(start).toFixed(1)} ${base}${points.join("")}L${right} ${base}Z`);
    const text = `${this.panel.number(Number.isFinite(latest) ? latest : 0)} ${this.panel.labels.per_second}`;
    put(this.rateLabel, text);
    mark(this.rateLabel, "x", String(right + 6));
    mark(this.rateLabel, "y", String(base));
    mark(this.rates, "aria-label", `${this.panel.labels.head_qps}: ${text}`);
  }

  time(seconds) {
    if (!Number.isFinite(seconds)) return "–";
    const space = this.panel.meta.lang === "fr" ? "\u202f" : " ";
    const [scale, unit] = seconds < 0.9995e-3 ? [1e6, "µs"] : seconds < 0.9995 ? [1e3, "ms"] : [1, "s"];
    return `${this.panel.number(seconds * scale)}${space}${unit}`;
  }
}

function last(curve) {
  for (let i = curve.length - 1; i >= 0; i -= 1) if (Number.isFinite(curve[i])) return curve[i];
  return NaN;
}

function path(curve, x, y) {
  let data = "";
  let down = false;
  curve.forEach((value, i) => {
    const there = value > 0;
    if (there) data += `${down ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    down = there;
  });
  return data;
}

// Move labels down as far as it takes that none covers another, then up again if they left the plot.
function spread(labels) {
  labels.sort((a, b) => a.at - b.at);
  labels.forEach((label, i) => {
    if (i > 0) label.at = Math.max(label.at, labels[i - 1].at + PLOT.gap);
  });
  const overflow = labels.length ? labels[labels.length - 1].at - (PLOT.height - 6) : 0;
  if (overflow > 0) for (const label of labels) label.at -= overflow;
}

// --- the whole ---

class Panel {
  constructor(model) {
    this.model = model;
    this.seen = performance.now();
    this.title = make("strong");
    this.address = make("span", { class: "address" });
    this.freeze = make("button", { type: "button", class: "freeze", onclick: () => this.send({ do: "freeze" }) });
    this.note = make("p", { role: "status", class: "note" });
    this.stale = make("p", { role: "alert", class: "stale-note" });
    this.table = new Table(this);
    this.chart = new Chart(this);
    this.element = make(
      "section",
      { class: "clipper-panel" },
      make("header", {}, this.title, this.address, this.freeze),
      this.stale,
      make("div", { class: "live" }, this.table.element, this.chart.element),
      this.note,
    );
  }

  get meta() {
    return this.model.get("meta");
  }

  get labels() {
    return this.model.get("labels");
  }

  send(message) {
    this.model.send(message);
  }

  choose(app) {
    this.send({ do: "chart", app });
  }

  number(value) {
    const digits = Math.abs(value) >= 10 || value === 0 ? 0 : Math.abs(value) >= 1 ? 1 : 2;
    return new Intl.NumberFormat(this.meta.lang, { maximumFractionDigits: digits, useGrouping: false }).format(value);
  }

  refresh() {
    const { meta, labels } = this;
    mark(this.element, "lang", meta.lang);
    mark(this.element, "data-looks", String(meta.tick));
    mark(this.element, "aria-label", labels.title);
    put(this.title, `Clipper · ${meta.cluster}`);
    put(this.address, meta.address);
    put(this.freeze, labels.freeze);
    put(this.note, meta.note);
    this.note.classList.toggle("error", meta.failed);
    this.table.show(this.model.get("rows"));
    this.chart.show();
    this.check();
  }

  heard() {
    this.seen = performance.now();
    this.check();
  }

  check() {
    const silent = (performance.now() - this.seen) / 1000;
    const limit = 3 / this.meta.rate + 1;
    const words = silent > limit ? fill(this.labels.silent, { n: Math.round(silent) }) : this.meta.gone;
    this.element.classList.toggle("stale", words !== "");
    put(this.stale, words);
    this.stale.hidden = words === "";
  }
}

function render({ model, el }) {
  const panel = new Panel(model);
  el.append(panel.element);
  panel.refresh();
  const onMeta = () => {
    panel.heard();
    panel.refresh();
  };
  const onSeries = () => panel.chart.show();
  const here = () => {
    if (document.visibilityState === "visible") panel.send({ do: "here" });
  };
  model.on("change:meta", onMeta);
  model.on("change:series", onSeries);
  const timers = [setInterval(() => panel.check(), 1000), setInterval(here, HERE_EVERY_MS)];
  document.addEventListener("visibilitychange", here);
  here();
  return () => {
    timers.forEach(clearInterval);
    document.removeEventListener("visibilitychange", here);
    model.off("change:meta", onMeta);
    model.off("change:series", onSeries);
    panel.chart.watcher.disconnect();
  };
}

export default { render };
