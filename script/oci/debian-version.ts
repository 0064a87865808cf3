/**
 * The order of two versions of a Debian package, as a comparator: epoch, upstream version, revision, each in runs of
 * non-digits and digits (deb-version(7)). Equals `dpkg --compare-versions`.
 */
export function compareVersions(one: string, two: string): number {
  const [a, b] = [partsOf(one), partsOf(two)];
  return a.epoch - b.epoch || compareParts(a.upstream, b.upstream) || compareParts(a.revision, b.revision);
}

function partsOf(version: string): { epoch: number; upstream: string; revision: string } {
  const {
    epoch = '0',
    upstream = '',
    revision = '',
  } = /^(?:(?<epoch>\d+):)?(?<upstream>.*?)(?:-(?<revision>[^-]*))?$/.exec(version)?.groups ?? {};
  return { epoch: Number(epoch), upstream, revision };
}

function compareParts(one: string, two: string): number {
  const [a, b] = [runsOf(one), runsOf(two)];
  for (let n = 0; n < Math.max(a.length, b.length); n++) {
    const [texts, numbers] = [
      compareTexts(a[n]?.[0] ?? '', b[n]?.[0] ?? ''),
      (a[n]?.[1] ?? 0) - (b[n]?.[1] ?? 0),
    ];
    if (texts !== 0 || numbers !== 0) return texts || numbers;
  }
  return 0;
}

const runsOf = (text: string): (readonly [string, number])[] =>
  [...text.matchAll(/(\D*)(\d*)/g)].map(
    ([, letters = '', digits]) => [letters, Number(digits || 0)] as const,
  );

/** `~` comes before the end, the end before letters, letters before the rest. */
function compareTexts(one: string, two: string): number {
  for (let n = 0; n < Math.max(one.length, two.length); n++) {
    const difference = weightOf(one[n]) - weightOf(two[n]);
    if (difference !== 0) return difference;
  }
  return 0;
}

function weightOf(letter: string | undefined): number {
  if (letter === undefined) return 0;
  if (letter === '~') return -1;
  return letter.charCodeAt(0) + (/[A-Za-z]/.test(letter) ? 0 : 256);
}
