// Elements: made, filled, and touched only where something changed.

const SVG = "http://www.w3.org/2000/svg";

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

// A sentence of the kernel's, filled in; {n:one|many} chooses a word by the language's rule, as in Python.
function fill(template, fields, language) {
  const one = (n) => new Intl.PluralRules(language).select(n) === "one";
  return template.replace(/\{(\w+)(?::([^|}]*)\|([^}]*))?\}/g, (whole, name, singular, plural) => {
    if (!(name in fields)) return whole;
    return singular === undefined ? fields[name] : one(fields[name]) ? singular : plural;
  });
}
