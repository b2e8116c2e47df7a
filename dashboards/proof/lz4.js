// Unpacks LZ4 frames (lz4_Frame_format.md, version 1.6): what a stock k6 lacks. Checksums are not held.

const MAGIC = 0x184d2204;

/** The bytes, as an array of numbers, that a frame in a Uint8Array holds. */
export function unpacked(frame) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw new Error("no LZ4 frame");
  const flags = frame[4];
  const hasSize = flags & 8;
  const hasDictionary = flags & 1;
  const blockChecksum = flags & 16 ? 4 : 0;
  let at = 7 + (hasSize ? 8 : 0) + (hasDictionary ? 4 : 0);
  const out = [];
  for (;;) {
    const word = view.getUint32(at, true);
    at += 4;
    if (word === 0) return out;
    const size = word & 0x7fffffff;
    const block = frame.subarray(at, at + size);
    // The highest bit marks a block that was not worth packing.
    if (word >>> 31) out.push(...block);
    else unpackBlock(block, out);
    at += size + blockChecksum;
  }
}

/** A length that goes on in further bytes while they are full. */
function length(block, at, nibble) {
  let total = nibble;
  if (nibble === 15) {
    let more;
    do {
      more = block[at++];
      total += more;
    } while (more === 255);
  }
  return [total, at];
}

function unpackBlock(block, out) {
  let at = 0;
  let run;
  while (at < block.length) {
    const token = block[at++];
    [run, at] = length(block, at, token >> 4);
    for (const end = at + run; at < end; at += 1) out.push(block[at]);
    // The last sequence has literals only.
    if (at >= block.length) return;
    const back = block[at] | (block[at + 1] << 8);
    [run, at] = length(block, at + 2, token & 15);
    for (let left = run + 4; left > 0; left -= 1) out.push(out[out.length - back]);
  }
}
