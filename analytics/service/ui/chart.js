// One chart: actual, expected band, and the score beneath. SVG by hand: 150 lines against several
// megabytes of a charting bundle, it fits any width, and it reads well without colour.

import { empty, h, s } from "./dom.js";
import * as format from "./format.js";

const LEFT = 62, RIGHT = 12, TOP = 8, GAP = 14, SCORE = 34, AXIS = 20;
/** From here on a score's bar is drawn strong. */
const HIGH = 0.7;

const finite = (number) => typeof number === "number" && Number.isFinite(number);

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough) ?? power;
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) out.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return out;
}

/** Runs of points where `part` gives finite numbers, as an SVG path; a gap stays a gap. */
function path(points, x, y, part) {
  let text = "", pen = false;
  for (const point of points) {
    const number = part(point);
    if (!finite(number)) { pen = false; continue; }
    text += `${pen ? "L" : "M"}${x(point.t).toFixed(1)} ${y(number).toFixed(1)}`;
    pen = true;
  }
  return text;
}

/** The expected band, where something was measured. */
function band(points, x, y) {
  const runs = [];
  let run = [];
  for (const point of points) {
    if (finite(point.actual) && finite(point.lower) && finite(point.upper)) run.push(point);
    else if (run.length) { runs.push(run); run = []; }
  }
  if (run.length) runs.push(run);
  const edge = (points, part) => points.map((p) => `${x(p.t).toFixed(1)} ${y(part(p)).toFixed(1)}`).join("L");
  return runs.map((r) => `M${edge(r, (p) => p.upper)}L${edge(r.toReversed(), (p) => p.lower)}Z`).join("");
}

/** The frame of the plot. A band may be far wider than the data while a series is new: the data decide. */
function frame(data) {
  const actual = data.map((point) => point.actual).filter(finite);
  const all = data.filter((point) => finite(point.actual)).flatMap((point) => [point.actual, point.lower, point.upper, point.expected]).filter(finite);
  const least = Math.min(...actual), most = Math.max(...actual);
  const spread = most - least || Math.abs(most) || 1;
  let low = Math.max(Math.min(...all), least - 1.2 * spread), high = Math.min(Math.max(...all), most + 1.2 * spread);
  if (least >= 0) low = Math.max(0, low);
  if (high <= low) high = low + (Math.abs(low) || 1);
  return [low, high + (high - low) * 0.04];
}

function drawing(data, width, { kind, title, from, to }) {
  const height = width < 520 ? 210 : 250;
  const plot = height - TOP - GAP - SCORE - AXIS, scoreTop = TOP + plot + GAP, foot = scoreTop + SCORE;
  const t0 = data[0].t, t1 = Math.max(data.at(-1).t, t0 + 1);
  const [low, high] = frame(data);
  const x = (t) => LEFT + ((t - t0) / (t1 - t0)) * (width - LEFT - RIGHT);
  const y = (number) => TOP + (1 - (Math.min(high, Math.max(low, number)) - low) / (high - low)) * plot;
  const rule = (at) => s("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: at, y2: at });
  const label = (text, at, down, anchor = "end") => s("text", { class: "axis", x: at, y: down, "text-anchor": anchor }, text);
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: "0", "aria-label": `${title}: measured against its expected band. Arrow keys read single windows.` });
  if (from) {
    const a = Math.max(LEFT, x(Date.parse(from))), b = Math.min(width - RIGHT, to ? x(Date.parse(to)) : width - RIGHT);
    if (b > a) svg.append(s("rect", { class: "when", x: a, y: TOP, width: b - a, height: foot - TOP }), s("line", { class: "onset", x1: a, x2: a, y1: TOP, y2: foot }));
  }
  for (const tick of ticks(low, high, 4)) svg.append(rule(y(tick)), label(format.value(tick, kind), LEFT - 8, y(tick) + 4));
  const marks = Math.max(2, Math.min(6, Math.floor(width / 150)));
  for (let i = 0; i <= marks; i++) {
    const t = t0 + ((t1 - t0) * i) / marks;
    svg.append(label(format.clock(new Date(t).toISOString()), x(t), height - 5, i === 0 ? "start" : i === marks ? "end" : "middle"));
  }
  svg.append(
    s("path", { class: "band", d: band(data, x, y) }),
    s("path", { class: "expected", d: path(data, x, y, (p) => p.expected) }),
    s("path", { class: "actual", d: path(data, x, y, (p) => p.actual) }));
  if (data.length < 40) svg.append(...data.filter((p) => finite(p.actual)).map((p) => s("circle", { class: "dot", cx: x(p.t), cy: y(p.actual), r: 2.2 })));
  const bar = Math.max(1, (width - LEFT - RIGHT) / data.length - 0.6);
  svg.append(rule(foot), label("score 1", LEFT - 8, scoreTop + 8), label("0", LEFT - 8, foot + 2),
    ...data.filter((p) => finite(p.score) && p.score > 0).map((p) =>
      s("rect", { class: p.score >= HIGH ? "score high" : "score", x: Math.max(LEFT, x(p.t) - bar / 2), y: scoreTop + SCORE * (1 - p.score), width: bar, height: SCORE * p.score })));
  return { svg, x, timeAt: (px) => t0 + ((px - LEFT) / (width - LEFT - RIGHT)) * (t1 - t0), foot };
}

/** `points` as the API gives them; `from` and `to` mark when it was anomalous. */
export function chart(points, { kind = "", title = "", from = null, to = null } = {}) {
  const data = points.map((point) => ({ ...point, t: Date.parse(point.at) })).filter((point) => finite(point.t));
  if (!data.some((point) => finite(point.actual))) return empty("No measured window in this range.");
  const readout = h("div", { class: "readout", "aria-live": "polite" });
  const legend = h("div", { class: "legend" },
    ["actual", "expected", "band", "score"].map((word) => h("span", {}, h("i", { class: `l-${word}` }), word === "band" ? "expected band" : word)));
  const box = h("div", { class: "chart" });
  const say = (p) => `${format.time(p.at)}  actual ${format.value(p.actual, kind)}, expected ${format.value(p.expected, kind)} (${format.band(p.lower, p.upper, kind)}), score ${finite(p.score) ? p.score.toFixed(3) : "not yet: learning"}`;
  let drawn = 0;
  const draw = (width) => {
    if (Math.abs(width - drawn) < 2) return;
    drawn = width;
    const { svg, x, timeAt, foot } = drawing(data, width, { kind, title, from, to });
    const cursor = s("line", { class: "cursor", y1: TOP, y2: foot, visibility: "hidden" });
    let at = data.length - 1;
    const show = (index) => {
      at = Math.max(0, Math.min(data.length - 1, index));
      cursor.setAttribute("x1", x(data[at].t)); cursor.setAttribute("x2", x(data[at].t)); cursor.setAttribute("visibility", "visible");
      readout.textContent = say(data[at]);
    };
    const hide = () => { cursor.setAttribute("visibility", "hidden"); readout.textContent = ""; };
    svg.addEventListener("pointermove", (event) => {
      const t = timeAt(event.clientX - svg.getBoundingClientRect().left);
      show(data.reduce((best, point, index) => (Math.abs(point.t - t) < Math.abs(data[best].t - t) ? index : best), 0));
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -data.length, End: data.length }[event.key];
      if (step) { event.preventDefault(); show(at + step); }
    });
    svg.append(cursor);
    box.replaceChildren(svg, legend, readout);
  };
  draw(640);
  new ResizeObserver(([entry]) => entry.contentRect.width > 0 && draw(Math.max(260, Math.floor(entry.contentRect.width)))).observe(box);
  return box;
}
