// The live panel. Plain ESM, no build step. The DOM is made once and patched in place, so that focus, selection and a
// screen reader's position survive each refresh. All words come from the kernel ("labels", "rows", "meta").
//
// The module is dom.js, table.js, chart.js and this file, one behind the other (see widget.py).

const HERE_EVERY_MS = 10_000;

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

  say(label, fields) {
    return fill(this.labels[label], fields, this.meta.lang);
  }

  send(message) {
    try {
      this.model.send(message);
    } catch {
      // The kernel that would hear it is gone, which check() tells.
    }
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
    const words = silent > limit ? this.say("silent", { n: Math.round(silent) }) : this.meta.gone;
    this.element.classList.toggle("stale", words !== "");
    put(this.stale, words);
    this.stale.hidden = words === "";
    this.freeze.hidden = silent > limit; // nobody is there to do it
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
