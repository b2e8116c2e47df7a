// A way to a gateway that can fail: what k6's readers go through.
import net from "node:net";

export class Wire {
  static async to(port) {
    const wire = new Wire();
    wire.streams = new Set();
    wire.server = net.createServer((near) => wire.lay(near, net.connect({ host: "127.0.0.1", port })));
    await new Promise((done, failed) => wire.server.once("error", failed).listen(0, "127.0.0.1", done));
    wire.port = wire.server.address().port;
    return wire;
  }

  lay(near, far) {
    const streams = this.streams;
    // Publishes are let be: one whose outcome is unknown may be tried again by nobody.
    near.once("data", (head) => head.toString("latin1").startsWith("GET /v1/subscribe/") && streams.add(near));
    near.pipe(far).pipe(near);
    for (const [one, other] of [[near, far], [far, near]]) {
      one.on("error", () => {});
      one.once("close", () => {
        other.destroy();
        streams.delete(near);
      });
    }
  }

  /** Resets so many streams at once, and answers with how many there were. */
  cut(most) {
    const cut = [...this.streams].slice(0, most);
    for (const stream of cut) stream.resetAndDestroy();
    return cut.length;
  }

  close() {
    this.server.close();
  }
}
