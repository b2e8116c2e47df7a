// One stream for all tabs of an origin: the tab that has the lock leads, and says what it hears to the
// others. Ids are opaque, but two that are equal are the same place: that is all that is asked of them.

/** How many blocks a tab keeps for those that come late, and how many characters of them. */
const MOST_KEPT = 1_000;
const MOST_KEPT_LENGTH = 4 * 1024 * 1024;
/** How often a tab that leads says that it is there, in ms, whatever the stream does. */
const TICK_MS = 20_000;
/** How many tabs at once may have a stream of their own, to catch up. */
const CATCHING_UP = 2;

/** What a tab took last, in its order. */
class Kept {
  #items = [];
  #length = 0;

  /** An item that is only a place (a heartbeat, a beginning) is kept without its data. */
  add({ kind, data, id, key }) {
    if (!id || this.last === id) return;
    const item = kind === "event" || kind === "gap" ? { kind, data, id, key } : { id };
    this.#items.push(item);
    this.#length += item.data?.length ?? 0;
    while (this.#items.length > MOST_KEPT || this.#length > MOST_KEPT_LENGTH) {
      this.#length -= this.#items.shift().data?.length ?? 0;
    }
  }

  get last() {
    return this.#items.at(-1)?.id ?? "";
  }

  get keys() {
    return this.#items.flatMap(({ key }) => key ?? []);
  }

  /** What came after `id`; null if that is not known. */
  after(id) {
    const at = this.#items.findLastIndex((item) => item.id === id);
    return at < 0 ? null : this.#items.slice(at + 1).filter(({ kind }) => kind);
  }
}

class Tabs {
  #options;
  #hooks;
  #name;
  #channel;
  #me = crypto.randomUUID();
  #kept = new Kept();
  #state = null;
  #closed = false;
  /** Ends this tab's wait for the lock. */
  #wait = null;
  /** While this tab leads: gives the lock back. */
  #release = null;
  #source = null;
  /** While it leads, its own; else of the tab that does. */
  #epoch = "";
  #number = 0;
  /** Whether what the leader says comes just after what this tab has. */
  #follows = false;
  /** While this tab catches up on a stream of its own. */
  #catching = null;
  #silence = 0;
  #tick = 0;

  constructor(name, options, hooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#name = name;
    this.#kept.add({ id: hooks.position() });
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#heard(data);
    this.#queue();
    this.#hello();
    this.#listen();
  }

  get leading() {
    return this.#release !== null;
  }

