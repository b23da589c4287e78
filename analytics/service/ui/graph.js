// The service graph, callers left, callees right: where the trouble is and how it spreads.

import { h, s } from "./dom.js";

const WIDTH = 164, HEIGHT = 30, GAP_X = 64, GAP_Y = 14, TOP = 12, LETTERS = 21;
/** A larger map is cut down to what is hot and its neighbours. */
const NODES_MAX = 60;

/** Column of each service: one more than its deepest caller; cycles are cut at the first return. */
function columns(names, callers) {
  const depth = new Map();
  const visit = (name, path) => {
    if (path.has(name)) return 0;
    if (depth.has(name)) return depth.get(name);
    path.add(name);
    const own = Math.max(0, ...(callers.get(name) ?? []).map((caller) => 1 + visit(caller, path)));
    path.delete(name);
    depth.set(name, own);
    return own;
  };
  names.forEach((name) => visit(name, new Set()));
  return depth;
}

/** Rows within each column by the mean row of the callers, so that fewer lines cross. */
function places(names, callers) {
  const depth = columns(names, callers), place = new Map();
  const deepest = Math.max(0, ...depth.values());
  let tallest = 0;
  for (let column = 0; column <= deepest; column++) {
    const weight = (name) => {
      const rows = (callers.get(name) ?? []).map((caller) => place.get(caller)?.row).filter((row) => row !== undefined);
      return rows.length ? rows.reduce((sum, row) => sum + row, 0) / rows.length : 0;
    };
    const here = names.filter((name) => depth.get(name) === column).sort((a, b) => weight(a) - weight(b) || a.localeCompare(b));
    here.forEach((name, row) => place.set(name, { row, column, x: column * (WIDTH + GAP_X) + 2, y: row * (HEIGHT + GAP_Y) + TOP }));
    tallest = Math.max(tallest, here.length);
  }
  return { place, width: (deepest + 1) * (WIDTH + GAP_X) - GAP_X + 4, height: tallest * (HEIGHT + GAP_Y) - GAP_Y + 2 * TOP };
}

/** The line of a call. One that passes over columns runs between the rows there, never behind a service. */
function line(a, b) {
  const x1 = a.x + WIDTH, y1 = a.y + HEIGHT / 2, x2 = b.x, y2 = b.y + HEIGHT / 2, half = GAP_X / 2;
  if (b.column - a.column < 2) return `M${x1} ${y1}C${x1 + half} ${y1} ${x2 - half} ${y2} ${x2} ${y2}`;
  const between = Math.round((a.row + b.row + 1) / 2) * (HEIGHT + GAP_Y) + TOP - GAP_Y / 2;
  return `M${x1} ${y1}C${x1 + half} ${y1} ${x1 + half} ${between} ${x1 + GAP_X} ${between}H${x2 - GAP_X}C${x2 - half} ${between} ${x2 - half} ${y2} ${x2} ${y2}`;
}

/** `around`: only what is hot and its neighbours. */
export function graph(topology, cause, affected, around = false) {
  const hot = new Set([cause, ...affected].filter(Boolean));
  let edges = (topology.edges ?? []).filter(({ caller, callee }) => caller !== callee);
  const known = new Set([...topology.services.map((service) => service.name), ...edges.flatMap((edge) => [edge.caller, edge.callee])]);
  if (around || known.size > NODES_MAX) edges = edges.filter(({ caller, callee }) => hot.has(caller) || hot.has(callee));
  const linked = new Set(edges.flatMap((edge) => [edge.caller, edge.callee]));
  const names = [...known].filter((name) => linked.has(name) || hot.has(name)).sort();
  if (!names.length) return h("p", { class: "empty" }, "No calls between services have been seen.");
  const callers = new Map();
  for (const { caller, callee } of edges) callers.set(callee, [...(callers.get(callee) ?? []), caller]);
  const { place, width, height } = places(names, callers);
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Service graph; cause ${cause ?? "unknown"}; affected ${affected.join(", ") || "none"}` });
  for (const { caller, callee } of edges) {
    svg.append(s("path", { class: hot.has(caller) && hot.has(callee) ? "hot" : "", d: line(place.get(caller), place.get(callee)) }));
  }
  for (const name of names) {
    const { x, y } = place.get(name);
    const role = name === cause ? "suspect" : hot.has(name) ? "affected" : "";
    const mark = { suspect: "● ", affected: "○ " }[role] ?? "";
    const word = name.length > LETTERS - mark.length ? `${name.slice(0, LETTERS - 1 - mark.length)}…` : name;
    svg.append(s("a", { href: `/services?service=${encodeURIComponent(name)}`, class: `node ${role}` }, s("title", {}, `${name}${role ? ` (${role})` : ""}`),
      s("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 6 }), s("text", { x: x + 10, y: y + HEIGHT / 2 + 4 }, `${mark}${word}`)));
  }
  return [h("div", { class: "graph scroll", tabindex: "0", role: "region", "aria-label": "Service graph" }, svg),
    h("p", { class: "small soft" }, `${cause ? "● first suspect, " : ""}○ affected. Callers left, callees right.${around ? " Only what is affected and its neighbours." : ""}`)];
}
