// The chart: the last minute of one application against its SLO, and its queries a second.

const CURVES = ["p50", "p95", "p99"];
const POINTS = 120;
const PLOT = { left: 46, right: 104, top: 10, bottom: 20, height: 168, gap: 15 };
const RATE_HEIGHT = 44;

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
    this.dots = CURVES.map((name) => draw("path", { class: `dot ${name}` }));
    this.labels = CURVES.map((name) => draw("text", { class: name }));
    this.from = draw("text", { class: "axis" });
    this.to = draw("text", { class: "axis", "text-anchor": "end" });
    this.quiet = draw("text", { class: "axis", "text-anchor": "middle" });
    this.svg.append(this.quiet, this.grid, this.slo, ...this.curves, ...this.dots, this.sloLabel, ...this.labels, this.from, this.to);
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
    const { meta, model } = this.panel;
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
    const latencies = CURVES.map((name, i) => `${name} ${this.time(latest[i])}`).join(", ");
    mark(this.svg, "aria-label", this.panel.say("chart_words", { app: meta.app, latencies, slo: meta.slo_label }));
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
    CURVES.forEach((_, i) => {
      mark(this.curves[i], "d", path(curves[i], x, y));
      mark(this.dots[i], "d", dots(curves[i], x, y));
    });
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
    put(this.quiet, known.length === 0 ? this.panel.labels.quiet : "");
    mark(this.quiet, "x", String((PLOT.left + right) / 2));
    mark(this.quiet, "y", String(PLOT.top + inner * 0.75)); // the SLO's line is always in the upper half
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
    const rate = this.panel.number(Number.isFinite(latest) ? latest : 0);
    put(this.rateLabel, `${rate} ${this.panel.labels.per_second}`);
    mark(this.rateLabel, "x", String(right + 6));
    mark(this.rateLabel, "y", String(base));
    mark(this.rates, "aria-label", this.panel.say("rate_words", { rate }));
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

// A point without neighbours is no line: it is drawn as a dot, a line without length whose ends are round.
function dots(curve, x, y) {
  const there = (i) => curve[i] > 0;
  const lone = [...curve.keys()].filter((i) => there(i) && !there(i - 1) && !there(i + 1));
  return lone.map((i) => `M${x(i).toFixed(1)} ${y(curve[i]).toFixed(1)}h0`).join("");
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
