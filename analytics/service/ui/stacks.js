// Stacks on request: of a span, of a trace, and whether anybody records at all.

import * as api from "./api.js";
import { chip, empty, h, panel, table } from "./dom.js";
import { stackPanel } from "./flame.js";
import * as format from "./format.js";

const lasting = (ns) => format.value(ns / 1e9, "duration");

/** Asks for the id of a span (16 digits) or a trace (32). */
function question(go) {
  const input = h("input", { name: "id", required: true, pattern: "\\s*([0-9a-fA-F]{16}|[0-9a-fA-F]{32})\\s*", size: "36", spellcheck: "false", autocomplete: "off", placeholder: "0123456789abcdef", title: "16 or 32 hexadecimal digits" });
  return h("form", {
    class: "filters",
    onsubmit: (event) => {
      event.preventDefault();
      const id = input.value.trim().toLowerCase();
      go(`/${id.length === 32 ? "traces" : "spans"}/${id}`);
    },
  }, h("label", {}, "Id of a span or a trace", input), h("button", { type: "submit", class: "primary" }, "Show its stacks"));
}

function known(process) {
  return process.thread_context ? "span" : process.service ? "process, service" : "–";
}

export async function stacksPage({ go }) {
  const state = await api.profiler();
  const services = state.processes.filter((process) => process.service);
  return {
    interest: [],
    content: [
      h("h1", {}, "Stacks"),
      panel("Of one span", question(go),
        h("p", { class: "small soft" }, "Any span of the last minutes, flagged or not; one without an id at hand is found under ", h("a", { href: `/query?sql=${encodeURIComponent("SELECT trace_id, span_id, service, name, start_ns, duration_ns FROM spans ORDER BY start_ns DESC LIMIT 50")}` }, "SQL"), ".")),
      panel("Recorder", state.running
        ? [h("p", {}, `Holds ${state.samples} samples of the last ${lasting(state.seconds * 1e9)} in ${format.plain(state.bytes / 1048576)} MiB.`),
          services.length
            ? table([
              ["Service", (process) => process.service],
              ["Process", (process) => `${process.name} (${process.pid})`],
              ["Stacks are linked by", (process) => known(process)],
              ["Unwound by", (process) => (process.frame_pointers === null ? "not known yet" : process.frame_pointers ? "frame pointers" : ".eh_frame")],
            ], services)
            : empty("No process here says that it belongs to a service: set OTEL_SERVICE_NAME where it starts.")]
        : empty(`None runs: ${state.note}. `, h("code", {}, "geophone doctor"), " says what is missing.")),
    ],
  };
}

/** Of the ids in a row; the rest as it stands. */
const about = (span) => `${span.service} ${span.name}, ${lasting(span.duration_ns)}`;

export async function spanPage({ id }) {
  const { span, stacks, note } = await api.spanStacks(id);
  return {
    title: `${span.service} ${span.name}`,
    interest: [],
    content: [
      h("div", { class: "chips" }, chip("span"), h("span", { class: "soft small" }, `${format.time(span.start, true)} · ${lasting(span.duration_ns)}`)),
      h("h1", {}, `${span.service} ${span.name}: stacks of one span`),
      h("p", { class: "small" }, "Span ", h("code", {}, span.span_id), " of trace ", h("a", { href: `/traces/${span.trace_id}` }, h("code", {}, span.trace_id)), ". Normal are the faster half of the operation's spans around it."),
      panel("Code", stacks ? await stackPanel(`/spans/${id}`, stacks) : empty(`No stacks: ${note}.`)),
    ],
  };
}

export async function tracePage({ id }) {
  const trace = await api.traceStacks(id);
  const sum = (name) => (item) => (item.stacks ? lasting(item.stacks[name]) : "–");
  return {
    title: `trace ${id}`,
    interest: [],
    content: [
      h("h1", {}, "Stacks of a trace"),
      h("p", { class: "small" }, "Trace ", h("code", {}, trace.trace_id), trace.is_whole ? null : `; of its longest ${trace.items.length} spans`),
      panel("Its spans, the longest first", table([
        ["Span", (item) => about(item.span)],
        ["Most in", (item) => (item.stacks?.culprit ? h("code", {}, item.stacks.culprit.function) : h("span", { class: "small soft" }, item.note))],
        ["On CPU", sum("on_cpu_ns"), "num"],
        ["Blocked", sum("blocked_ns"), "num"],
        ["Waiting", sum("waiting_ns"), "num"],
        ["Linked by", (item) => (item.stacks ? chip(item.stacks.link) : "–")],
      ], trace.items, (item) => `/spans/${item.span.span_id}`)),
    ],
  };
}
