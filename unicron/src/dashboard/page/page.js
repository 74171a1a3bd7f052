// The dashboard: asks for the state once a second, and changes on the page what has changed.
//
// Everything that people or their programs have written is put in as text (`textContent`), never as HTML.

import { List, byId, large, make, percent, say, setClass, span, sum, time } from "./dom.js";
import { fetchEvents } from "./events.js";
import { showNodes } from "./nodes.js";

const PERIOD_MS = 1000;

const tiles = new List(byId("tiles"), ([name]) => {
  const tile = make("div");
  tile.append(make("dt", "", name), make("dd"));
  return tile;
}, (tile, [, value]) => say(tile.lastChild, value));

function showTiles({ nodes, tasks, worker_seconds: seconds, plan }) {
  const ready = nodes.filter((node) => node.state === "ready").length;
  const slots = sum(nodes.map((node) => (node.state === "ready" ? node.slots : 0)));
  const used = sum(nodes.map((node) => node.used));
  const states = (state) => tasks.filter((task) => task.state === state).length;
  const all = sum(Object.values(seconds));
  const useful = all > 0 ? percent((seconds.useful + seconds.uncommitted) / all) : "–";
  const waf = large(sum(tasks.map((task) => task.waf)));
  tiles.show([
    ["nodes ready", `${ready} of ${nodes.length}`],
    ["slots used", `${used} of ${slots}`],
    ["tasks running", `${states("running")}`],
    ["waiting", `${tasks.filter((task) => task.queue_position).length}`],
    ["weighted FLOP/s", plan ? `${waf} of ${large(plan.total_waf)}` : waf],
    ["trained of all slots' time", useful],
  ], ([name]) => name);
}

const WIDTH = 720;
const HEIGHT = 160;

function line(values, most) {
  const x = (index) => (values.length < 2 ? WIDTH : (index / (values.length - 1)) * WIDTH);
  const y = (value) => HEIGHT - 4 - (value / most) * (HEIGHT - 8);
  return values.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}

function showHistory({ waf, planned, step_s: step, from_ms: from }) {
  const most = Math.max(1, ...waf, ...planned);
  byId("waf-now").setAttribute("d", line(waf, most));
  byId("waf-planned").setAttribute("d", line(planned, most));
  const last = waf.at(-1) ?? 0;
  say(byId("waf-text"), `${large(last)} now; ${large(most)} at most, over ${span(step * waf.length)} `
    + `since ${time(from)}. Dashed: what the plan gives once its transitions are over.`);
}

const dashed = (name) => name.replace(" ", "-");
const bins = new List(byId("bins"), ([name]) => make("div", dashed(name)), (bin, [, seconds, all]) => {
  const width = `${(100 * seconds) / all}%`;
  if (bin.style.width !== width) bin.style.width = width;
});
const binsLegend = new List(byId("bins-legend"), ([name]) => {
  const entry = make("div");
  entry.append(make("i", dashed(name)), make("dt", "", name), make("dd"));
  return entry;
}, (entry, [, seconds, all]) => say(entry.lastChild, percent(seconds / all)));

function showBins(seconds) {
  const all = sum(Object.values(seconds)) || 1;
  const entries = Object.entries(seconds).map(([name, value]) => [name, value, all]);
  bins.show(entries, ([name]) => name);
  binsLegend.show(entries, ([name]) => name);
}

const tasks = new List(byId("tasks"), (task) => {
  const row = make("tr");
  const head = make("th", "", task.name);
  head.scope = "row";
  row.append(head, make("td", "state"));
  for (let column = 0; column < 6; column += 1) row.append(make("td", "number"));
  row.append(make("td"));
  return row;
}, (row, task) => {
  const cells = row.children;
  setClass(cells[1], `state ${task.state}`);
  [
    task.state,
    task.iteration.toLocaleString("en"),
    task.loss === null ? "" : task.loss.toFixed(4),
    `${task.workers} of ${task.wanted}`,
    task.waf > 0 ? large(task.waf) : "",
    percent(task.effective_time_ratio),
    `${task.failures}`,
    task.reason,
  ].forEach((text, index) => say(cells[index + 1], text));
});

