// One series that left its band: how far, why the score says so, which spans and stacks show it.

import * as api from "./api.js";
import { attributes } from "./attributes.js";
import { chip, empty, h, panel, table } from "./dom.js";
import { stackPanel } from "./flame.js";
import * as format from "./format.js";
import { anomalyChart, anomalyColumns, filters, more } from "./incidents.js";

export async function anomalyList({ filter, go }) {
  const page = await api.anomalies({ limit: 100, ...filter });
  return {
    interest: ["anomaly"],
    content: [
      h("h1", {}, "Anomalies"),
      filters(filter, "/anomalies", [["state", "State", ["open", "closed"]], ["service", "Service"], ["min_score", "Score at least"]], go),
      panel(null, page.items.length ? table(anomalyColumns, page.items, (a) => `/anomalies/${a.id}`) : empty("No anomaly matches.")),
      more(page, filter, "/anomalies"),
    ],
  };
}

/** What the shipped model's features mean; a feature that is not here stands for itself. */
const MEANINGS = {
  z_1: "this window", z_6: "last 6 windows", z_18: "last 18 windows",
  recent_1: "this window against the recent past", recent_6: "last 6 windows against those before",
  effect_6: "size of the change, 6 windows", effect_18: "size of the change, 18 windows",
  ewma_fast: "smoothed deviation, fast", ewma_slow: "smoothed deviation, slow", slope: "trend",
  robust_z: "deviation from the running median", cusum_up: "rise added up", cusum_down: "fall added up",
  persistence: "one side for long", spread: "change of spread", ar_residual: "surprise after the last window",
  season_z: "against this time of past days", season_known: "days known", missing: "missing windows",
  evidence: "samples under it", memory: "how much windows follow each other", age: "how long it is known",
  is_count: "a count", is_share: "a share", is_log_mean: "durations", is_level: "a level",
};

/** Contributions as bars left and right of zero; they add up. */
function waterfall(all) {
  const rest = all.slice(13), sum = (parts) => parts.reduce((total, part) => total + part.value, 0);
  const contributions = rest.length > 1 ? [...all.slice(0, 13), { feature: `${rest.length} others`, value: sum(rest) }] : all;
  const largest = Math.max(...contributions.map((part) => Math.abs(part.value)), 1e-12);
  return h("div", { class: "waterfall" }, contributions.flatMap((part) => {
    const bar = h("i", { class: part.value < 0 ? "minus" : "plus" });
    const width = (Math.abs(part.value) / largest) * 50;
    bar.style.left = `${part.value < 0 ? 50 - width : 50}%`;
    bar.style.width = `${width}%`;
    return [h("span", {}, h("code", {}, part.feature), MEANINGS[part.feature] ? h("span", { class: "small soft" }, ` ${MEANINGS[part.feature]}`) : null), h("div", { class: "bar" }, bar), h("span", { class: "mono" }, part.value.toFixed(3))];
  }), h("b", { class: "small" }, "together"), h("span"), h("b", { class: "mono" }, sum(all).toFixed(3)));
}

/** How far from what was expected, in words. */
function distance({ actual, expected, series }) {
  if (actual === null || !expected || /value/.test(series.kind)) return null;
  const times = actual / expected;
  return `${times >= 100 ? times.toFixed(0) : Number(times.toFixed(times < 1 ? 2 : 1))}× expected`;
}

/** The band; where the value lies in it, what is usual, since then it is the lasting that tells. */
function expectation({ actual, expected, lower, upper, series }) {
  const within = actual !== null && lower !== null && lower <= actual && actual <= upper;
  return within ? ` where about ${format.value(expected, series.kind)} is usual: nothing for one window or request, but not for as many as there were` : ` where ${format.band(lower, upper, series.kind)} was expected`;
}

/** Why there are no spans to look at. */
const spanless = (kind) => (/^edge/.test(kind) ? "Calls between services keep no example: look at the operation that is called." : "This series does not come from spans.");

const traceQuery = (trace) => `/query?sql=${encodeURIComponent(`SELECT span_id, service, name, kind, start_ns, duration_ns, status FROM spans WHERE trace_id = '${trace}' ORDER BY start_ns`)}`;

export async function anomalyPage({ id }) {
  const anomaly = await api.anomaly(id);
  const { series, model } = anomaly;
  const show = (number) => format.value(number, series.kind);
  const exemplars = [...new Map(anomaly.exemplars.map((one) => [one.span_id, one])).values()];
  return {
    title: `${series.service} ${series.name}`,
    interest: ["anomaly", "window"],
    content: [
      h("div", { class: "chips" }, chip(anomaly.state), chip(anomaly.maturity, "How well this series is known"),
        h("span", { class: "soft small" }, `since ${format.time(anomaly.started_at, true)}${anomaly.closed_at ? `, lasted ${format.duration(anomaly.started_at, anomaly.closed_at)}` : ", still open"} · ${anomaly.evidence_count} samples of evidence`)),
      h("h1", {}, `${series.service} ${series.name}: ${series.kind.replaceAll("_", " ")}`),
      h("p", { class: "verdict" }, h("b", {}, show(anomaly.actual)), expectation(anomaly), distance(anomaly) ? ` (${distance(anomaly)})` : null, ". ",
        anomaly.incident_id ? [h("a", { href: `/incidents/${anomaly.incident_id}` }, "Its incident"), "."] : h("span", { class: "soft" }, "It belongs to no incident.")),
      panel("Actual and expected band", await anomalyChart(anomaly),
        h("p", { class: "small soft" }, "A point is one window. The sentence above may rest on several windows together, whose band is narrower.")),
      panel("Attributes that carry it", attributes(anomaly)),
      h("div", { class: "grid" },
        panel(`Why the score is ${anomaly.score.toFixed(3)}`, anomaly.contributions.length ? waterfall(anomaly.contributions) : empty("The model gave no contributions."),
          h("p", { class: "small soft" }, "Parts of the model's output above that of a window as expected, largest first. Model ", h("a", { href: "/models" }, `${model.name} ${model.version}`), ", sha256 ", h("code", {}, model.sha256.slice(0, 12)), ".")),
        panel("Series", h("table", {}, h("tbody", {}, Object.entries({ service: series.service, name: series.name, kind: series.kind, ...series.labels }).map(([key, value]) =>
          h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, String(value)))))),
        h("p", { class: "small" }, h("a", { href: `/series/${series.key}` }, "all windows of this series")))),
      panel("Spans to look at", exemplars.length
        ? table([["Trace", (e) => h("code", {}, e.trace_id)], ["Span", (e) => h("code", {}, e.span_id)], ["Stacks", (e) => h("a", { href: `/spans/${e.span_id}` }, "of this span")], ["Whole trace", (e) => h("a", { href: traceQuery(e.trace_id) }, "show")]], exemplars)
        : empty(spanless(series.kind))),
      panel("Code", anomaly.stacks ? await stackPanel(`/anomalies/${id}`, anomaly.stacks)
        : empty("No stacks: no profiler runs where these spans ran, or they were too short to be seen.")),
    ],
  };
}
