// Decodes a recorded stream with lz4js: prints each event's data as compact JSON.
import { readFileSync } from "node:fs";
import lz4 from "lz4js";

for (const line of readFileSync(process.argv[2], "utf8").split("\n")) {
  if (!line.startsWith('data: {"message_id"')) continue;
  const envelope = JSON.parse(line.slice("data: ".length));
  const data = envelope.encoding === "lz4"
    ? JSON.parse(Buffer.from(lz4.decompress(Buffer.from(envelope.data, "base64"))).toString("utf8"))
    : envelope.data;
  console.log(JSON.stringify(data));
}
