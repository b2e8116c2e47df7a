/** A client of Tidegate's streams for browsers. See gateway/docs/tidegate-js.md. */

/** `event_id/event_type`; `*` as the type is every type of the id. */
export type Room = string;

export interface Options {
  /** The gateway, or several: the next one is tried when one fails. Default: where the module is from. */
  url?: string | URL | (string | URL)[];
  /** What to read, on one stream. */
  rooms: Room | Room[];
  /** As `tidegate sign subscribe` makes it: one that covers all rooms, or one for each, in their order. */
  signature?: string | string[];
  /** Makes a signature, before a stream is opened and when the last one ends or is refused. */
  sign?: (what: { rooms: Room[]; user?: string }) => string | string[] | Promise<string | string[]>;
  /** Also reads the events to this user. */
  user?: string;
  /** Resumes after this id (an event's, a receipt's or a page of history's). Beats the stored one. */
  after?: string;
  /** Where to begin without an id: `earliest`, a time (RFC 3339) or a duration back. Default: now. */
  from?: string;
  /** Where the last id is kept over reloads: of this tab, of the origin, or nowhere. Default: `session`. */
  storage?: "session" | "local" | null;
  /** One stream for all tabs of the origin, where the browser has Web Locks. Default: true. */
  shared?: boolean;
  /** Has large payloads sent as LZ4, and unpacks them. Default: false. */
  lz4?: boolean;
  /** Sends cookies to another origin, such as `tidegate_signature`. Default: false. */
  withCredentials?: boolean;
  /** The bounds of the back-off, in ms: it waits a time of chance below one that doubles. */
  backoff?: { /** Default: 1,000. */ first?: number; /** Default: 30,000. */ most?: number };
  /** How long the tab with the stream may say nothing until another takes over, in ms. Default: 90,000. */
  silenceMs?: number;
  /** An event; once for each tab. What it throws is reported and ends nothing. */
  onEvent?: (event: Envelope, about: { id: string; text: string }) => void;
  /** Events are missing: the moment to load the state anew. The stream goes on at `resumed_at`. */
  onGap?: (gap: Gap, id: string) => void;
  /** The gateway ends the stream; the client comes back by itself, unless the room is complete. */
  onGoodbye?: (goodbye: Goodbye) => void;
  /** What becomes of the stream. */
  onState?: (state: State) => void;
}

export interface Envelope<Data = any> {
  message_id: string;
  /** `*` for a broadcast. */
  event_id: string;
  event_type: string;
  event_name?: string;
  user?: { from_user?: string; to_user?: string };
  /** With `encoding` `base64` the base64 of the record's bytes. */
  data: Data;
  /** `lz4` only if the payload could not be unpacked; that is reported as well. */
  encoding?: "base64" | "lz4" | "base64+lz4";
  headers?: Record<string, string>;
  final?: true;
  /** By the log's clock, in ms since the epoch. */
  published_at: number;
}

export interface Gap {
  reason: "expired" | "recreated" | "repartitioned" | "too_far" | "invalid" | "overflow";
  requested: string | null;
  resumed_at: string;
  rooms: Room[];
}

export interface Goodbye {
  reason: "drain" | "max_age" | "expired" | "overloaded" | "complete" | "revoked";
}

/** `leading`: whether the stream is this tab's own, for the others too if it is shared. */
export type State = { leading: boolean } & (
  | { state: "connecting"; url: string }
  | {
      state: "open";
      url: string;
      pod: string;
      version: string;
      start: "live" | "resume" | "from";
      heartbeat_ms: number;
    }
  /** It comes back: after `delay` ms, or when the gateway said, which only the browser knows. */
  | { state: "waiting"; reason: string; delay?: number; attempt?: number }
  /** The room's final event was had; there is nothing to come back for. */
  | { state: "complete" }
  /** A retry cannot mend it; `problem` is what the gateway says (RFC 9457). */
  | { state: "refused"; status: number; problem: { title?: string; detail?: string } | null }
  | { state: "closed" }
);

export interface Stream {
  /** The id after which this tab would resume; empty before there is one. */
  readonly lastEventId: string;
  readonly state: State | { state: "connecting" };
  /** Ends it for this tab; another tab goes on. */
  close(): void;
}

/**
 * Opens a stream. Handlers are called later, never from within.
 * @throws TypeError if no room is named, or one that is none.
 */
export function open(options: Options): Stream;

/** Forgets the stored ids of this origin, for a page that signs its user off. */
export function forget(): void;

declare const tidegate: { open: typeof open; forget: typeof forget };
export default tidegate;
