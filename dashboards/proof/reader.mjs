// Clients of the proof: a reader that comes back as a browser does, and one that reads too little.
import http2 from "node:http2";
import net from "node:net";
import { signature } from "./gateway.mjs";
import { wait } from "./processes.mjs";

const path = (room, query) => `/v1/subscribe/events/${room.replace("/", "/types/")}${query}`;

/** Reads a room: after its stream ends it waits for `retry:` and goes on with the last id, at any gateway. */
export class Reader {
  constructor(room, gateways, { h2 = false, query = "", returns = true } = {}) {
    Object.assign(this, { room, gateways, h2, query, returns });
    Object.assign(this, { seen: new Set(), doubled: 0, gaps: [], refusals: [], goodbyes: 0, opened: 0, retry: 1000 });
    this.open();
  }

  open() {
    if (this.closed) return;
    const gateway = this.gateways();
    this.opened += 1;
    this.connected = false;
    const headers = { accept: "text/event-stream", "x-signature": signature("subscribe") };
    if (this.lastId) headers["last-event-id"] = this.lastId;
    const from = path(this.room, this.query);
    if (this.h2 && gateway.tls) return this.openH2(gateway, { ":path": from, ...headers });
    this.stream = gateway.request("GET", from, headers, (answer) => this.read(answer, answer.statusCode));
    this.stream.on("error", () => this.again());
    this.stream.end();
  }

  openH2(gateway, headers) {
    const session = http2.connect(`https://127.0.0.1:${gateway.public}`, { rejectUnauthorized: false });
    session.on("error", () => this.again());
    session.on("close", () => this.again());
    const stream = session.request(headers);
    stream.on("error", () => this.again());
    stream.once("response", (head) => this.read(stream, head[":status"]));
    stream.once("close", () => session.close());
    this.stream = session;
  }

  read(body, status) {
    // Whatever happens, whoever asks for a stream is answered with 200: else a browser would never return.
    if (status !== 200) this.refusals.push(status);
    let text = "";
    body.setEncoding("utf8");
    body.on("data", (part) => {
      text += part;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) this.block(block);
    });
    body.on("end", () => this.again()).on("error", () => this.again()).on("close", () => this.again());
  }

  block(text) {
    const fields = {};
    for (const line of text.split("\n")) {
      const colon = line.indexOf(":");
      fields[line.slice(0, colon)] = line.slice(colon + 1).trim();
    }
    if (fields.id) this.lastId = fields.id;
    if (fields.retry) this.retry = Number(fields.retry);
    if (fields.event === "tidegate.connected") this.connected = true;
    else if (fields.event === "tidegate.gap") this.gaps.push(JSON.parse(fields.data).reason);
    else if (fields.event === "tidegate.goodbye") this.goodbyes += 1;
    else if (fields.event && !fields.event.startsWith("tidegate.")) {
      const { data } = JSON.parse(fields.data);
      if (this.seen.has(data.n)) this.doubled += 1;
      this.seen.add(data.n);
    }
  }

  async again() {
    if (this.pending || this.closed) return;
    this.pending = true;
    this.connected = false;
    if (!this.returns) return;
    await wait(this.retry);
    this.pending = false;
    this.open();
  }

  /** Ends the connection, as a client does that loses its network. */
  cut() {
    this.stream.destroy();
  }

  close() {
    this.closed = true;
    this.stream?.destroy();
  }
}

/** A client that asks for a stream and reads that many bytes of it ten times a second: with 0, nothing. */
export function sluggish(gateway, room, query, bytes) {
  const socket = net.connect({ host: "127.0.0.1", port: gateway.public });
  socket.on("error", () => {});
  socket.pause();
  socket.write(`GET ${path(room, query)} HTTP/1.1\r\nhost: t\r\nx-signature: ${signature("subscribe")}\r\n\r\n`);
  const reads = bytes > 0 && setInterval(() => socket.read(bytes), 100);
  socket.once("close", () => clearInterval(reads));
  return socket;
}
