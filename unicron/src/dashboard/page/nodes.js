// The nodes: a square each, whose text is shown where the pointer or the arrow keys are.

import { List, byId, count, make, say, setClass } from "./dom.js";

const SIGNS = { ready: "", drained: "–", isolated: "!", lost: "×" };

let pointed = null;

function nodeText(node) {
  const of = node.tasks ? `works for ${node.tasks.join(", ")}` : "";
  return [`${node.name}: ${node.state}, ${node.used} of ${count(node.slots, "slot", "slots")} used`,
    of, node.gpu ?? "", node.reason ?? ""].filter(Boolean).join("; ");
}

const nodes = new List(byId("nodes"), () => {
  const square = make("div");
  square.setAttribute("role", "option");
  square.tabIndex = -1;
  return square;
}, (square, node) => {
  setClass(square, `node ${node.state}${node.state === "ready" && node.used > 0 ? " used" : ""}`);
  say(square, SIGNS[node.state] ?? "?");
  if (square.text !== (square.text = nodeText(node))) {
    square.setAttribute("aria-label", square.text);
    if (square === pointed) say(byId("node"), square.text);
  }
});

function point(square) {
  if (!square || square === pointed) return;
  if (pointed) pointed.tabIndex = -1;
  pointed = square;
  square.tabIndex = 0;
  say(byId("node"), square.text);
}

function moveAmongNodes(event) {
  const all = byId("nodes").children;
  const at = [...all].indexOf(pointed);
  const columns = getComputedStyle(byId("nodes")).gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : at + steps[event.key];
  if (!(to >= 0 && to < all.length)) return;
  event.preventDefault();
  point(all[to]);
  pointed.focus();
}

const nodesLegend = new List(byId("nodes-legend"), ([name, className, sign]) => {
  const entry = make("div");
  entry.append(make("i", `node ${className}`, sign), make("dt", "", name), make("dd"));
  return entry;
}, (entry, [, , , number]) => say(entry.lastChild, `${number}`));

export function showNodes(list) {
  nodes.show(list, (node) => node.name);
  if (!pointed?.isConnected) point(byId("nodes").firstElementChild);
  const number = (state, isUsed) => list.filter((node) => node.state === state
    && (isUsed === undefined || isUsed === node.used > 0)).length;
  nodesLegend.show([
    ["at work", "used", "", number("ready", true)],
    ["free", "", "", number("ready", false)],
    ["drained", "drained", "–", number("drained")],
    ["isolated", "isolated", "!", number("isolated")],
    ["lost", "lost", "×", number("lost")],
  ], ([name]) => name);
}

byId("nodes").addEventListener("pointerover", (event) => point(event.target.closest(".node")));
byId("nodes").addEventListener("focusin", (event) => point(event.target.closest(".node")));
byId("nodes").addEventListener("keydown", moveAmongNodes);
