/**
 * The figures of a text in Prometheus' format, by their names with labels. What JSON has no number for is left out.
 */
export function countersOf(metrics: string): Record<string, number> {
  const counters: Record<string, number> = {};
  for (const line of metrics.split('\n')) {
    if (line.startsWith('#')) continue;
    const space = line.lastIndexOf(' ');
    const value = Number(line.slice(space + 1));
    if (space > 0 && Number.isFinite(value)) counters[line.slice(0, space)] = value;
  }
  return counters;
}
