const SECOND = 1000;
const UNITS = [
  ['d', 86_400 * SECOND],
  ['h', 3_600 * SECOND],
  ['m', 60 * SECOND],
  ['s', SECOND],
] as const;

/** A length of time in its two largest units: `23h59m`, `5m12s`, `40s`, `0s`. Less than none is none. */
export function formatSpan(ms: number): string {
  let left = Math.max(0, ms);
  const first = UNITS.findIndex(([, size]) => left >= size);
  const parts = UNITS.slice(first < 0 ? -1 : first).slice(0, 2);
  let text = '';
  for (const [unit, size] of parts) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0 || text === '') text += `${count}${unit}`;
  }
  return text;
}

/** How long ago a time of the local API was: `12s`. `-` for a text that is no time. */
export function formatAge(iso: string, now: number): string {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? '-' : formatSpan(now - at);
}

/** A time of the local API in this host's time: `14:03:07`, with the day where it is another one than today. */
export function formatTime(iso: string, now: number): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return '-';
  const [day, time] = localTime(at);
  return day === localTime(new Date(now))[0] ? time : `${day} ${time}`;
}

function localTime(at: Date): readonly [day: string, time: string] {
  const two = (value: number): string => String(value).padStart(2, '0');
  return [
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
    [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':'),
  ];
}
