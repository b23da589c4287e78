// A worker that holds the stream of changes: the page's own thread, and its load, stay free of a
// connection that never ends.

const source = new EventSource("/api/v1/stream");
source.onopen = () => postMessage({ line: true });
source.onerror = () => postMessage({ line: false });
for (const name of ["incident", "anomaly", "action", "window", "missed"]) {
  source.addEventListener(name, () => postMessage({ name }));
}