  close() {
    this.#closed = true;
    this.#wait?.abort();
    this.#stop();
    clearTimeout(this.#silence);
    this.#channel.close();
  }

  /** No longer leads, follows or catches up. */
  #stop() {
    clearInterval(this.#tick);
    this.#source?.close();
    this.#source = null;
    this.#release?.();
    this.#release = null;
    this.#follows = false;
    this.#caughtUp();
  }

  /** Waits for the lock, which the browser takes from a tab that dies. */
  #queue(how = {}) {
    this.#wait = new AbortController();
    // A lock that is stolen cannot be waited for as well.
    const options = how.steal ? how : { signal: this.#wait.signal };
    const held = navigator.locks.request(this.#name, options, () => this.#lead());
    held.catch(() => {
      // Closed, or taken over because this tab had been silent: then it follows.
      if (this.#closed || !this.#release) return;
      this.#release = null;
      this.#stop();
      this.#queue();
      this.#hello();
    });
  }

  #lead() {
    if (this.#closed) return undefined;
    clearTimeout(this.#silence);
    const held = new Promise((release) => (this.#release = release));
    this.#epoch = `${Date.now()} ${this.#me}`;
    this.#number = 0;
    this.#follows = false;
    this.#say({ kind: "lead", id: this.#hooks.position() });
    const hooks = {
      position: this.#hooks.position,
      take: (item) => this.#pass(item),
      tell: (state) => this.#pass({ kind: "state", state }),
    };
    // A stream for catching up is now the one of all.
    const own = this.#catching?.source;
    if (own) own.hooks = hooks;
    this.#source = own ?? new Source(this.#options, hooks);
    const release = this.#catching?.release;
    this.#catching = null;
    release?.();
    this.#tick = setInterval(() => this.#say({ kind: "tick" }), TICK_MS);
    return held;
  }

  /** Takes an item and says it to the others, those too that this tab had had: they may not. */
  #pass(item) {
    const state = item.kind === "state";
    if (state) this.#state = item.state;
    else this.#take(item);
    this.#number += 1;
    this.#say({ kind: "item", number: this.#number, item });
    // Last: on an end it closes the channel.
    if (state) this.#hooks.tell(item.state);
  }

  #take(item) {
    const had = this.#hooks.position();
    // Where a resumed stream begins is no place behind what this tab has.
    if (this.#hooks.take(item) && !(item.kind === "connected" && had)) this.#kept.add(item);
  }

  #say(message) {
    if (!this.#closed) this.#channel.postMessage({ epoch: this.#epoch, ...message });
  }

  #hello() {
    this.#follows = false;
    this.#say({ kind: "hello", tab: this.#me, id: this.#hooks.position() });
  }

  /** A leader that says nothing for long hangs, and keeps its lock: it is taken from it. */
  #listen() {
    clearTimeout(this.#silence);
    if (this.leading || this.#closed) return;
    // By chance a little later, or all would take it from one another.
    const patience = this.#options.silenceMs * (1 + Math.random() / 4);
    this.#silence = setTimeout(() => {
      this.#wait.abort();
      this.#queue({ steal: true });
    }, patience);
  }

  #heard(message) {
    const { kind, epoch } = message;
    if (this.leading) {
      if (kind === "hello") this.#welcome(message);
      return;
    }
    if (kind === "hello") return;
    if (kind === "lead") this.#led(message);
    else if (kind === "welcome" && message.tab === this.#me) this.#welcomed(message);
    // A tab that no longer leads may not know it yet.
    if (epoch !== this.#epoch) return;
    this.#listen();
    if (kind === "item") this.#follow(message);
  }

  /** Tells a tab that comes, or has lost touch, where it is. */
  #welcome({ tab, id }) {
    const items = id ? this.#kept.after(id) : this.#options.from ? null : [];
    const place = { number: this.#number, id: this.#hooks.position(), state: this.#state };
    this.#say({ kind: "welcome", tab, items, ...place, keys: items ? [] : this.#kept.keys });
  }

  /** Another tab leads, and begins where it was: a little before or behind this one. */
  #led({ epoch, id }) {
    this.#epoch = epoch;
    this.#number = 0;
    const behind = this.#hooks.position() && id && this.#kept.after(id);
    // What this tab has had already will come again; it is known by its keys.
    if (behind && !this.#catching) this.#follows = true;
    else this.#hello();
  }

  #welcomed({ epoch, number, id, items, keys, state }) {
    this.#epoch = epoch;
    this.#number = number;
    if (items) {
      this.#caughtUp();
      for (const item of items) this.#take(item);
      // New here: what comes from now on.
      if (!this.#hooks.position() && id) this.#take({ kind: "connected", id });
      this.#follows = true;
      if (state) this.#hooks.tell(state);
    } else {
      this.#catchUp(id, keys);
    }
  }

  #follow({ number, item }) {
    if (this.#catching?.heard) {
      this.#number = number;
      if (item.kind !== "state") this.#catching.heard.push(item);
      if (item.key) this.#catching.owed.add(item.key);
      if (this.#catching.heard.length > 2 * MOST_KEPT) this.#catching.heard.shift();
      this.#meet(false);
    } else if (this.#follows && number !== this.#number + 1) {
      this.#hello();
    } else if (this.#follows) {
      this.#number = number;
      if (item.kind !== "state") this.#take(item);
      // Who leads was refused with a signature of its own; this tab will try with its.
      else if (item.state.state !== "refused") this.#hooks.tell(item.state);
    }
  }

  /** The leader no longer knows this tab's place: reads from there on a stream of its own. */
  #catchUp(id, keys) {
    const heard = [{ id }];
    const owed = new Set(keys);
    if (this.#catching) {
      Object.assign(this.#catching, { heard, owed });
      return;
    }
    const catching = { heard, owed, source: null, release: null };
    this.#catching = catching;
    // Few at a time, or they would take all the connections that a browser has for an origin.
    const slot = `${this.#name} ${Math.floor(Math.random() * CATCHING_UP)}`;
    navigator.locks.request(slot, () => {
      if (this.#catching !== catching) return undefined;
      catching.source = new Source(this.#options, {
        position: this.#hooks.position,
        take: (item) => {
          this.#take(item);
          this.#meet(item.kind === "heartbeat");
        },
        tell: (state) => this.#hooks.tell(state),
      });
      return new Promise((release) => (catching.release = release));
    });
  }

  /**
   * Goes over to the leader where both have been at the same id; or, in silence, if there is nothing
   * left of what the leader is known to have had.
   */
  #meet(silent) {
    const { heard, owed } = this.#catching ?? {};
    if (!heard) return;
    let at = heard.findLastIndex(({ id }) => id && id === this.#hooks.position());
    if (at < 0 && silent && [...owed].every(this.#hooks.seen)) at = 0;
    if (at < 0) return;
    this.#caughtUp();
    for (const item of heard.slice(at + 1)) this.#take(item);
    this.#follows = true;
  }

  #caughtUp() {
    this.#catching?.source?.close();
    this.#catching?.release?.();
    this.#catching = null;
  }
}
