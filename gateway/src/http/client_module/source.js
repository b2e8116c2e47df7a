// One stream that is kept open: an EventSource that is opened again, elsewhere if need be.

/** Without a block for so many heartbeats a stream is taken for dead. */
const SILENT_HEARTBEATS = 2.5;
/** How long a stream may take to say `tidegate.connected`, in ms. A refused one waits for 3 s. */
const CONNECT_MS = 10_000;
/** How long the browser may take to come back after a goodbye, in ms: a drain's window and more. */
const RETURN_MS = 90_000;
/** A stream that was open for so long, in ms, was a good one: the back-off begins anew. */
const GOOD_MS = 5_000;
/** A signature is made anew so long before it ends, in ms: the way there takes time. */
const SIGN_EARLY_MS = 10_000;

/** Where a room, or several, are streamed by the gateway at `base`. */
function address(base, options, position, signature) {
  const query = new URLSearchParams({ name: "message" });
  let path = "v1/subscribe";
  if (options.rooms.length === 1) {
    // A path, since only a room that is alone can be complete.
    const cut = options.rooms[0].lastIndexOf("/");
    const [id, type] = [options.rooms[0].slice(0, cut), options.rooms[0].slice(cut + 1)];
    path += `/events/${encodeURIComponent(id)}/types/${encodeURIComponent(type)}`;
  } else {
    for (const room of options.rooms) query.append("room", room);
  }
  if (options.user) query.set("user", options.user);
  if (options.lz4) query.set("compress", "lz4");
  for (const one of [signature ?? []].flat()) query.append("signature", one);
  if (position) query.set("last_event_id", position);
  else if (options.from) query.set("from", options.from);
  return new URL(`${path}?${query}`, base).href;
}

/** When the first of these signatures ends, in ms since the epoch. */
function expiry(signature) {
  const ends = [signature].flat().map((one) => Number(String(one).split(".")[2]) * 1000);
  return Math.min(...ends.map((end) => end || Infinity));
}

class Source {
  #options;
  #hooks;
  #events = null;
  #timer = 0;
  /** Counts openings: what an earlier one still has to say is not heard. */
  #turn = 0;
  #failures = 0;
  #base = 0;
  #signature = null;
  #refusedOnce = false;
  #heartbeat = 15_000;
  #openedAt = 0;
  /** After a goodbye the browser may come back by itself, once: "staying", "goodbye", "returning". */
  #stage = "staying";

