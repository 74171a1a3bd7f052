// Elements and numbers: what the parts of the page are made of.

export const byId = (id) => document.getElementById(id);

/// Says it only if it is news: what is as it was costs no layout.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/// Makes the children of a list those of the items, in their order, each made once.
export class List {
  constructor(parent, create, update) {
    Object.assign(this, { parent, create, update, byKey: new Map() });
  }

  show(items, keyOf) {
    const keys = new Set(items.map(keyOf));
    for (const [key, element] of this.byKey) {
      if (keys.has(key)) continue;
      element.remove();
      this.byKey.delete(key);
    }
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      let element = this.byKey.get(key);
      if (!element) {
        element = this.create(item);
        this.byKey.set(key, element);
      }
      if (element === place) place = place.nextElementSibling;
      else this.parent.insertBefore(element, place);
      this.update(element, item);
    }
  }
}

const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];

/// 1.5e15 as "1.50 P".
export function large(number, unit = "") {
  if (!(number > 0)) return `0 ${unit}`.trim();
  const power = Math.max(0, Math.min(Math.floor(Math.log10(number) / 3), PREFIXES.length - 1));
  return `${(number / 1000 ** power).toPrecision(3)} ${PREFIXES[power]}${unit}`.trim();
}

export const percent = (part) => `${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`;
export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
export const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

/// The time of day, with the date if that isn't today.
export function time(ms) {
  const then = new Date(ms);
  const clock = then.toLocaleTimeString("en-GB");
  return then.toDateString() === new Date().toDateString() ? clock : `${then.toLocaleDateString("en-CA")} ${clock}`;
}

export function span(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
