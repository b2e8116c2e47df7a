// Held against the types as they are served: it has to compile.
import tidegate, { open, forget, type Envelope, type Gap, type State, type Stream } from "./tidegate.js";

const stream: Stream = open({
  url: ["https://a.example", new URL("https://b.example/under/")],
  rooms: ["cart-7/*", "cart-8/CartUpdated"],
  sign: async ({ rooms, user }) => rooms.map((room) => `${room} ${user ?? ""}`),
  user: "u",
  storage: "local",
  backoff: { first: 100 },
  onEvent: (event: Envelope<{ items: number }>, { id, text }) => console.log(event.data.items + 1, id.length, text.length),
  onGap: (gap: Gap) => console.log(gap.reason, gap.resumed_at.length),
  onGoodbye: ({ reason }) => console.log(reason === "drain"),
  onState: (state: State) => {
    if (state.state === "open") console.log(state.pod, state.heartbeat_ms.toFixed());
    if (state.state === "refused") console.log(state.problem?.detail);
  },
});
console.log(stream.lastEventId.length, stream.state.state);
stream.close();
forget();
tidegate.open({ rooms: "a/b", storage: null });
// @ts-expect-error: rooms are needed.
open({});
// @ts-expect-error: no such place.
open({ rooms: "a/b", storage: "cookie" });
