// The table: a line a model version, its buttons.

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
    put(this.count, `${this.row.observed}/${this.row.requested}`);
    mark(this.count, "aria-label", this.panel.say("replicas_of", { model: this.row.key, ready: this.row.observed, wanted: this.row.requested }));
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
    mark(this.use, "aria-label", this.panel.say("use_version", { model: row.model, version: row.version }));
    put(this.glyph, row.glyph);
    put(this.state, row.state);
    for (const element of [this.fewer, this.count, this.more]) element.hidden = !versioned;
    if (versioned) {
      this.showCount();
      mark(this.fewer, "aria-label", this.panel.say("fewer", { model: row.key }));
      mark(this.more, "aria-label", this.panel.say("more", { model: row.key }));
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
    this.heads = COLUMNS.map((column) => make("th", { scope: "col", class: column }));
    this.body = make("tbody");
    this.element = make("table", {}, this.caption, make("thead", {}, make("tr", {}, ...this.heads)), this.body);
  }

  show(rows) {
    const { labels } = this.panel;
    put(this.caption, labels.title);
    COLUMNS.forEach((column, i) => put(this.heads[i], labels[`head_${column}`].replaceAll(" / ", "\u00a0/\u00a0")));
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
