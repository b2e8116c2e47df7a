// The page's stream and publish as commands and code that can be pasted elsewhere.

/** A word as a POSIX shell takes it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function here(path) {
  return new URL(path, location.href).href;
}

/** Splits at the last `/`, as the gateway does. */
function names(room) {
  const cut = room.lastIndexOf("/");
  return [room.slice(0, cut), room.slice(cut + 1)];
}

function publishPath(id, type) {
  const place = id === "*" ? "broadcast" : `events/${encodeURIComponent(id)}`;
  return `v1/sse/${place}/types/${encodeURIComponent(type)}`;
}

function curlLine({ rooms, signatures, user, from, after, lz4 }) {
  const query = new URLSearchParams();
  let path = "v1/subscribe";
  if (rooms.length === 1) {
    const [id, type] = names(rooms[0]).map(encodeURIComponent);
    path += `/events/${id}/types/${type}`;
  } else {
    for (const room of rooms) query.append("room", room);
  }
  // The header takes one; several go into the query, in the rooms' order.
  if (signatures.length > 1) for (const one of signatures) query.append("signature", one);
  if (user) query.set("user", user);
  if (after) query.set("last_event_id", after);
  else if (from) query.set("from", from);
  if (lz4) query.set("compress", "lz4");
  const url = here(path + (query.size ? `?${query}` : ""));
  const words = ["curl", "-N", url];
  if (signatures.length === 1) words.push("-H", `X-Signature: ${signatures[0]}`);
  return words.map(quoted).join(" ");
}

function javascript({ rooms, signatures, user, from, after, lz4 }) {
  const given = {
    rooms: rooms.length === 1 ? rooms[0] : rooms,
    signature: signatures.length > 1 ? signatures : signatures[0],
    user: user || undefined,
    after: after || undefined,
    from: (!after && from) || undefined,
    lz4: lz4 || undefined,
  };
  const lines = Object.entries(given)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `  ${name}: ${JSON.stringify(value)},`);
  return [
    `import { open } from ${JSON.stringify(here("tidegate.js"))};`,
    "",
    "const stream = open({",
    ...lines,
    "  onEvent: (event) => console.log(event.event_type, event.data),",
    "  onGap: (gap) => console.warn(\"load the state anew:\", gap.reason),",
    "});",
  ].join("\n");
}

function tail({ rooms, signatures, user, from, after }) {
  const words = ["tidegate", "tail", ...names(rooms[0]), "--url", here(".").replace(/\/$/, "")];
  for (const room of rooms.slice(1)) words.push("--room", room);
  for (const one of signatures) words.push("--signature", one);
  if (user) words.push("--user", user);
  if (after) words.push("--last-event-id", after);
  else if (from) words.push("--from", from);
  return words.map(quoted).join(" ");
}

function publishing({ id, type, body, signature }) {
  const words = ["curl", here(publishPath(id, type)), "-H", "Content-Type: application/json"];
  if (signature) words.push("-H", `X-Signature: ${signature}`);
  words.push("-d", body);
  return words.map(quoted).join(" ");
}
