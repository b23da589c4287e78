// One thing that goes wrong: the verdict first, then why, where, what was done, and when.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { chip, empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";
import { graph } from "./graph.js";
import { incidentColumns } from "./overview.js";
import { actionTable } from "./workbench.js";

const CHARTS = 4;
const AROUND_MS = 15 * 60 * 1000;

/** A row of filters that live in the address. */
export function filters(filter, path, fields, go) {
  const change = (name) => (event) => {
    const next = { ...filter, [name]: event.target.value };
    delete next.cursor;
    const kept = Object.entries(next).filter(([, value]) => value);
    go(kept.length ? `${path}?${new URLSearchParams(kept)}` : path, { replace: true });
  };
  return h("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, fields.map(([name, label, choices]) =>
    h("label", {}, label, choices
      ? h("select", { onchange: change(name) }, ["", ...choices].map((choice) => h("option", { value: choice, selected: (filter[name] ?? "") === choice }, choice || "any")))
      : h("input", { value: filter[name] ?? "", onchange: change(name), placeholder: "any" }))));
}

export function more(page, filter, path) {
  if (!page.next_cursor) return null;
  return h("p", {}, h("a", { class: "button", href: `${path}?${new URLSearchParams({ ...filter, cursor: page.next_cursor })}` }, "Next page"));
}

export async function incidentList({ filter, go }) {
  const page = await api.incidents({ limit: 100, ...filter });
  return {
    interest: ["incident"],
    content: [
      h("h1", {}, "Incidents"),
      filters(filter, "/incidents", [["state", "State", ["open", "closed"]], ["service", "Service"]], go),
      panel(null, page.items.length ? table(incidentColumns, page.items, (i) => `/incidents/${i.id}`) : empty("No incident matches.")),
      more(page, filter, "/incidents"),
    ],
  };
}

function suspects(incident) {
  if (!incident.suspects.length) return empty("No cause found yet: no service explains the others.");
  return incident.suspects.map((suspect) => {
    const bar = h("i", {});
    bar.style.width = format.percent(suspect.confidence);
    return h("div", { class: "suspect" },
      h("div", {}, h("b", {}, suspect.service), " ", h("span", { class: "soft" }, suspect.operation),
        h("div", { class: "meter", role: "img", "aria-label": `confidence ${format.percent(suspect.confidence)}` }, bar),
        h("span", { class: "small soft" }, `confidence ${format.percent(suspect.confidence)}`)),
      h("ul", {}, suspect.evidence.map((line) => h("li", {}, line))));
  });
}

/** The chart of one anomaly's series around its time. */
export async function anomalyChart(anomaly) {
  const start = Date.parse(anomaly.started_at ?? anomaly.opened_at);
  const end = anomaly.closed_at ? Date.parse(anomaly.closed_at) : null;
  const from = new Date(start - 2 * AROUND_MS).toISOString();
  const to = end === null ? null : new Date(end + AROUND_MS).toISOString();
  const page = await api.points(anomaly.series.key, from, to).catch(() => ({ items: [] }));
  const { kind, service, name } = anomaly.series;
  return chart(page.items, { kind, title: `${service} ${name} ${kind}`, from: anomaly.started_at ?? anomaly.opened_at, to: anomaly.closed_at });
}

export const anomalyColumns = [
  ["Series", (a) => `${a.series.service} ${a.series.name}`],
  ["What", (a) => a.series.kind.replaceAll("_", " ")],
  ["Actual", (a) => format.value(a.actual, a.series.kind), "num"],
  ["Expected", (a) => format.value(a.expected, a.series.kind), "num"],
  ["Score", (a) => a.score.toFixed(3), "num wide"],
  ["State", (a) => chip(a.state), "wide"],
  ["Opened", (a) => format.time(a.opened_at), "time"],
];

const timeline = (events) => h("ul", { class: "timeline" }, events.map((event) =>
  h("li", {}, h("span", { class: "soft" }, format.time(event.at)), h("b", {}, event.event.replaceAll("_", " ")), h("span", {}, event.detail))));

export async function incidentPage({ id, redraw }) {
  const incident = await api.incident(id);
  const [members, topology, actions] = await Promise.all([
    Promise.all(incident.anomalies.slice(0, 100).map((one) => api.anomaly(one).catch(() => null))),
    api.topology().catch(() => null),
    incident.actions.length ? api.actions({ incident: id, limit: 100 }).catch(() => ({ items: [] })) : { items: [] },
  ]);
  const anomalies = members.filter(Boolean).sort((a, b) => b.score - a.score);
  const causes = incident.suspects.map((suspect) => suspect.service);
  const first = [...anomalies].sort((a, b) => Number(b.series.service === causes[0]) - Number(a.series.service === causes[0]) || b.score - a.score);
  const charts = await Promise.all(first.slice(0, CHARTS).map(async (anomaly) => h("section", { class: "panel" },
    h("h2", {}, h("a", { href: `/anomalies/${anomaly.id}` }, `${anomaly.series.service} ${anomaly.series.name}`), ` ${anomaly.series.kind.replaceAll("_", " ")}`),
    await anomalyChart(anomaly))));
  const own = actions.items.filter((action) => action.incident_id === id);
  return {
    title: incident.title,
    interest: ["incident", "action", "window"],
    content: [
      h("div", { class: "chips" }, chip(incident.severity), chip(incident.state), h("span", { class: "soft small" },
        `since ${format.time(incident.started_at, true)} · ${incident.closed_at ? `lasted ${format.duration(incident.started_at, incident.closed_at)}` : "still open"} · ${incident.services?.length ?? 0} services · ${anomalies.length} anomalies`)),
      h("h1", {}, incident.title),
      incident.verdict ? h("p", { class: "verdict" }, incident.verdict) : null,
      panel("Cause", suspects(incident)),
      h("div", { class: "grid" }, charts),
      topology?.services?.length ? panel("Where", graph(topology, causes[0], incident.services ?? [])) : null,
      own.length ? panel("Actions", actionTable(own, redraw)) : null,
      panel("Anomalies in it", anomalies.length ? table(anomalyColumns, anomalies, (a) => `/anomalies/${a.id}`) : empty("None is kept any more.")),
      panel("History", timeline(incident.timeline ?? [])),
      h("p", { class: "soft small" }, "Same facts by API: ", h("code", {}, `curl ${location.origin}/api/v1/incidents/${id}`)),
    ],
  };
}
