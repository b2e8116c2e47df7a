// Many readers in one VU.
import { sleep } from 'k6';
import sse from 'k6/x/sse';
import { gateway } from './config.js';
import { watch } from './tidegate.js';

// crowd opens so many readers of a room, by turns on all gateways.
export function crowd(count, name, options) {
  const readers = [];
  for (let n = 0; n < count; n++) readers.push(watch(gateway(n), name, options));
  return readers;
}

// until waits for something, so many seconds at most, and says whether it came.
export function until(done, seconds) {
  const deadline = sse.now() + seconds * 1000;
  while (!done()) {
    if (sse.now() > deadline) return false;
    sleep(0.02);
  }
  return true;
}

// online says whether all of them have a stream now.
export function online(readers) {
  return readers.every((reader) => reader.state().open);
}

export { quietly as quiet } from './tidegate.js';

export function close(readers) {
  return readers.map((reader) => reader.close());
}
