// Rows of the list of events.

/** From so many ms on an event counts as late. */
const LATE_MS = 250;

function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function button(label, onClick) {
  const made = element("button", "small", label);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

function clock(date) {
  const made = element("time", "", date.toLocaleTimeString([], { hour12: false }));
  made.dateTime = date.toISOString();
  return made;
}

function copier(label, text) {
  const made = button(label, async () => {
    try {
      await navigator.clipboard.writeText(text());
      made.textContent = "Copied";
    } catch {
      made.textContent = "Select and copy it by hand";
    }
    setTimeout(() => (made.textContent = label), 1_500);
  });
  return made;
}

function span(ms) {
  const seconds = ms / 1000;
  if (seconds < 1) return `${Math.round(ms)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

/** How late a live event came; of a replayed one its age. By two clocks, the log's and this one. */
function lateness(late, replayed) {
  if (replayed) return element("span", "late old", `replayed, ${span(late)} old`);
  const made = element("span", late < LATE_MS ? "late" : "late slow", span(late));
  made.title = "From the log's time to now, by two clocks";
  return made;
}

/** An event: a line that opens to the whole envelope. */
function eventRow({ envelope, id, late, replayed, at }, resumeAfter) {
  const { event_id, event_type, data } = envelope;
  const short = JSON.stringify(data);
  const room = element("strong", "", `${event_id}/${event_type}`);
  const shown = element("span", "data", short.slice(0, 300));
  const summary = element("summary", "", clock(at), " ", room, " ", lateness(late, replayed), shown);
  const details = element("details", "", summary);
  // Made when it is looked at: there are many, and few are.
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const whole = element("pre", "", JSON.stringify(envelope, null, 2));
    const code = element("code", "", `id: ${id}`);
    const bar = element("div", "bar");
    bar.append(button("Resume after this", () => resumeAfter(id)), copier("Copy id", () => id));
    details.append(whole, element("p", "hint", code), bar);
  });
  const row = element("li", "event", details);
  row.dataset.text = `${event_id}/${event_type} ${short}`.toLowerCase();
  return row;
}

function noteRow(className, at, title, text) {
  const row = element("li", className, clock(at), " ", element("strong", "", title), " ", text);
  row.dataset.text = `${title} ${text}`.toLowerCase();
  return row;
}

const GAPS = {
  expired: "The log no longer has what came after the id.",
  recreated: "The log was made anew since.",
  repartitioned: "The log's partitions were changed since.",
  too_far: "There was more to replay than the gateway's limits allow.",
  invalid: "The id is none of this log's.",
  overflow: "This reader was too slow and events were left out.",
};

const GOODBYES = {
  drain: "The pod is leaving; another one goes on.",
  max_age: "The stream has reached the operator's greatest age.",
  expired: "The signature has ended.",
  overloaded: "The gateway takes no more streams now.",
  complete: "The room's final event was published.",
  revoked: "The signature's key was taken away.",
};

function gapRow(gap, at) {
  const range = `Missing: ${gap.requested ? `from ${gap.requested} ` : ""}up to ${gap.resumed_at}`;
  const row = noteRow("gap", at, `Gap: ${gap.reason}.`, GAPS[gap.reason] ?? "Events are missing.");
  row.append(element("p", "hint", `${range}, in ${gap.rooms.join(", ")}. Load the state anew.`));
  return row;
}

function goodbyeRow(goodbye, at) {
  return noteRow("goodbye", at, `Goodbye: ${goodbye.reason}.`, GOODBYES[goodbye.reason] ?? "");
}
