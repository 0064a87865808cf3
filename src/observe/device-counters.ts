import type { DeviceCounters } from '#src/observe/network-figures.ts';

/**
 * The counters of all devices from the text of `/proc/net/dev` (dev_seq_printf_stats of
 * net/core/net-procfs.c), as `ip -s link` prints them. What is not a device's line is left out.
 */
export function parseDeviceCounters(text: string): ReadonlyMap<string, DeviceCounters> {
  const devices = new Map<string, DeviceCounters>();
  for (const line of text.split('\n')) {
    // A device's name may hold a colon: the last one ends it.
    const [, name, rest] = /^\s*(\S+):([\s\d]+)$/.exec(line) ?? [];
    if (name === undefined || rest === undefined) continue;
    const fields = rest.trim().split(/\s+/).map(Number);
    if (fields.length < 16) continue;
    devices.set(name, { receive: directionAt(fields, 0), transmit: directionAt(fields, 8) });
  }
  return devices;
}

const directionAt = (fields: readonly number[], at: number) => ({
  bytes: fields[at] ?? 0,
  packets: fields[at + 1] ?? 0,
  errors: fields[at + 2] ?? 0,
  drops: fields[at + 3] ?? 0,
});
