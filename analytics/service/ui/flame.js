// The difference flame graph: width is time in the flagged spans, colour what they have more or less of
// than as many normal spans. The table beside it says the same without colours.

import * as api from "./api.js";
import { chip, empty, h } from "./dom.js";
import * as format from "./format.js";

const STATES = [["", "all"], ["[on_cpu]", "on CPU"], ["[blocked]", "off CPU: blocked"], ["[waiting]", "off CPU: waiting for a core"]];
const ROWS_MAX = 48;
/** Narrower frames than this share of the width are left out. */
const LEAST = 0.003;

const LINKS = {
  span: "The thread itself said that it ran this span.",
  thread: "Same thread and time, as the span's attributes say.",
  process: "Same process and time: other work of that process is in it.",
  service: "Same service and time only: work for other requests is in it.",
};

/** How surely the stacks belong to the spans, in words as well. */
export const linkBadge = (link) => [chip(`linked by ${link}`, LINKS[link]), h("span", { class: "small soft" }, LINKS[link])];

function grow(root, text, side, state) {
  for (const line of text.split("\n")) {
    const cut = line.lastIndexOf(" ");
    const ns = Number(line.slice(cut + 1));
    if (cut < 0 || !Number.isFinite(ns)) continue;
    const frames = line.slice(0, cut).split(";");
    if (state && frames[1] !== state) continue;
    let node = root;
    node[side] += ns;
    for (const name of frames) {
      if (!node.children.has(name)) node.children.set(name, { name, flagged: 0, normal: 0, children: new Map(), parent: node });
      node = node.children.get(name);
      node[side] += ns;
    }
  }
}

/** Both texts as one tree. */
export function tree(flagged, normal, state) {
  const root = { name: "all", flagged: 0, normal: 0, children: new Map(), parent: null };
  grow(root, flagged, "flagged", state);
  grow(root, normal, "normal", state);
  return root;
}

