// Actions, models and SQL: the places where a person does something.

import * as api from "./api.js";
import { chip, empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";

function operation(action) {
  const [[kind, what]] = Object.entries(action.operation);
  if (kind === "exec") return h("code", {}, what.command.join(" "));
  if (kind === "http") return h("code", {}, `${what.method} ${what.url}`);
  return `${kind} ${Object.values(what).join(" ")}`;
}

export function actionTable(actions, redraw) {
  const decide = (action, verb) => h("button", {
    type: "button", class: verb === "approve" ? "primary" : "",
    onclick: async (event) => {
      event.target.disabled = true;
      await api.decide(action.id, verb).then(() => redraw({ quiet: true }), (error) => { event.target.textContent = error.message; });
    },
  }, verb);
  return table([
    ["Action", (action) => [operation(action), h("div", { class: "small soft" }, `policy ${action.policy}: ${action.reason}`)]],
    ["State", (action) => chip(action.state)],
    ["Decided", (action) => format.time(action.decided_at), "time"],
    ["Output", (action) => (action.output ? h("code", {}, action.output.slice(0, 200)) : ""), "wide"],
    ["", (action) => (action.state === "awaiting_approval" ? [decide(action, "approve"), " ", decide(action, "reject")] : "")],
  ], actions);
}

export async function actions({ filter, redraw }) {
  const page = await api.actions({ limit: 200, ...filter });
  return {
    interest: ["action"],
    content: [h("h1", {}, "Actions"), panel(null, page.items.length ? actionTable(page.items, redraw)
      : empty("No policy has matched an incident. Policies are in the configuration under actions.policies; the default mode is a dry run."))],
  };
}

export async function models() {
  const page = await api.models();
  return {
    interest: [],
    content: [h("h1", {}, "Models"), panel(null, table([
      ["Name", (model) => model.name],
      ["Version", (model) => model.version],
      ["State", (model) => chip(model.state)],
      ["Runtime", (model) => model.runtime],
      ["sha256", (model) => h("code", {}, model.sha256.slice(0, 16)), "wide"],
    ], page.items))],
  };
}

const EXAMPLES = [
  "SELECT service, name, COUNT(*) AS spans, AVG(duration_ns) / 1e6 AS mean_ms FROM spans GROUP BY service, name ORDER BY spans DESC LIMIT 20",
  "SELECT at_ns, service, score, model, version FROM scores ORDER BY score DESC LIMIT 20",
  "SELECT time_ns, service, severity, body FROM logs WHERE severity = 'ERROR' ORDER BY time_ns DESC LIMIT 50",
];

const shown = (cell) => (cell === null ? "" : typeof cell === "object" ? JSON.stringify(cell) : String(cell));

export async function sql({ filter, go }) {
  const input = h("textarea", { "aria-label": "SQL", spellcheck: "false" });
  input.value = filter.sql ?? EXAMPLES[0];
  const run = () => go(`/query?sql=${encodeURIComponent(input.value)}`);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(); });
  let answer = empty("Ctrl+Enter runs it. Tables: spans, metric_points, logs, features, scores, anomalies, incidents, actions.");
  if (filter.sql) {
    answer = await api.query(filter.sql).then(
      ({ columns, rows }) => [h("p", { class: "small soft" }, `${rows.length} rows`), table(columns.map((column, index) => [column, (row) => shown(row[index]), typeof rows[0]?.[index] === "number" ? "num" : "mono"]), rows.slice(0, 1000))],
      (error) => h("p", { class: "error" }, error.message));
  }
  return {
    interest: [],
    content: [h("h1", {}, "SQL"), panel(null, input, h("p", {}, h("button", { type: "button", class: "primary", onclick: run }, "Run")),
      h("p", { class: "small soft" }, "Try: ", EXAMPLES.map((example, index) => [h("a", { href: `/query?sql=${encodeURIComponent(example)}` }, ["busiest operations", "highest scores", "errors in logs"][index]), " · "]))),
    panel(null, answer)],
  };
}
