// One series that left its band: how far, why the score says so, which spans and stacks show it.

import * as api from "./api.js";
import { chip, empty, h, panel, table } from "./dom.js";
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

/** Contributions as bars left and right of zero; they add up to the score's change. */
function waterfall(contributions) {
  const largest = Math.max(...contributions.map((part) => Math.abs(part.value)), 1e-12);
  return h("div", { class: "waterfall" }, contributions.slice(0, 14).flatMap((part) => {
    const bar = h("i", { class: part.value < 0 ? "minus" : "plus" });
    const width = (Math.abs(part.value) / largest) * 50;
    bar.style.left = `${part.value < 0 ? 50 - width : 50}%`;
    bar.style.width = `${width}%`;
    return [h("span", {}, part.feature), h("div", { class: "bar" }, bar), h("span", { class: "mono" }, part.value.toFixed(3))];
  }));
}

const milliseconds = (ns) => `${(ns / 1e6).toFixed(1)} ms`;

function stacks(found) {
  if (!found) return empty("No stacks: no profiler runs where these spans ran, or they were too short to be seen.");
  return [
    h("div", { class: "chips" }, chip(found.link, "How surely the stacks belong to the spans"),
      h("span", { class: "small soft" }, `${found.spans} of ${found.spans_flagged} flagged spans, ${found.samples} samples · on CPU ${milliseconds(found.on_cpu_ns)} · blocked ${milliseconds(found.blocked_ns)} · waiting ${milliseconds(found.waiting_ns)}`)),
    table([
      ["Function", (f) => [h("code", {}, f.function), f.file ? h("div", { class: "small soft" }, `${f.file}:${f.line}`) : null]],
      ["State", (f) => f.state.replace("_", " ")],
      ["More than normal", (f) => milliseconds(f.total_ns - f.baseline_total_ns), "num"],
      ["Total", (f) => milliseconds(f.total_ns), "num"],
      ["Self", (f) => milliseconds(f.self_ns), "num wide"],
    ], found.top.slice(0, 30)),
    h("p", { class: "small" }, h("a", { href: found.folded }, "folded stacks")),
  ];
}

export async function anomalyPage({ id }) {
  const anomaly = await api.anomaly(id);
  const { series, model } = anomaly;
  const times = anomaly.actual !== null && anomaly.expected ? `${(anomaly.actual / anomaly.expected).toFixed(2)} × expected` : "";
  return {
    title: `${series.service} ${series.name}`,
    interest: ["anomaly", "window"],
    content: [
      h("div", { class: "chips" }, chip(anomaly.state), chip(anomaly.maturity ?? "calibrated", "How far this series is known"),
        h("span", { class: "soft small" }, `opened ${format.time(anomaly.opened_at, true)}${anomaly.closed_at ? `, lasted ${format.duration(anomaly.started_at ?? anomaly.opened_at, anomaly.closed_at)}` : ", still open"}`)),
      h("h1", {}, `${series.service} ${series.name}: ${series.kind.replaceAll("_", " ")}`),
      h("p", { class: "verdict" }, `${format.value(anomaly.actual, series.kind)} where ${format.value(anomaly.lower, series.kind)} to ${format.value(anomaly.upper, series.kind)} was expected. ${times}`),
      anomaly.incident_id ? h("p", {}, "Part of ", h("a", { href: `/incidents/${anomaly.incident_id}` }, `incident ${anomaly.incident_id}`), ".") : h("p", { class: "soft" }, "Not part of an incident."),
      panel("Actual and expected band", await anomalyChart(anomaly)),
      h("div", { class: "grid" },
        panel(`Why the score is ${anomaly.score.toFixed(3)}`, anomaly.contributions.length ? waterfall(anomaly.contributions) : empty("The model gave no contributions."),
          h("p", { class: "small soft" }, `${anomaly.evidence_count ?? 0} samples of evidence. Parts add up to the model's score minus its score of a normal window. Model ${model.name} ${model.version}, sha256 ${model.sha256.slice(0, 12)}.`)),
        panel("Series", h("table", {}, h("tbody", {}, Object.entries({ service: series.service, name: series.name, kind: series.kind, ...series.labels }).map(([key, value]) =>
          h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, String(value))))),
        ), h("p", { class: "small" }, h("a", { href: `/series/${series.key}` }, "all windows of this series")))),
      panel("Spans to look at", anomaly.exemplars.length
        ? table([["Trace", (e) => h("code", {}, e.trace_id)], ["Span", (e) => h("code", {}, e.span_id)], ["", (e) => h("a", { href: `/query?sql=${encodeURIComponent(`SELECT service, name, kind, duration_ns, status FROM spans WHERE trace_id = '${e.trace_id}' ORDER BY start_ns`)}` }, "show the trace")]], anomaly.exemplars)
        : empty("This series does not come from spans.")),
      panel("Code", stacks(anomaly.stacks)),
    ],
  };
}
