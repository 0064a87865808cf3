import { type FastMap, MAPS, mapName } from '#src/fast-path/map-layouts.ts';
import type { FastMaps } from '#src/reconcile/fast-path/load-programs.ts';
import type { Bpf, BpfMapInfo } from '#src/sys/bpf.ts';

const NAMES = Object.keys(MAPS) as FastMap[];

/** Makes the maps of one fast path, all empty. Throws the kernel's reason, and leaves nothing. */
export function createMaps(bpf: Bpf): FastMaps {
  const maps: Partial<Record<FastMap, number>> = {};
  try {
    for (const map of NAMES) maps[map] = bpf.createMap(mapName(map), MAPS[map]);
  } catch (error) {
    closeMaps(bpf, maps);
    throw error;
  }
  return maps as FastMaps;
}

/**
 * The maps that programs in the kernel work on, by the maps' ids. `undefined` when they are not all there, or one of them has another layout: then
 * another weft made them.
 */
export function adoptMaps(bpf: Bpf, ids: readonly number[]): FastMaps | undefined {
  const maps: Partial<Record<FastMap, number>> = {};
  for (const id of new Set(ids)) {
    const fd = bpf.mapById(id);
    if (fd === undefined) continue;
    const map = mapOf(bpf.mapInfo(fd));
    if (map !== undefined && maps[map] === undefined) maps[map] = fd;
    else bpf.close(fd);
  }
  if (NAMES.every((map) => maps[map] !== undefined)) return maps as FastMaps;
  closeMaps(bpf, maps);
  return undefined;
}

export function closeMaps(bpf: Bpf, maps: Partial<FastMaps>): void {
  for (const fd of Object.values(maps)) bpf.close(fd);
}

function mapOf(info: BpfMapInfo): FastMap | undefined {
  return NAMES.find((map) => {
    const { type, keySize, valueSize, maxEntries, flags } = MAPS[map];
    return (
      info.name === mapName(map) &&
      info.type === type &&
      info.keySize === keySize &&
      info.valueSize === valueSize &&
      info.maxEntries === maxEntries &&
      info.flags === flags
    );
  });
}
