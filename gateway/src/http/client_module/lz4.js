// LZ4 frames, as `compress=lz4` sends them (the LZ4 Frame Format Description, 1.6.x).

/** Most bytes that a payload is unpacked to: a hostile size must not take the tab's memory. */
const MOST_UNPACKED = 64 * 1024 * 1024;

/**
 * The bytes in an LZ4 frame. Checksums are passed over: TCP and the gateway answer for the bytes, and
 * what is unpacked still has to be JSON of the announced length.
 */
function unlz4(frame) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const flags = view.getUint8(4);
  if (view.getUint32(0, true) !== 0x184d2204 || flags >> 6 !== 1) throw new Error("no LZ4 frame");
  if (!(flags & 8)) throw new Error("an LZ4 frame without its content's size");
  const size = Number(view.getBigUint64(6, true));
  if (size > MOST_UNPACKED) throw new Error(`an LZ4 frame of ${size} bytes is too large`);
  const out = new Uint8Array(size);
  let from = 15 + (flags & 1 ? 4 : 0);
  let to = 0;
  for (;;) {
    const head = view.getUint32(from, true);
    const length = head & 0x7fffffff;
    from += 4;
    if (head === 0) break;
    if (from + length > frame.length) throw new Error("an LZ4 block is cut short");
    const block = frame.subarray(from, from + length);
    if (head >>> 31) {
      out.set(block, to);
      to += length;
    } else {
      to = unlz4Block(block, out, to);
    }
    from += length + (flags & 16 ? 4 : 0);
  }
  if (to !== size) throw new Error("an LZ4 frame is shorter than it says");
  return out;
}

/** Unpacks one block behind `to`; returns its end. A match may reach back into earlier blocks. */
function unlz4Block(block, out, to) {
  let at = 0;
  const extended = (length) => {
    if (length < 15) return length;
    for (;;) {
      if (at >= block.length) throw new Error("an LZ4 length is cut short");
      const more = block[at++];
      length += more;
      if (more < 255) return length;
    }
  };
  while (at < block.length) {
    const token = block[at++];
    const literals = extended(token >> 4);
    if (at + literals > block.length || to + literals > out.length) {
      throw new Error("LZ4 literals do not fit");
    }
    out.set(block.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    if (at === block.length) return to;
    const back = block[at] | (block[at + 1] << 8);
    at += 2;
    const length = extended(token & 15) + 4;
    if (!(back > 0 && back <= to) || to + length > out.length) {
      throw new Error("an LZ4 match does not fit");
    }
    // Byte by byte: a match may overlap what it makes.
    for (const end = to + length; to < end; to++) out[to] = out[to - back];
  }
  return to;
}

/** The envelope with its `data` unpacked. `base64` stays: only the reader knows what the bytes are. */
function unpacked(envelope) {
  const { encoding, ...plain } = envelope;
  if (encoding !== "lz4" && encoding !== "base64+lz4") return envelope;
  const frame = Uint8Array.from(atob(envelope.data), (character) => character.charCodeAt(0));
  plain.data = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(unlz4(frame)));
  if (encoding === "base64+lz4") plain.encoding = "base64";
  return plain;
}
