// The console: one stream, what it brings, and a form to publish with.

const $ = (id) => document.getElementById(id);
/** Most rows that are shown, most events that are held while paused, most latencies that count. */
const MOST = 500;
const connectForm = $("connect").elements;
const publishForm = $("publish").elements;
let stream = null;
let openedAt = 0;
let paused = false;
let held = [];
let lost = 0;
let count = 0;
let latencies = [];
/** Whether the id is what somebody wrote, and not where the stream is by now. */
let afterWasTyped = false;

const words = (text) => text.split(/\s+/).filter(Boolean);
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function wanted() {
  return {
    rooms: lines(connectForm.rooms.value),
    signatures: words(connectForm.signature.value),
    user: connectForm.user.value.trim(),
    from: connectForm.from.value.trim(),
    after: connectForm.after.value.trim(),
    lz4: connectForm.lz4.checked,
  };
}

/** As it was typed: parsing it here would change the spelling of its numbers. */
function body() {
  const { data, final } = publishForm;
  return `{"data": ${data.value}${final.checked ? ', "final": true' : ""}}`;
}

// The list.

function matches(row) {
  return row.dataset.text.includes($("filter").value.toLowerCase());
}

function show(row) {
  row.hidden = !matches(row);
  $("events").prepend(row);
  while ($("events").childElementCount > MOST) $("events").lastElementChild.remove();
}

/** Shows what `make` makes, or holds it while the list is paused: in its order, notes as well. */
function put(make) {
  if (!paused) return show(make());
  held.push(make);
  if (held.length > MOST) {
    held.shift();
    lost += 1;
  }
}

function figures() {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share) => span(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  const parts = [count ? `${count} event${count === 1 ? "" : "s"}` : "No events yet"];
  if (sorted.length) parts.push(`latency: median ${at(0.5)}, 99th percentile ${at(0.99)}`);
  if (paused) parts.push(`paused, ${held.length} held`);
  if (lost) parts.push(`${lost} not shown: more than ${MOST} came while paused`);
  if ($("filter").value) {
    const shown = [...$("events").children].filter((row) => !row.hidden).length;
    parts.push(`${shown} of ${$("events").childElementCount} rows match`);
  }
  $("figures").textContent = `${parts.join(" · ")}.`;
}

let figuresAsked = false;
function laterFigures() {
  if (figuresAsked) return;
  figuresAsked = true;
  setTimeout(() => {
    figuresAsked = false;
    figures();
  }, 100);
}

// The stream.

function moved(id) {
  connectForm.after.value = id;
  afterWasTyped = false;
}

function onEvent(envelope, { id }) {
  const at = new Date();
  const late = at - envelope.published_at;
  const replayed = envelope.published_at < openedAt;
  count += 1;
  if (!replayed) latencies = [...latencies.slice(1 - MOST), late];
  moved(id);
  put(() => eventRow({ envelope, id, late, replayed, at }, resumeAfter));
  laterFigures();
}

const STATES = {
  connecting: ({ url }) => `Connecting to ${new URL(url).host}.`,
  open: ({ pod, version, heartbeat_ms }) =>
    `Connected to ${pod}, ${version}, heartbeat ${span(heartbeat_ms)}.`,
  waiting: ({ reason, delay }) =>
    `Lost (${reason}); comes back ${delay === undefined ? "when the gateway said" : `in ${span(delay)}`}.`,
  complete: () => "Complete: the room's final event was published.",
  refused: ({ status, problem }) => `Refused, ${status}: ${problem?.detail ?? problem?.title ?? ""}`,
  closed: () => "Not connected.",
};

function onState(now) {
  const text = STATES[now.state](now);
  $("state").textContent = text;
  $("state").dataset.state = now.state;
  if (now.state === "open") openedAt = Date.now();
  if (now.state === "open" || now.state === "refused" || now.state === "waiting") {
    const at = new Date();
    put(() => noteRow("own", at, now.state === "open" ? `Connected (${now.start}).` : "", text));
  }
  if (["complete", "refused", "closed"].includes(now.state)) ended();
}