  /** `hooks`: `position()`, `take({kind, data, id})` and `tell(state)`. */
  constructor(options, hooks) {
    this.#options = options;
    this.#hooks = hooks;
    // Not at once: the page has yet to be handed the stream that its handlers may want to close.
    queueMicrotask(() => this.#open());
  }

  /** From now on others hear of it: the stream of a tab that came to lead. */
  set hooks(hooks) {
    this.#hooks = hooks;
  }

  close() {
    this.#turn = Infinity;
    clearTimeout(this.#timer);
    this.#events?.close();
    this.#events = null;
  }

  /** Runs `then` after a while, unless this opening is over or something was heard before. */
  #after(ms, then) {
    clearTimeout(this.#timer);
    const turn = this.#turn;
    if (turn === Infinity) return;
    this.#timer = setTimeout(() => turn === this.#turn && then(), ms);
  }

  async #open() {
    if (this.#turn === Infinity) return;
    const turn = ++this.#turn;
    this.#stage = "staying";
    this.#openedAt = 0;
    const base = this.#options.urls[this.#base % this.#options.urls.length];
    this.#hooks.tell({ state: "connecting", url: base });
    try {
      await this.#sign();
    } catch (error) {
      if (turn === this.#turn) this.#back(`sign: ${error?.message ?? error}`);
      return;
    }
    if (turn !== this.#turn) return;
    const url = address(base, this.#options, this.#hooks.position(), this.#signature);
    const events = new EventSource(url, { withCredentials: this.#options.withCredentials });
    this.#events = events;
    this.#after(CONNECT_MS, () => this.#back("no answer"));
    const heard = (kind) => (event) => turn === this.#turn && this.#hear(kind, event);
    events.onmessage = heard("event");
    for (const kind of ["connected", "gap", "heartbeat", "goodbye"]) {
      events.addEventListener(`tidegate.${kind}`, heard(kind));
    }
    events.onerror = () => turn === this.#turn && this.#broken(url);
  }

  async #sign() {
    const { sign, signature, rooms, user } = this.#options;
    if (!sign) this.#signature = signature;
    else if (!this.#signature || expiry(this.#signature) - SIGN_EARLY_MS < Date.now()) {
      this.#signature = await sign({ rooms, user });
    }
  }

  #hear(kind, { data, lastEventId }) {
    this.#after(this.#heartbeat * SILENT_HEARTBEATS, () => this.#back("silent"));
    if (kind === "connected") {
      const { heartbeat_ms, pod, version, start } = JSON.parse(data);
      this.#heartbeat = heartbeat_ms;
      this.#after(heartbeat_ms * SILENT_HEARTBEATS, () => this.#back("silent"));
      this.#openedAt = performance.now();
      this.#stage = "staying";
      this.#refusedOnce = false;
      const url = new URL(this.#events.url).origin;
      this.#hooks.tell({ state: "open", url, pod, version, start, heartbeat_ms });
    }
    this.#hooks.take({ kind, data, id: kind === "goodbye" ? "" : lastEventId });
    if (kind === "goodbye") this.#farewell(JSON.parse(data).reason);
  }

  #farewell(reason) {
    if (reason === "complete") {
      this.close();
      this.#hooks.tell({ state: "complete" });
    } else if (reason === "expired" || reason === "revoked") {
      this.#signature = null;
      this.#back(reason);
    } else if (this.#options.urls.length > 1 && reason !== "max_age") {
      this.#back(reason);
    } else {
      // Only the browser knows the `retry:` that came with it, which the gateway has spread.
      this.#stage = "goodbye";
      this.#after(RETURN_MS, () => this.#back("did not come back"));
      this.#hooks.tell({ state: "waiting", reason });
    }
  }

  #broken(url) {
    const final = this.#events.readyState === EventSource.CLOSED;
    if (final) {
      this.#ask(url);
    } else if (this.#stage === "goodbye") {
      // The end that was announced. What breaks after it is for the back-off.
      this.#stage = "returning";
    } else {
      this.#back(this.#openedAt && this.#stage === "staying" ? "lost" : "unreachable");
    }
  }

  /** An EventSource does not tell why it was refused: asks once more, to be answered by a status. */
  async #ask(url) {
    this.#events.close();
    const turn = this.#turn;
    const stop = new AbortController();
    this.#after(CONNECT_MS, () => this.#back("no answer"));
    try {
      const answer = await fetch(url, {
        headers: { Accept: "application/problem+json" },
        credentials: this.#options.withCredentials ? "include" : "same-origin",
        cache: "no-store",
        signal: stop.signal,
      });
      const problem = answer.status < 400 ? null : await answer.json().catch(() => null);
      if (turn === this.#turn) this.#judge(answer, problem);
    } catch (error) {
      if (turn === this.#turn) this.#back(`unreachable: ${error.message}`);
    } finally {
      stop.abort();
    }
  }

  #judge(answer, problem) {
    const { status } = answer;
    if (status === 204) {
      this.close();
      this.#hooks.tell({ state: "complete" });
    } else if (status === 401 && this.#options.sign && !this.#refusedOnce) {
      this.#refusedOnce = true;
      this.#signature = null;
      this.#back("unauthorized");
    } else if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
      this.close();
      this.#hooks.tell({ state: "refused", status, problem });
    } else {
      this.#back(`status ${status}`, Number(answer.headers.get("retry-after")) * 1000 || 0);
    }
  }

  /** Opens again, elsewhere if there is an elsewhere, after a time of chance up to a bound that doubles. */
  #back(reason, least = 0) {
    if (this.#turn === Infinity) return;
    this.#events?.close();
    this.#events = null;
    const good = this.#openedAt && performance.now() - this.#openedAt > GOOD_MS;
    if (good) this.#failures = 0;
    const { urls, backoff } = this.#options;
    // All are tried before it is waited for longer.
    const rounds = Math.floor(this.#failures / urls.length);
    const bound = Math.min(backoff.most, backoff.first * 2 ** Math.min(rounds, 30));
    const delay = least + Math.random() * bound;
    this.#failures += 1;
    this.#base += 1;
    this.#turn += 1;
    this.#after(delay, () => this.#open());
    this.#hooks.tell({ state: "waiting", reason, delay, attempt: this.#failures });
  }
}
