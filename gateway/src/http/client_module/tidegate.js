// What a page uses. `tidegate.d.ts` says what each option and call means.

/** Events are told apart by their id and time: a key that is used again after its window is new. */
function keyOf(envelope) {
  return `${envelope.message_id}@${envelope.published_at}`;
}

/** How many events are remembered to have been had. */
const MOST_SEEN = 4_000;

/** A set that forgets what is oldest. */
class Seen extends Set {
  add(key) {
    super.add(key);
    if (this.size > MOST_SEEN) this.delete(this.values().next().value);
    return this;
  }
}

/** The options with what is left out; throws a TypeError if they name no stream. */
function complete(options) {
  const rooms = [options.rooms ?? []].flat();
  const urls = [options.url ?? new URL(".", import.meta.url).href].flat();
  if (!rooms.length || rooms.some((room) => !/^[^]+\/[^/]+$/.test(room))) {
    throw new TypeError("rooms: name at least one, each as event_id/event_type");
  }
  const bases = urls.map((url) => new URL(String(url).replace(/\/?$/, "/"), location.href).href);
  if (!bases.length) throw new TypeError("url: name at least one gateway");
  const { first = 1_000, most = 30_000 } = options.backoff ?? {};
  const silenceMs = options.silenceMs ?? 90_000;
  const storage = options.storage === undefined ? "session" : options.storage;
  return { ...options, rooms, urls: bases, storage, backoff: { first, most }, silenceMs };
}

/** Where the position is kept; null where there is no such place, or the page may not use it. */
function store(kind) {
  try {
    return kind === null ? null : kind === "local" ? localStorage : sessionStorage;
  } catch {
    return null;
  }
}

class Stream {
  #options;
  #name;
  #store;
  #source = null;
  #tabs = null;
  #seen = new Seen();
  #position = "";
  #state = { state: "connecting" };

  constructor(given) {
    const options = complete(given);
    this.#options = options;
    const { urls, rooms, user, from } = options;
    this.#name = `tidegate ${JSON.stringify([urls, rooms, user ?? "", from ?? ""])}`;
    this.#store = store(options.storage);
    this.#position = options.after || this.#store?.getItem(this.#name) || "";
    // Locks are there in secure contexts only; a page without them has a stream of its own.
    const shared = options.shared !== false && navigator.locks && globalThis.BroadcastChannel;
    const hooks = this.#hooks();
    if (shared) this.#tabs = new Tabs(this.#name, options, hooks);
    else this.#source = new Source(options, hooks);
  }

  /** The id after which this tab would resume. */
  get lastEventId() {
    return this.#position;
  }

  get state() {
    return this.#state;
  }

  close() {
    if (this.#ended()) return;
    this.#end();
    this.#tell({ state: "closed" });
  }

  #ended() {
    return ["closed", "complete", "refused"].includes(this.#state.state);
  }

  #end() {
    this.#source?.close();
    this.#tabs?.close();
  }

  #hooks() {
    return {
      position: () => this.#position,
      seen: (key) => this.#seen.has(key),
      take: (item) => this.#take(item),
      tell: (state) => this.#tell(state),
    };
  }

  /** Calls the page; what it throws is its own and must not end the stream. */
  #call(handler, ...what) {
    try {
      this.#options[handler]?.(...what);
    } catch (error) {
      reportError(error);
    }
  }

  #tell(state) {
    if (this.#ended()) return;
    if (state.state === "complete" || state.state === "refused") this.#end();
    this.#state = { ...state, leading: this.#tabs ? this.#tabs.leading : true };
    this.#call("onState", this.#state);
  }

  /** Takes what came; false if this tab has had it. */
  #take(item) {
    const { kind, data, id } = item;
    if (this.#ended()) return false;
    if (kind === "event") {
      const envelope = JSON.parse(data);
      item.key = keyOf(envelope);
      if (this.#seen.has(item.key)) return false;
      this.#seen.add(item.key);
      this.#event(envelope, data, id);
    } else if (kind === "gap") {
      this.#call("onGap", JSON.parse(data), id);
    } else if (kind === "goodbye") {
      this.#call("onGoodbye", JSON.parse(data));
    }
    // A resumed stream says first where it was asked to begin: this tab may be past that.
    if (id && (kind !== "connected" || !this.#position)) this.#move(id);
    return true;
  }

  #event(envelope, text, id) {
    let plain;
    try {
      plain = unpacked(envelope);
    } catch (error) {
      // Handed on as it came, `encoding` and all: left out it would be lost in silence.
      reportError(error);
      plain = envelope;
    }
    this.#call("onEvent", plain, { id, text });
  }

  /** After the page has had the event: a page that dies over it gets it again. */
  #move(id) {
    this.#position = id;
    try {
      this.#store?.setItem(this.#name, id);
    } catch {
      // Full or forbidden: the stream goes on, a reload begins anew.
      this.#store = null;
    }
  }
}

/** Opens a stream of rooms. */
export function open(options) {
  return new Stream(options);
}

/** Forgets the stored positions of this origin, for a page that signs its user off. */
export function forget() {
  for (const storage of [store("session"), store("local")]) {
    for (const name of Object.keys(storage ?? {})) {
      if (name.startsWith("tidegate ")) storage.removeItem(name);
    }
  }
}

export default { open, forget };
