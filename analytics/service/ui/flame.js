// Stacks of an anomaly or a span: link, sums, difference flame graph, table. Width is time in the flagged spans, colour what they
// have more or less of than as many normal spans. The table says the same without colours.

import * as api from "./api.js";
import { chip, empty, folded, h, table } from "./dom.js";
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

function grow(root, text, side, keep) {
  for (const line of text.split("\n")) {
    const cut = line.lastIndexOf(" ");
    const ns = Number(line.slice(cut + 1));
    if (cut < 0 || !Number.isFinite(ns)) continue;
    const frames = keep(line.slice(0, cut).split(";"));
    if (!frames) continue;
    let node = root;
    node[side] += ns;
    for (const name of frames) {
      if (!node.children.has(name)) node.children.set(name, { name, flagged: 0, normal: 0, children: new Map(), parent: node });
      node = node.children.get(name);
      node[side] += ns;
    }
  }
}

function grown(flagged, normal, keep) {
  const root = { name: "all", flagged: 0, normal: 0, children: new Map(), parent: null };
  grow(root, flagged, "flagged", keep);
  grow(root, normal, "normal", keep);
  return root;
}

/** Frames that are no program's own: states, kernel, C library, the language's. */
const FOREIGN = /^\[|^sys_|^_start$|^_*(start_thread|clone3?|libc_start)|^__rust|^<?&?(dyn )?(std|core|alloc|tokio)::|^<.* as (std|core|alloc)::|^\{closure#\d+\}<std::/;

/** Process, state and functions from the first that is the program's own: how a program or a thread begins says nothing. */
function inner([process, state, ...functions]) {
  const isStart = (name, index) => FOREIGN.test(name) || (name === "main" && FOREIGN.test(functions[index + 1] ?? ""));
  const first = functions.findIndex((name, index) => !isStart(name, index));
  return [process, state, ...functions.slice(Math.max(first, 0))];
}

/** Both texts as one tree, of one state or of all. */
export const tree = (flagged, normal, state) => grown(flagged, normal, (frames) => (!state || frames[1] === state ? inner(frames) : null));

/** The same without the frame of the state: who is preempted in a function would have gone on in it. */
const calls = (flagged, normal, state) => grown(flagged, normal, (frames) => (!state || frames[1] === state ? inner(frames).toSpliced(1, 1) : null));

const excess = (node) => node.flagged - node.normal;

/** Of all calls of a function that with the largest excess. */
function callOf(root, name) {
  let found = null;
  const nodes = [root];
  while (nodes.length) {
    const node = nodes.pop();
    if (node.name.replace(/(::\{\{closure\}\})+$/, "") === name && !(found && excess(found) > excess(node))) found = node;
    nodes.push(...node.children.values());
  }
  return found;
}

/** The function that the server named, where it is; else follows the largest excess inwards, as long as one child has most of it. */
export function culprit(root, named) {
  const meant = named ? callOf(root, named) : null;
  if (meant) return meant;
  let node = root;
  let found = null;
  for (;;) {
    const next = [...node.children.values()].sort((a, b) => excess(b) - excess(a))[0];
    if (!next || excess(next) <= 0 || excess(next) < 0.6 * excess(root)) return found;
    // The outermost is the process.
    if (!FOREIGN.test(next.name) && next.parent?.parent) found = next;
    node = next;
  }
}

/** Names from the caller of where the excess gathers down to the culprit, as `caller › function`. */
function trail(worst) {
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

/** The panel of the graph; `whose` is `/anomalies/ID` or `/spans/ID`, `named` the culprit. */
export async function flame(whose, named) {
  const [flagged, normal] = await Promise.all([api.folded(whose, "flagged"), api.folded(whose, "normal").catch(() => "")]);
  const holder = h("div", {});
  const suspect = h("p", { class: "small" });
  const buttons = STATES.map(([state, word]) => h("button", { type: "button", onclick: () => show(state) }, word));
  function show(state) {
    STATES.forEach(([other], index) => buttons[index].setAttribute("aria-pressed", String(other === state)));
    const root = tree(flagged, normal, state);
    const worst = culprit(calls(flagged, normal, state), named);
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

/** File and line, the end of a long path. */
function place({ file, line }) {
  const parts = file.split("/");
  const end = parts.length > 5 ? `…/${parts.slice(-4).join("/")}` : file;
  return line ? `${end}:${line}` : end;
}

const counted = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** Everything that is known of stacks: `whose` as above, `found` as the API tells it. */
export async function stackPanel(whose, found) {
  const columns = [
    ["Function", (f) => [h("code", {}, f.function), f.file ? h("div", { class: "small soft", title: f.file }, place(f)) : null]],
    ["State", (f) => ({ on_cpu: "on CPU" })[f.state] ?? f.state, "word"],
    ["More than normal", (f) => lasting(f.total_ns - f.baseline_total_ns), "num"],
    ["Total", (f) => lasting(f.total_ns), "num"],
    ["Self", (f) => lasting(f.self_ns), "num wide"],
  ];
  return [
    h("div", { class: "chips" }, linkBadge(found.link),
      h("span", { class: "small soft" }, `${found.spans_flagged === 1 ? "" : `${found.spans} of `}${counted(found.spans_flagged, "span")}, ${counted(found.samples, "sample")} · on CPU ${lasting(found.on_cpu_ns)} · blocked ${lasting(found.blocked_ns)} · waiting for a core ${lasting(found.waiting_ns)}`)),
    await flame(whose, found.culprit?.function).catch(() => null),
    h("h3", {}, "Functions"),
    folded(found.top.slice(0, 40), 12, (rows) => table(columns, rows), "functions"),
    h("p", { class: "small" }, h("a", { href: found.folded }, "folded stacks"), " · ", h("a", { href: found.pprof }, "pprof"), " · ",
      h("a", { href: `/api/v1${whose}/flamegraph`, target: "_blank", rel: "noopener" }, "SVG")),
  ];
}

/** Where slow spans spend their extra time, a sentence for each operation and place; anomalies of one operation say it once. */
export async function culpritLines(anomalies) {
  const lines = (await Promise.all(anomalies.filter((anomaly) => anomaly.stacks).map(culpritLine))).filter(Boolean);
  const places = lines.map((line) => `${line.querySelector("a").textContent} ${line.querySelector("code").textContent}`);
  return lines.filter((_, index) => places.indexOf(places[index]) === index);
}

/** What threads did in a function, the most first; little is left out. */
function doings({ on_cpu_ns: running, blocked_ns: blocked, waiting_ns: waiting }) {
  const parts = [[running, "on the CPU"], [blocked, "blocked"], [waiting, "waiting for a core"]].sort((a, b) => b[0] - a[0]);
  return parts.filter(([ns]) => ns > 0.1 * (running + blocked + waiting)).map(([ns, words]) => `${lasting(ns)} ${words}`).join(", ");
}

/** The function that an anomaly's slow spans spend their extra time in, as one sentence; nothing where unknown. */
async function culpritLine(anomaly) {
  const whose = `/anomalies/${anomaly.id}`;
  const [flagged, normal] = await Promise.all([api.folded(whose, "flagged"), api.folded(whose, "normal").catch(() => "")]).catch(() => ["", ""]);
  const [worst, found] = [culprit(calls(flagged, normal, ""), anomaly.stacks.culprit?.function), anomaly.stacks.culprit];
  if (!worst) return null;
  return h("p", {}, h("a", { href: whose }, `${anomaly.series.service} ${anomaly.series.name}`), ": the extra time is in ", trail(worst),
    ` (${signed(worst.flagged - worst.normal)}${found ? `: ${doings(found)}` : ""}). `, linkBadge(anomaly.stacks.link).flatMap((part) => [part, " "]));
}
