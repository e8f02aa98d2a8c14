// The address of the page says what is on it, so that it can be copied; the server says how.
function tell() {
  const query = element.querySelector("[data-query]")?.dataset.query;
  if (query === undefined) return;
  const kept = [...new URLSearchParams(location.search)].filter(([name]) => name.startsWith("__")); // of Gradio
  const text = [query, new URLSearchParams(kept).toString()].filter(Boolean).join("&");
  history.replaceState(history.state, "", location.pathname + (text ? `?${text}` : ""));
}
watch("value", () => requestAnimationFrame(tell));
