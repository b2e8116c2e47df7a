// What a value of a unit can be under this load: what lies outside was counted in another unit.
import { CERTIFICATE_DAYS } from "./gateway.mjs";
import { shownAs } from "./panels.mjs";

const BOUNDS = {
  short: [0, 1e6],
  none: [0, 1],
  percentunit: [0, 1],
  bytes: [0, 4e9],
  ms: [0, 60_000],
  Bps: [0, 1e9],
  cps: [0, 1e6],
  reqps: [0, 1e6],
};

/** In seconds: latencies below a minute; ages and what is read off a clock have bounds of their own. */
const SECONDS = [
  [/^Certificate ends in$/, [(CERTIFICATE_DAYS - 1) * 86_400, CERTIFICATE_DAYS * 86_400]],
  [/^(Up for|Age at the end|Behind, in seconds)$/, [0, 3600]],
  [/^CPU of a delivery$/, [0, 1]],
  [/./, [0, 60]],
];

/** Two counters of a share are read one after the other, and rates are extrapolated. */
const SLACK = { percentunit: 0.02 };

/** What is wrong with the values of a panel's target, in words, or null. */
export function implausible(panel, target, series) {
  const { name, unit } = shownAs(panel, target);
  const bounds = unit === "s" ? SECONDS.find(([pattern]) => pattern.test(name))[1] : BOUNDS[unit];
  if (!bounds) return `nobody said what is plausible in ${unit}`;
  const [least, most] = bounds;
  const slack = SLACK[unit] ?? 1e-9;
  const values = series.flatMap((one) => one.values.map(([, value]) => value));
  const wrong = values.find((value) => value < least - slack || value > most + slack);
  return wrong === undefined ? null : `${wrong} is no plausible value in ${unit}`;
}
