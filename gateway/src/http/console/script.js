"use strict";
const $ = (id) => document.getElementById(id);
const most = 500;
let source = null;
let paused = false;

function path(kind, id, type) {
  return `/v1/${kind}/events/${encodeURIComponent(id)}/types/${encodeURIComponent(type)}`;
}

function show(text, detail, className) {
  const entry = document.createElement("li");
  entry.className = className;
  entry.textContent = `${new Date().toLocaleTimeString()}  ${text}  ${detail}`;
  entry.hidden = !entry.textContent.includes($("filter").value);
  $("events").prepend(entry);
  while ($("events").childElementCount > most) $("events").lastElementChild.remove();
}

function onEvent(event) {
  $("connect").elements.after.value = event.lastEventId;
  if (paused) return;
  const envelope = JSON.parse(event.data);
  const late = Date.now() - envelope.published_at;
  show(`${envelope.event_id}/${envelope.event_type} (${late} ms)`, JSON.stringify(envelope.data), "event");
}

function onOwn(event) {
  if (event.lastEventId) $("connect").elements.after.value = event.lastEventId;
  const heartbeat = event.type === "tidegate.heartbeat";
  if (event.type === "tidegate.connected") $("state").textContent = "Connected.";
  if (!paused && !heartbeat) {
    show(event.type, event.data, event.type === "tidegate.gap" ? "own gap" : "own");
  }
}

function disconnect() {
  source?.close();
  source = null;
  $("toggle").textContent = "Connect";
  $("state").textContent = "Not connected.";
}

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  if (source) return disconnect();
  const fields = event.target.elements;
  const query = new URLSearchParams({ name: "message" });
  if (fields.user.value) query.set("user", fields.user.value);
  if (fields.signature.value) query.set("signature", fields.signature.value);
  if (fields.after.value) query.set("last_event_id", fields.after.value);
  source = new EventSource(`${path("subscribe", fields.id.value, fields.type.value)}?${query}`);
  source.onmessage = onEvent;
  for (const name of ["connected", "gap", "goodbye", "heartbeat"]) {
    source.addEventListener(`tidegate.${name}`, onOwn);
  }
  source.onerror = () => {
    const ended = source?.readyState === EventSource.CLOSED;
    if (ended) disconnect();
    $("state").textContent = ended
      ? "Refused or complete: check room and signature."
      : "Lost; the browser is coming back with its last id.";
  };
  $("toggle").textContent = "Disconnect";
  $("state").textContent = "Connecting.";
});

$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = event.target.elements;
  const headers = { "Content-Type": "application/json" };
  if (fields.signature.value) headers["X-Signature"] = fields.signature.value;
  const id = $("connect").elements.id.value;
  try {
    const answer = await fetch(path("sse", id, fields.type.value), {
      method: "POST",
      headers,
      // As it was typed: parsing it here would change the spelling of its numbers.
      body: `{"data": ${fields.data.value}}`,
    });
    $("receipt").textContent = `${answer.status} ${await answer.text()}`;
  } catch (error) {
    $("receipt").textContent = String(error);
  }
});

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
});
$("clear").addEventListener("click", () => $("events").replaceChildren());
$("filter").addEventListener("input", () => {
  for (const entry of $("events").children) {
    entry.hidden = !entry.textContent.includes($("filter").value);
  }
});
