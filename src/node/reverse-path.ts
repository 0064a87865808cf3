import type { ChangingBackend } from '#src/backend/changing.ts';
import type { Files } from '#src/sys/files.ts';

/** What a change wants of the source checks of a host, and what they were. */
export interface ReversePath {
  readonly wanted: ReadonlyMap<string, string>;
  /** Of devices that were there before the change. */
  readonly before: Readonly<Record<string, string>>;
}

/** ip-sysctl.rst, rp_filter: a packet has to come by the device by which its answer would leave. */
const STRICT = '1';
/** There has to be a way back, by whatever device. */
const LOOSE = '2';

/**
 * The source checks that would drop packets while one end of a way has moved to the new path and the other has not: their answers
 * leave by another device than they came by. `known`: as they were, where that was read earlier.
 */
export async function loosened(
  files: Pick<Files, 'read'>,
  backend: ChangingBackend,
  underlay: string,
  known: Readonly<Record<string, string>>,
): Promise<ReversePath> {
  const wanted = new Map<string, string>();
  const before: Record<string, string> = { ...known };
  const all = await settingOf(files, 'all');
  const fresh = await settingOf(files, 'default');
  // The larger of the device's and that of `all` counts.
  const isStrict = (value: string | undefined): boolean =>
    value === STRICT || (value === '0' && all === STRICT);
  const old = new Set([...backend.sides.from.inbound.devices, underlay]);
  const used = Object.values(backend.sides).flatMap(({ inbound }) => [
    ...inbound.devices,
    ...(inbound.underlay ? [underlay] : []),
  ]);
  for (const device of new Set(used)) {
    const found = old.has(device) ? await settingOf(files, device) : undefined;
    const value = known[device] ?? found ?? fresh;
    if (value === undefined || !isStrict(value)) continue;
    wanted.set(device, LOOSE);
    if (old.has(device)) before[device] = value;
  }
  return { wanted, before };
}

/** What these devices get when the change is over: one that came with it has what new devices have. */
export async function restored(
  files: Pick<Files, 'read'>,
  { wanted, before }: ReversePath,
): Promise<ReadonlyMap<string, string>> {
  const fresh = (await settingOf(files, 'default')) ?? '0';
  return new Map(Array.from(wanted.keys(), (device) => [device, before[device] ?? fresh]));
}

const settingOf = async (files: Pick<Files, 'read'>, device: string): Promise<string | undefined> =>
  (await files.read(`/proc/sys/net/ipv4/conf/${device}/rp_filter`).catch(() => undefined))?.trim();
