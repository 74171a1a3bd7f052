// The events: newest first, those of failures with the last lines of what has failed.

import { byId, count, make, time } from "./dom.js";

// Shown, and looked through when the page is opened.
const MOST_EVENTS = 1000;
const MOST_OLD = 4000;
const SORTS = {
  failure: "bad", "node-lost": "bad", "node-isolated": "bad", "task-failed": "bad", refused: "bad",
  restart: "warn", reattempt: "warn", "node-silent": "warn", "node-drained": "warn", warning: "warn",
  "rolled-back": "warn", "task-stopped": "warn", advice: "warn",
  "task-done": "good", progress: "good", "node-joined": "good", "node-readmitted": "good",
};

let lastEvent = 0;

function eventItem(event) {
  const item = make("li", SORTS[event.kind] ?? "");
  const about = [event.task, event.node].filter(Boolean).join(" on ");
  const when = make("time", "", time(event.at_ms));
  when.dateTime = new Date(event.at_ms).toISOString();
  item.append(when, make("b", "", event.kind));
  if (about) item.append(make("span", "about", about));
  item.append(make("span", "", event.text));
  if (event.last_lines) {
    const details = make("details");
    const title = `its last ${count(event.last_lines.length, "line", "lines")}`;
    details.append(make("summary", "", title), make("pre", "", event.last_lines.join("\n")));
    item.append(details);
  }
  return item;
}

function isShown(item) {
  const wanted = byId("filter").value.trim().toLowerCase();
  return !wanted || item.textContent.toLowerCase().includes(wanted);
}

function forget() {
  lastEvent = 0;
  byId("events").replaceChildren();
}

function add(events) {
  const items = document.createDocumentFragment();
  for (const event of events) {
    const item = eventItem(event);
    item.hidden = !isShown(item);
    items.prepend(item);
  }
  const list = byId("events");
  list.prepend(items);
  while (list.children.length > MOST_EVENTS) list.lastElementChild.remove();
}

/// Fetches what has come since; `ask` gives the answer at a path.
export async function fetchEvents(newest, ask) {
  // A log that is shorter than before is another's.
  if (newest < lastEvent) forget();
  while (lastEvent < newest) {
    const after = Math.max(lastEvent, newest - MOST_OLD);
    const routine = byId("routine").checked ? 1 : 0;
    const { events, last } = await (await ask(`events.json?after=${after}&routine=${routine}`)).json();
    if (last <= lastEvent) return;
    lastEvent = last;
    add(events);
  }
}

byId("routine").addEventListener("change", forget);
byId("filter").addEventListener("input", () => {
  for (const item of byId("events").children) item.hidden = !isShown(item);
});