/** Frames that are no program's own: states, kernel, C library, the language's. */
const FOREIGN = /^\[|^sys_|^_*(start_thread|clone3?|libc_start)|^(std|core|alloc|tokio)::|^<(std|core|alloc|tokio)/;

/** Follows the largest excess inwards, as long as one child has most of it: where the time went. */
export function culprit(root) {
  const excess = (node) => node.flagged - node.normal;
  let node = root;
  let found = null;
  for (;;) {
    const next = [...node.children.values()].sort((a, b) => excess(b) - excess(a))[0];
    if (!next || excess(next) <= 0 || excess(next) < 0.6 * excess(root)) return found;
    if (!FOREIGN.test(next.name) && next.parent?.parent) found = next;
    node = next;
  }
}

/** Names from the caller of where the excess gathers down to the culprit, as `caller › function`. */
function trail(worst) {
  const excess = (node) => node.flagged - node.normal;
  const nodes = [];
  for (let node = worst; node.parent?.parent; node = node.parent) nodes.unshift(node);
  const own = nodes.filter((node) => !FOREIGN.test(node.name));
  const gathers = own.findLastIndex((node) => excess(node) >= 0.85 * excess(nodes[0]));
  const shown = own.slice(Math.max(gathers - 1, 0)).map((node) => node.name);
  if (shown.length > 4) shown.splice(2, shown.length - 3, "…");
  return h("code", {}, shown.join(" › "));
}

const lasting = (ns) => format.value(ns / 1e9, "duration");
const signed = (ns) => `${ns < 0 ? "−" : "+"}${lasting(Math.abs(ns))}`;

function colour(node, root) {
  const share = (node.flagged - node.normal) / Math.max(root.flagged, root.normal, 1);
  const strength = Math.min(1, Math.abs(share) * 1.6) * 70;
  if (strength < 2) return "var(--info-bg)";
  return `color-mix(in srgb, var(${share > 0 ? "--bad" : "--accent"}) ${strength.toFixed(0)}%, var(--info-bg))`;
}

function draw(root, focus, zoom) {
  const box = h("div", { class: "flame", role: "group", "aria-label": "flame graph; the table below holds the same functions" });
  let deepest = 0;
  const put = (node, left, width, depth) => {
    if (width < LEAST || depth > ROWS_MAX) return;
    deepest = Math.max(deepest, depth);
    const more = node.flagged - node.normal;
    const label = `${node.name}: ${lasting(node.flagged)}, ${signed(more)} against normal`;
    const frame = h("button", { type: "button", class: "frame", title: label, "aria-label": label, onclick: () => zoom(node), tabindex: width < 0.02 ? "-1" : null }, node.name);
    frame.style.cssText = `left:${left * 100}%;width:${width * 100}%;top:${depth * 19}px;background:${colour(node, root)}`;
    box.append(frame);
    let at = left;
    const total = Math.max(node.flagged, 1);
    for (const child of [...node.children.values()].sort((a, b) => b.flagged - a.flagged)) {
      const share = (child.flagged / total) * width;
      put(child, at, share, depth + 1);
      at += share;
    }
  };
  // Whoever calls the focus stays above it at full width: the way back.
  const above = [];
  for (let node = focus.parent; node; node = node.parent) above.unshift(node);
  above.forEach((node, depth) => {
    const frame = h("button", { type: "button", class: "frame above", onclick: () => zoom(node) }, node.name);
    frame.style.cssText = `left:0;width:100%;top:${depth * 19}px`;
    box.append(frame);
  });
  put(focus, 0, 1, above.length);
  box.style.height = `${(deepest + 1) * 19}px`;
  return box;
}

/** The whole panel; `id` is the anomaly's. */
export async function flame(id) {
  const [flagged, normal] = await Promise.all([api.folded(id, "flagged"), api.folded(id, "normal").catch(() => "")]);
  const holder = h("div", {});
  const suspect = h("p", { class: "small" });
  const buttons = STATES.map(([state, word]) => h("button", { type: "button", onclick: () => show(state) }, word));
  function show(state) {
    STATES.forEach(([other], index) => buttons[index].setAttribute("aria-pressed", String(other === state)));
    const root = tree(flagged, normal, state);
    const worst = culprit(root);
    suspect.replaceChildren(...(worst ? ["Most of the extra time is in ", trail(worst), ` (${signed(worst.flagged - worst.normal)}).`] : []));
    const zoom = (focus) => holder.replaceChildren(draw(root, focus, zoom));
    if (root.flagged) zoom(root);
    else holder.replaceChildren(empty("No time in this state."));
  }
  show("");
  return h("div", { class: "flame-panel" },
    h("div", { class: "row-of", role: "group", "aria-label": "What the threads were doing" }, buttons),
    suspect, holder,
    h("p", { class: "small soft" }, "Wider = more time in the flagged spans. Red = more than in as many normal spans, blue = less. A click looks closer, a click on what stands above goes back."));
}

/** Where slow spans spend their extra time, a sentence for each operation and place; anomalies of one operation say it once. */
export async function culpritLines(anomalies) {
  const lines = (await Promise.all(anomalies.filter((anomaly) => anomaly.stacks).map(culpritLine))).filter(Boolean);
  const places = lines.map((line) => `${line.querySelector("a").textContent} ${line.querySelector("code").textContent}`);
  return lines.filter((_, index) => places.indexOf(places[index]) === index);
}

/** The function that an anomaly's slow spans spend their extra time in, as one sentence; nothing where unknown. */
async function culpritLine(anomaly) {
  const [flagged, normal] = await Promise.all([api.folded(anomaly.id, "flagged"), api.folded(anomaly.id, "normal").catch(() => "")]).catch(() => ["", ""]);
  const root = tree(flagged, normal, "");
  const worst = culprit(root);
  if (!worst) return null;
  const state = { "[on_cpu]": "on the CPU", "[blocked]": "blocked", "[waiting]": "waiting for a core" };
  let node = worst;
  while (node.parent && !(node.name in state)) node = node.parent;
  return h("p", {}, h("a", { href: `/anomalies/${anomaly.id}` }, `${anomaly.series.service} ${anomaly.series.name}`), ": the extra time is in ", trail(worst),
    `, ${state[node.name] ?? ""} (${signed(worst.flagged - worst.normal)}). `, linkBadge(anomaly.stacks.link).flatMap((part) => [part, " "]));
}
