// Traffic: what each tenant sent over which transport, and what became of it.

import * as api from "./api.js";
import { empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";

/** `reason: count` for each reason, or a dash. */
const reasons = (pairs) => (pairs.length
  ? pairs.map(([reason, count]) => h("div", { class: "small" }, `${reason.replaceAll("_", " ")}: ${format.plain(count)}`)) : "–");

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const place = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(count, 1)) / 10));
  return `${(count / 2 ** (10 * place)).toFixed(place ? 1 : 0)} ${units[place]}`;
}

const sums = (part) => [
  h("div", {}, format.plain(part.received)),
  h("div", { class: "small soft" }, `acked ${format.plain(part.acked)}, refused ${format.plain(part.refused)}, open ${format.plain(part.open)}`),
];

/** What of the service's own counters belongs here: queues and the log. */
function strip(metrics, status) {
  const sum = (name) => metrics.filter(([own]) => own === name || own.startsWith(`${name}{`)).reduce((total, [, value]) => total + value, 0);
  const commits = sum("geophone_log_commit_seconds_count");
  const facts = [
    ["requests open", format.plain(sum("geophone_open_requests"))],
    ["messages waiting in queues", format.plain(sum("geophone_channel_waiting"))],
    ["a commit of the log takes, on average", commits ? format.value(sum("geophone_log_commit_seconds_sum") / commits, "duration") : "–"],
    ["log not yet Parquet", `${format.plain(sum("geophone_log_unsealed_records"))} records`],
    ["engine behind the log", `${format.plain(status.lag_records)} records, ${status.lag_seconds.toFixed(1)} s`],
  ];
  return h("dl", { class: "strip" }, facts.map(([name, number]) => h("div", {}, h("dt", {}, name), h("dd", {}, number))));
}

export async function traffic() {
  const [page, status, metrics] = await Promise.all([api.traffic(), api.status(), api.metrics().catch(() => [])]);
  return {
    interest: ["window"],
    content: [
      h("h1", {}, "Traffic"),
      h("p", { class: "soft" }, "Received = acked + refused + open, in every line."),
      strip(metrics, status),
      panel(null, page.items.length ? table([
        ["Tenant", (line) => line.tenant],
        ["Signal", (line) => `${line.signal} over ${line.transport}`],
        ["Requests", (line) => sums(line.requests)],
        ["Items", (line) => sums(line.items)],
        ["Bytes", (line) => [h("div", {}, bytes(line.bytes)), h("div", { class: "small soft" }, `${bytes(line.packed_bytes)} as sent`)]],
        ["Requests refused", (line) => reasons(line.refused_requests)],
        ["Items refused", (line) => reasons(line.refused_items)],
        ["Items dropped", (line) => reasons(line.dropped_items)],
      ], page.items) : empty("Nothing has been received since the start.")),
    ],
  };
}
