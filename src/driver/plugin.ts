import type { Ip, Prefix } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';

/*
 * What Docker's plugin protocol asks for, read and checked (moby's daemon/libnetwork/drivers/remote/api and
 * ipams/remote/api). Calls come in parallel, may come again with the same IDs, and may come after anything was lost: each
 * is idempotent. A WeftError's text is what Docker's user sees.
 */

/** Docker's `NetworkDriver`. Identifiers are 64 hex digits. */
export interface NetworkDriver {
  createNetwork(request: NetworkRequest): Promise<void>;
  deleteNetwork(networkId: string): Promise<void>;
  createEndpoint(request: EndpointRequest): Promise<EndpointAnswer>;
  /** Succeeds for an endpoint that is not known. */
  deleteEndpoint(ids: EndpointIds): Promise<void>;
  /** Docker waits for the answer. Engine 29 asks after each join, 20.10 only where the network is internal. */
  endpointInfo(ids: EndpointIds): Promise<Readonly<Record<string, string>>>;
  join(request: JoinRequest): Promise<JoinAnswer>;
  /**
   * Succeeds for an endpoint that is not known, and for one that has not joined: engine 29 calls it after a join that failed,
   * and twice when it could not use the device. The device is back in Docker's namespace by its name there, or gone.
   */
  leave(ids: EndpointIds): Promise<void>;
}

/** Docker's `IpamDriver`. */
export interface AddressDriver {
  requestPool(request: PoolRequest): Promise<PoolAnswer>;
  releasePool(poolId: string): Promise<void>;
  requestAddress(request: AddressRequest): Promise<Prefix>;
  /** Succeeds for an address that is not held. */
  releaseAddress(poolId: string, address: Ip): Promise<void>;
}

export interface EndpointIds {
  readonly networkId: string;
  readonly endpointId: string;
}

export interface NetworkRequest {
  readonly networkId: string;
  /** `-o KEY=VALUE`, also a user's `com.docker.network.driver.mtu`. */
  readonly options: Readonly<Record<string, string>>;
  readonly internal: boolean;
  readonly pools: readonly NetworkPool[];
}

/** One of a network's subnets, as Docker's IPAM gave it. */
export interface NetworkPool {
  /** `weft` where the addresses are ours; `LocalDefault` where Docker's own IPAM gave them. */
  readonly addressSpace: string;
  readonly pool: Prefix;
  readonly gateway?: Prefix;
  readonly auxiliary: Readonly<Record<string, Ip>>;
}

export interface EndpointRequest extends EndpointIds {
  /** With the subnet's length. */
  readonly addresses: readonly Prefix[];
  readonly mac?: Mac;
  /** `--driver-opt KEY=VALUE` of the endpoint, without Docker's own. */
  readonly options: Readonly<Record<string, string>>;
}

/** Only what the request left open: Docker takes a repeated value for an error. */
export interface EndpointAnswer {
  readonly mac?: Mac;
}

export interface JoinRequest extends EndpointIds {
  /** The container's network namespace, as a path. */
  readonly sandbox: string;
}

export interface JoinAnswer {
  /** The device that Docker moves into the container, by its name in Docker's namespace. */
  readonly device: string;
  /** Its name there begins so; Docker adds a number. */
  readonly prefix: string;
}

export interface PoolRequest {
  readonly family: 4 | 6;
  /** `--subnet`; may have host bits with engine 20.10, which passes on what the user wrote. */
  readonly pool?: Prefix;
  /** `--ip-range` */
  readonly range?: Prefix;
  /** `--ipam-opt KEY=VALUE` */
  readonly options: Readonly<Record<string, string>>;
}

export interface PoolAnswer {
  readonly poolId: string;
  readonly pool: Prefix;
  /** Taken as the gateway without a further request, unless the user gave one. */
  readonly gateway?: Prefix;
}

export interface AddressRequest {
  readonly poolId: string;
  /**
   * `--ip`, or a gateway or auxiliary address; any address where there is none. An auxiliary one looks like `--ip` to engine
   * 20.10, and comes between requestPool and createNetwork. Engine 29 gives the container's name with `--ip`.
   */
  readonly address?: Ip;
  readonly isGateway: boolean;
  /** The container's name, from engine 29 on. */
  readonly container?: string;
}