function ended() {
  stream = null;
  $("toggle").textContent = "Connect";
}

function connect() {
  const { rooms, signatures, user, from, after, lz4 } = wanted();
  try {
    stream = open({
      rooms,
      signature: signatures.length ? signatures : undefined,
      user,
      from,
      after,
      lz4,
      // This page is to show what a stream of its own gets, from where it was told.
      shared: false,
      storage: null,
      onEvent,
      onGap: (gap, id) => {
        moved(id);
        const at = new Date();
        put(() => gapRow(gap, at));
      },
      onGoodbye: (goodbye) => {
        const at = new Date();
        put(() => goodbyeRow(goodbye, at));
      },
      onState,
    });
    $("toggle").textContent = "Disconnect";
  } catch (error) {
    $("state").textContent = error.message;
    $("state").dataset.state = "refused";
  }
}

function resumeAfter(id) {
  stream?.close();
  connectForm.after.value = id;
  connect();
}

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stream) stream.close();
  else connect();
});

$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { id, type, signature } = publishForm;
  const headers = { "Content-Type": "application/json" };
  if (signature.value) headers["X-Signature"] = signature.value.trim();
  let good = false;
  let text;
  try {
    const path = publishPath(id.value, type.value);
    const answer = await fetch(here(path), { method: "POST", headers, body: body() });
    good = answer.ok;
    text = `${answer.status} ${await answer.text()}`;
  } catch (error) {
    text = String(error);
  }
  $("receipt").textContent = text;
  $("receipt").dataset.good = good;
});

// The list's controls.

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  for (const make of paused ? [] : held.splice(0)) show(make());
  figures();
});
$("clear").addEventListener("click", () => {
  $("events").replaceChildren();
  held = [];
  latencies = [];
  count = 0;
  lost = 0;
  figures();
});
$("filter").addEventListener("input", () => {
  for (const row of $("events").children) row.hidden = !matches(row);
  figures();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "p") $("pause").click();
  else if (event.key === "/") $("filter").focus();
  else return;
  event.preventDefault();
});

// Snippets, and what is kept over a reload: the forms without their signatures.

const SNIPPETS = {
  "curl, subscribe": (what) => curlLine(what),
  "JavaScript, tidegate.js": (what) => javascript(what),
  "tidegate tail": (what) => tail(what),
  "curl, publish": () => {
    const { id, type, signature } = publishForm;
    const signed = signature.value.trim();
    return publishing({ id: id.value, type: type.value, body: body(), signature: signed });
  },
};

for (const title of Object.keys(SNIPPETS)) {
  const code = element("pre", "");
  code.dataset.title = title;
  code.tabIndex = 0;
  code.setAttribute("aria-label", title);
  const heading = element("h3", "", title, copier("Copy", () => code.textContent));
  $("snippets").append(element("div", "snippet", heading, code));
}

function renew() {
  const what = wanted();
  if (!afterWasTyped) what.after = "";
  for (const code of $("snippets").querySelectorAll("pre")) {
    code.textContent = what.rooms.length ? SNIPPETS[code.dataset.title](what) : "Name a room.";
  }
}

const fields = [...connectForm, ...publishForm].filter((field) => field.name && field.name !== "signature");
const nameOf = (field) => `tidegate console ${field.form.id} ${field.name}`;
function keep() {
  for (const field of fields) {
    const { type, checked, value } = field;
    sessionStorage.setItem(nameOf(field), type === "checkbox" ? (checked ? "on" : "") : value);
  }
}
for (const field of fields) {
  const kept = sessionStorage.getItem(nameOf(field));
  if (kept === null) continue;
  if (field.type === "checkbox") field.checked = kept === "on";
  else field.value = kept;
}
addEventListener("pagehide", keep);
connectForm.after.addEventListener("input", () => (afterWasTyped = connectForm.after.value !== ""));
for (const form of [$("connect"), $("publish")]) form.addEventListener("input", renew);
renew();
