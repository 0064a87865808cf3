import type { BackendUnderlay, OtherPath, PreparedBackend } from '#src/backend/backend.ts';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { differsInRoutes, refuseSameDevice } from '#src/backend/prepare-change.ts';
import { WeftError } from '#src/lib/errors.ts';
import { ipv4, ipv6 } from '#src/lib/ip.ts';
import { backendText, withBackend } from '#src/network/change-plan.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';

/** What `weft network change` is to change, as it was given. */
export interface ChangeWish {
  /** Empty: the present one. */
  readonly backend: string;
  /** 0: the present one, where the type stays. */
  readonly vni: number;
  readonly port: number;
  readonly mtu: number;
  /** `NAME=VALUE` */
  readonly options: readonly string[];
}

export type JudgedChange =
  /** Every host can do it where it is: no second path is needed. `lessMtu`: packets may have to be smaller than now. */
  | {
      readonly kind: 'in-place';
      readonly text: string;
      readonly what: readonly string[];
      readonly lessMtu: boolean;
    }
  /**
   * `to`: the new backend as JSON. `lessMtu`: by so many bytes packets have to be smaller. `orInPlace`: what every host can do
   * where it is as well, without a trial; absent where the path needs another device.
   */
  | {
      readonly kind: 'path';
      readonly to: string;
      readonly lessMtu: number;
      readonly orInPlace?: Extract<JudgedChange, { kind: 'in-place' }>;
    };

/** Whether the operator named anything to change. */
export const isWish = ({ backend, vni, port, mtu, options }: ChangeWish): boolean =>
  backend !== '' || vni !== 0 || port !== 0 || mtu !== 0 || options.length > 0;

/** The backend that is wished for, as JSON. What is not named stays as it is where the type stays. Throws WeftError `usage`. */
export function wishedBackend(text: string, wish: ChangeWish): string {
  const present = JSON.parse(backendText(text)) as Readonly<Record<string, unknown>> | null;
  const typeNow = typeOf(present);
  const type = (wish.backend === '' ? typeNow : wish.backend).toLowerCase();
  const kept = type === typeNow ? withoutType(present) : {};
  const given: Record<string, unknown> = {};
  if (wish.vni !== 0) {
    if (type !== 'vxlan') throw new WeftError('usage', `--vni is of backend vxlan, not of ${type}`);
    given.VNI = wish.vni;
  }
  if (wish.port !== 0) given[type === 'wireguard' ? 'ListenPort' : 'Port'] = wish.port;
  if (wish.mtu !== 0) given.MTU = wish.mtu;
  for (const option of wish.options) {
    const [name = '', ...rest] = option.split('=');
    if (name === '' || rest.length === 0)
      throw new WeftError('usage', `--option takes NAME=VALUE, not ${JSON.stringify(option.slice(0, 80))}`);
    given[name] = optionValue(rest.join('='));
  }
  const replaced = new Set(Object.keys(given).map((name) => name.toLowerCase()));
  const left = Object.entries(kept).filter(([name]) => !replaced.has(name.toLowerCase()));
  return JSON.stringify({ Type: type, ...Object.fromEntries(left), ...given });
}

const typeOf = (backend: Readonly<Record<string, unknown>> | null): string => {
  const entry = Object.entries(backend ?? {}).findLast(([name]) => name.toLowerCase() === 'type');
  return typeof entry?.[1] === 'string' ? entry[1].toLowerCase() : '';
};

const withoutType = (backend: Readonly<Record<string, unknown>> | null): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(backend ?? {}).filter(([name]) => name.toLowerCase() !== 'type'));

/** Numbers, true and false as such, everything else as text. */
const optionValue = (text: string): unknown =>
  /^(?:-?\d+|true|false)$/.test(text) ? (JSON.parse(text) as unknown) : text;

/**
 * What a change of a network's config to this backend is. Throws WeftError `change` for one that can't be or is none, `backend`
 * for an unknown type, `config` for its options.
 */
export function judgeChange(text: string, to: string): JudgedChange {
  const now = parseNetworkConfig(text);
  const nextText = withBackend(text, to);
  const next = parseNetworkConfig(nextText);
  const from = prepared(now, { backend: next.backend, isOld: false });
  const wished = prepared(next, { backend: now.backend, isOld: true });
  const names = [...new Set([...Object.keys(from.settings), ...Object.keys(wished.settings)])];
  const differing = names.filter((name) => from.settings[name] !== wished.settings[name]);
  if (from.type === wished.type) {
    if (differing.length === 0)
      throw new WeftError('change', `the network has this backend already: ${backendText(text)}`);
    if (differing.every((name) => from.inPlace.includes(name))) {
      const lessMtu = differing.includes('MTU') && mtuOf(wished) < mtuOf(from);
      const inPlace = { kind: 'in-place', text: nextText, what: differing, lessMtu } as const;
      return differsInRoutes(from, wished) ? { kind: 'path', to, lessMtu: 0, orInPlace: inPlace } : inPlace;
    }
  }
  refuseSameDevice(from, wished);
  const [mtuNow, mtuNext] = [mtuOf(from), mtuOf(wished)];
  return { kind: 'path', to, lessMtu: Math.max(0, mtuNow - mtuNext) };
}

const prepared = (config: NetworkConfig, beside: OtherPath): PreparedBackend =>
  prepareBackend(config, { links: [], identity: '', instance: '', beside });

/** On a host with jumbo frames, so that an MTU in the options counts. Throws WeftError `change` where no packets are carried. */
function mtuOf(backend: PreparedBackend): number {
  const made = backend.make(JUMBO);
  if (made.jobs !== undefined) {
    throw new WeftError(
      'change',
      `backend ${backend.type} runs programs, which can't be beside another path`,
      {
        remedy: 'write the config with etcdctl and restart flanneld on every host',
      },
    );
  }
  if (made.seal?.isClosed) {
    throw new WeftError(
      'change',
      'a path that is encrypted around another backend can not be beside another path',
      {
        remedy: 'write the config with etcdctl and restart flanneld on every host',
      },
    );
  }
  if (made.probing === undefined) {
    throw new WeftError(
      'change',
      `backend ${backend.type} carries no packets of its own, so that no path could be moved there or from there`,
      { remedy: 'write the config with etcdctl and restart flanneld on every host' },
    );
  }
  return made.mtu;
}

const JUMBO: BackendUnderlay = {
  name: 'eth0',
  mtu: 9_000,
  address: { v4: ipv4(1), v6: ipv6(1n) },
  publicIp: { v4: ipv4(1), v6: ipv6(1n) },
};