function showTasks(list) {
  const isOver = ({ state }) => ["done", "stopped", "failed"].includes(state);
  // What waits comes first, what has ended last.
  const living = list.filter((task) => !isOver(task));
  living.sort((a, b) => (b.queue_position ? 1 : 0) - (a.queue_position ? 1 : 0));
  const ended = list.filter(isOver).reverse();
  tasks.show([...living, ...ended], (task) => task.number);
  byId("no-tasks").hidden = list.length > 0;
}

const ordered = (id) => new List(byId(id), () => make("li"), (item, [, text]) => say(item, text));
const queue = ordered("queue");
const givers = ordered("givers");

function showQueue(list) {
  const by = (key) => list.filter((task) => task[key]).sort((a, b) => a[key] - b[key]);
  const nobody = [["", "nobody"]];
  const waiting = by("queue_position").map((task) => [task.name, `${task.name}: ${task.reason}`]);
  const giving = by("preemption_position").slice(0, 12).map((task) => [
    task.name,
    `${task.name}: its last worker is worth ${large(task.last_worker_waf, "FLOP/s")}`,
  ]);
  queue.show(waiting.length ? waiting : nobody, ([key]) => key);
  givers.show(giving.length ? giving : nobody, ([key]) => key);
}

const advice = new List(byId("advice"), ({ command }) => {
  const entry = make("div");
  entry.append(make("dt"), make("dd"));
  entry.lastChild.append(make("code", "", command));
  return entry;
}, (entry, { at_ms: at, text }) => say(entry.firstChild, `${time(at)} ${text}`));

function showAdvice(advises, list) {
  byId("advice-section").hidden = !advises;
  advice.show(list, ({ command, text }) => `${command} ${text}`);
}

const reasons = new List(byId("reasons"), ({ task }) => {
  const entry = make("div");
  entry.append(make("dt", "", task), make("dd"));
  return entry;
}, (entry, { text }) => say(entry.lastChild, text));

function showPlan(plan) {
  say(byId("plan"), plan ? `${time(plan.at_ms)}, ${plan.source}: ${plan.text}` : "Nothing was planned yet.");
  if (!plan) reasons.show([], () => "");
  // Reasons are worked out after the plan; until then those of before stay.
  else if (plan.reasons.length) reasons.show(plan.reasons, ({ task }) => task);
}

// The state, again and again

let tag = "";
let term = 0;
let newestEvent = 0;

class Unavailable extends Error {}

async function ask(path, headers = {}) {
  const response = await fetch(path, { headers, cache: "no-store" });
  if (!response.ok && response.status !== 304) throw new Unavailable(await response.text());
  return response;
}

function show(state) {
  showTiles(state);
  showAdvice(state.advises, state.advice);
  showHistory(state.history);
  showBins(state.worker_seconds);
  showTasks(state.tasks);
  showQueue(state.tasks);
  showPlan(state.plan);
  showNodes(state.nodes);
  term = state.term;
  newestEvent = state.last_event;
}

async function update() {
  const status = byId("status");
  try {
    const response = await ask("state.json", tag ? { "If-None-Match": tag } : {});
    if (response.status !== 304) {
      tag = response.headers.get("ETag") ?? "";
      const state = await response.json();
      await new Promise(requestAnimationFrame);
      show(state);
    }
    await fetchEvents(newestEvent, ask);
    say(status, `leads in term ${term}; as of ${time(Date.now())}`);
    setClass(status, "");
  } catch (error) {
    tag = "";
    setClass(status, "bad");
    const why = error instanceof Unavailable ? error.message : "the coordinator can't be reached";
    say(status, `not of now: ${why}`);
  }
}

async function run() {
  for (;;) {
    // Nobody looks at a page in the background.
    if (!document.hidden) await update();
    await new Promise((resolve) => { setTimeout(resolve, PERIOD_MS); });
  }
}

run();
