// The service graph, callers left, callees right: where the trouble is and how it spreads.

import { h, s } from "./dom.js";

const WIDTH = 150, HEIGHT = 30, GAP_X = 70, GAP_Y = 14;

/** Column of each service: one more than its deepest caller; cycles are cut at the first return. */
function columns(names, edges) {
  const depth = new Map();
  const visit = (name, path) => {
    if (path.has(name)) return 0;
    if (depth.has(name)) return depth.get(name);
    const callers = edges.filter((edge) => edge.callee === name && edge.caller !== name).map((edge) => edge.caller);
    const own = callers.length ? 1 + Math.max(...callers.map((caller) => visit(caller, new Set([...path, name])))) : 0;
    depth.set(name, own);
    return own;
  };
  names.forEach((name) => visit(name, new Set()));
  return depth;
}

export function graph(topology, cause, affected) {
  const edges = topology.edges ?? [];
  const names = [...new Set([...topology.services.map((service) => service.name ?? service), ...edges.flatMap((edge) => [edge.caller, edge.callee])])].sort();
  const depth = columns(names, edges);
  const rows = new Map(), place = new Map();
  for (const name of names) {
    const column = depth.get(name), row = rows.get(column) ?? 0;
    rows.set(column, row + 1);
    place.set(name, { x: column * (WIDTH + GAP_X) + 4, y: row * (HEIGHT + GAP_Y) + 4 });
  }
  const width = (Math.max(...depth.values(), 0) + 1) * (WIDTH + GAP_X) - GAP_X + 8;
  const height = Math.max(...rows.values(), 1) * (HEIGHT + GAP_Y) + 8;
  const hot = new Set([cause, ...affected]);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Service graph; cause ${cause ?? "unknown"}; affected ${affected.join(", ")}` });
  for (const { caller, callee } of edges) {
    const a = place.get(caller), b = place.get(callee);
    if (caller === callee) continue;
    const x1 = a.x + WIDTH, y1 = a.y + HEIGHT / 2, x2 = b.x, y2 = b.y + HEIGHT / 2;
    svg.append(s("path", { class: hot.has(caller) && hot.has(callee) ? "hot" : "", d: `M${x1} ${y1}C${x1 + GAP_X / 2} ${y1} ${x2 - GAP_X / 2} ${y2} ${x2} ${y2}` }));
  }
  for (const name of names) {
    const { x, y } = place.get(name);
    const role = name === cause ? "suspect" : affected.includes(name) ? "affected" : "";
    const word = name.length > 20 ? `${name.slice(0, 19)}…` : name;
    svg.append(s("g", { class: `node ${role}` }, s("title", {}, `${name}${role ? ` (${role})` : ""}`), s("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 6 }),
      s("text", { x: x + 10, y: y + HEIGHT / 2 + 4 }, `${role === "suspect" ? "● " : ""}${word}`)));
  }
  svg.style.maxWidth = `${width * 1.2}px`;
  return h("div", { class: "graph scroll" }, svg, h("p", { class: "small soft" }, "Red frame and dot: first suspect. Filled: has anomalies in this incident. Callers left, callees right."));
}
