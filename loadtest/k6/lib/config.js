// What an installation is and how hard to press it, all from the environment.

function list(text) {
  return (text || '').split(',').map((part) => part.trim()).filter((part) => part !== '');
}

function number(name, otherwise) {
  if (__ENV[name] === undefined || __ENV[name] === '') return otherwise;
  const value = Number(__ENV[name]);
  if (!(value > 0)) throw new Error(`${name}=${__ENV[name]} is no number above 0`);
  return value;
}

// Gateways: streams and publishes go to them by turns. One address of a proxy or Service is as good.
export const urls = list(__ENV.URLS || 'http://localhost:30000').map((url) => url.replace(/\/+$/, ''));
for (const url of urls) {
  if (!/^https?:\/\/[^/]+/.test(url)) throw new Error(`URLS: ${url} is no http:// or https:// address`);
}

// Their processes, on the same machine: their memory and CPU go into the report.
export const pids = list(__ENV.PIDS).map(Number);

// How many readers, and how long, as parts of what a scenario says.
export const scale = number('SCALE', 1);
export const pace = number('PACE', 1);

// Where summaries go, and what the run is called in metrics.
export const results = __ENV.RESULTS || '.';
export const testid = __ENV.TESTID || 'local';

// `kid:secret`, for gateways with auth.mode=hmac.
export const key = __ENV.KEY || '';

export { number };

// many is a number of readers or rooms, at least 1.
export function many(count) {
  return Math.max(1, Math.round(count * scale));
}

// seconds is a time, as k6's options want it.
export function seconds(count) {
  return `${Math.max(1, Math.round(count * pace))}s`;
}

// The gateway for the n-th stream or publisher.
export function gateway(n) {
  return urls[n % urls.length];
}
