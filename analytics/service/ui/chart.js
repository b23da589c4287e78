// One chart: actual, expected band, and the score beneath. SVG by hand: 100 lines against several
// megabytes of a charting bundle, and it reads well without colour.

import { h, s } from "./dom.js";
import * as format from "./format.js";

const W = 720, H = 210, LEFT = 58, RIGHT = 10, TOP = 10, PLOT = 140, SCORE_TOP = 162, SCORE = 26;

const finite = (number) => typeof number === "number" && Number.isFinite(number);

function ticks(low, high, count) {
  const step0 = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(step0));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= step0) ?? power;
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) out.push(at);
  return out;
}

/** Runs of points where `part` gives finite numbers, as SVG paths; a gap stays a gap. */
function path(points, x, y, part) {
  let text = "", pen = false;
  for (const point of points) {
    const number = part(point);
    if (!finite(number)) { pen = false; continue; }
    text += `${pen ? "L" : "M"}${x(point).toFixed(1)} ${y(number).toFixed(1)}`;
    pen = true;
  }
  return text;
}

function band(points, x, y) {
  const runs = [];
  let run = [];
  for (const point of points) {
    if (finite(point.lower) && finite(point.upper)) run.push(point);
    else if (run.length) { runs.push(run); run = []; }
  }
  if (run.length) runs.push(run);
  return runs.map((r) => `M${r.map((p) => `${x(p).toFixed(1)} ${y(p.upper).toFixed(1)}`).join("L")}L${r.toReversed().map((p) => `${x(p).toFixed(1)} ${y(p.lower).toFixed(1)}`).join("L")}Z`).join("");
}

/** `points` as the API gives them; `from`/`to` mark when it was anomalous. */
export function chart(points, { kind = "", title = "", from = null, to = null } = {}) {
  const data = points.map((point) => ({ ...point, t: Date.parse(point.at) })).filter((point) => finite(point.t));
  if (!data.some((point) => finite(point.actual))) return h("p", { class: "empty" }, "No measured window in this range.");
  const t0 = data[0].t, t1 = Math.max(data.at(-1).t, t0 + 1);
  const numbers = data.flatMap((point) => [point.actual, point.lower, point.upper, point.expected]).filter(finite);
  // The band may be far wider than the data while a series is new: the data decide the frame.
  const actual = data.map((point) => point.actual).filter(finite);
  const spread = Math.max(...actual) - Math.min(...actual) || Math.abs(actual[0]) || 1;
  let low = Math.max(Math.min(...numbers), Math.min(...actual) - 1.5 * spread);
  let high = Math.min(Math.max(...numbers), Math.max(...actual) + 1.5 * spread);
  if (Math.min(...actual) >= 0) low = Math.max(0, low);
  if (high === low) high = low + (Math.abs(low) || 1);
  const clamp = (number) => Math.min(high, Math.max(low, number));
  const x = (point) => LEFT + ((point.t - t0) / (t1 - t0)) * (W - LEFT - RIGHT);
  const y = (number) => TOP + (1 - (clamp(number) - low) / (high - low)) * PLOT;
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: actual against expected band` });
  if (from) {
    const a = Math.max(LEFT, x({ t: Date.parse(from) })), b = Math.min(W - RIGHT, x({ t: to ? Date.parse(to) : t1 }));
    if (b > a) svg.append(s("rect", { class: "when", x: a, y: TOP, width: b - a, height: SCORE_TOP + SCORE - TOP }));
  }
  for (const tick of ticks(low, high, 4)) {
    svg.append(s("line", { class: "rule", x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick) }),
      s("text", { class: "axis", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, format.value(tick, kind)));
  }
  for (let i = 0; i <= 4; i++) {
    const t = t0 + ((t1 - t0) * i) / 4;
    svg.append(s("text", { class: "axis", x: x({ t }), y: H - 4, "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, format.time(new Date(t).toISOString()).slice(-9)));
  }
  svg.append(s("path", { class: "band", d: band(data, x, y) }),
    s("path", { class: "expected", d: path(data, x, y, (p) => p.expected) }),
    s("path", { class: "actual", d: path(data, x, y, (p) => p.actual) }));
  if (data.length === 1) svg.append(s("circle", { class: "dot", cx: x(data[0]), cy: y(data[0].actual), r: 3 }));
  const width = Math.max(1, (W - LEFT - RIGHT) / data.length - 0.5);
  svg.append(s("text", { class: "axis", x: LEFT - 6, y: SCORE_TOP + SCORE, "text-anchor": "end" }, "score"),
    s("line", { class: "rule", x1: LEFT, x2: W - RIGHT, y1: SCORE_TOP + SCORE, y2: SCORE_TOP + SCORE }),
    data.filter((p) => finite(p.score) && p.score > 0).map((p) =>
      s("rect", { class: "score", x: x(p) - width / 2, y: SCORE_TOP + SCORE * (1 - p.score), width, height: SCORE * p.score })));
  const cursor = s("line", { class: "cursor", y1: TOP, y2: SCORE_TOP + SCORE, visibility: "hidden" });
  const readout = h("div", { class: "readout", "aria-live": "off" });
  const say = (p) => `${format.time(p.at)} · actual ${format.value(p.actual, kind)} · expected ${format.value(p.expected, kind)} (${format.value(p.lower, kind)} to ${format.value(p.upper, kind)}) · score ${finite(p.score) ? p.score.toFixed(3) : "learning"}`;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const t = t0 + (((event.clientX - box.left) / box.width) * W - LEFT) / (W - LEFT - RIGHT) * (t1 - t0);
    const near = data.reduce((best, point) => (Math.abs(point.t - t) < Math.abs(best.t - t) ? point : best));
    cursor.setAttribute("x1", x(near)); cursor.setAttribute("x2", x(near)); cursor.setAttribute("visibility", "visible");
    readout.textContent = say(near);
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); readout.textContent = ""; });
  svg.append(cursor);
  const legend = h("div", { class: "legend" },
    ["actual", "expected", "band", "score"].map((word) => h("span", {}, h("i", { class: `l-${word}` }), word === "band" ? "expected band" : word)));
  return h("div", { class: "chart" }, svg, legend, readout);
}
