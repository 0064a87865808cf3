import type {
  AddressDriver,
  EndpointAnswer,
  JoinAnswer,
  NetworkDriver,
  PoolAnswer,
} from '#src/driver/plugin.ts';
import { type Ip, type Prefix, parsePrefix } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';

/** What a driver was called for: the method, and what it got. */
export type Recorded = readonly [method: string, ...got: unknown[]];

/** Drivers that remember every call and answer the same each time; `instead` answers a method in another way. */
export class RecordingDrivers {
  readonly calls: Recorded[] = [];
  readonly instead = new Map<string, () => Promise<never>>();
  endpointAnswer: EndpointAnswer = { mac: mac('02:42:0a:05:00:0b') };
  joinAnswer: JoinAnswer = { device: 'w0123456789abc', prefix: 'eth' };
  poolAnswer: PoolAnswer = {
    poolId: 'blue/v4',
    pool: prefix('10.5.0.0/24'),
    gateway: prefix('10.5.0.1/24'),
  };
  addressAnswer = prefix('10.5.0.11/24');

  readonly network: NetworkDriver = {
    createNetwork: (request) => this.#did('createNetwork', undefined, request),
    deleteNetwork: (id) => this.#did('deleteNetwork', undefined, id),
    createEndpoint: (request) => this.#did('createEndpoint', this.endpointAnswer, request),
    deleteEndpoint: (ids) => this.#did('deleteEndpoint', undefined, ids),
    endpointInfo: (ids) => this.#did('endpointInfo', { 'weft.vni': '70001' }, ids),
    join: (request) => this.#did('join', this.joinAnswer, request),
    leave: (ids) => this.#did('leave', undefined, ids),
  };

  readonly addresses: AddressDriver = {
    requestPool: (request) => this.#did('requestPool', this.poolAnswer, request),
    releasePool: (id) => this.#did('releasePool', undefined, id),
    requestAddress: (request) => this.#did('requestAddress', this.addressAnswer, request),
    releaseAddress: (pool: string, ip: Ip) => this.#did('releaseAddress', undefined, pool, ip),
  };

  async #did<T>(method: string, answer: T, ...got: unknown[]): Promise<T> {
    this.calls.push([method, ...got]);
    const instead = this.instead.get(method);
    return instead === undefined ? answer : instead();
  }
}

export function prefix(text: string): Prefix {
  const value = parsePrefix(text);
  if (value === undefined) throw new Error(`${text} is no prefix`);
  return value;
}

export function mac(text: string): Mac {
  const value = parseMac(text);
  if (value === undefined) throw new Error(`${text} is no MAC`);
  return value;
}
