"""Decodes a recorded stream with Python's lz4: prints each event's data as compact JSON."""
import base64
import json
import sys

import lz4.frame

for line in open(sys.argv[1], encoding="utf-8"):
    if not line.startswith("data: {\"message_id\""):
        continue
    envelope = json.loads(line[len("data: "):])
    data = envelope["data"]
    if envelope.get("encoding") == "lz4":
        data = json.loads(lz4.frame.decompress(base64.b64decode(data)))
    print(json.dumps(data, separators=(",", ":"), ensure_ascii=False, sort_keys=True))
