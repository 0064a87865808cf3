import { AS_IP, AS_MAC, AS_PREFIX_OF, type CallBody } from '#src/driver/call-body.ts';
import type {
  AddressDriver,
  AddressRequest,
  EndpointIds,
  EndpointRequest,
  NetworkDriver,
  NetworkPool,
  NetworkRequest,
  PoolRequest,
} from '#src/driver/plugin.ts';
import { formatPrefix } from '#src/lib/ip.ts';

/*
 * The methods of Docker's plugin protocol: what each reads, calls and answers. Field names are moby's
 * (daemon/libnetwork/drivers/remote/api/api.go, daemon/libnetwork/ipams/remote/api/api.go, pkg/plugins).
 */

export interface PluginDrivers {
  readonly network: NetworkDriver;
  readonly addresses: AddressDriver;
}

/** An answer's fields. */
export type Answer = Readonly<Record<string, unknown>>;

/** One name for local and global networks: engines from 27 on compare pools of the global space with no route of the host. */
export const ADDRESS_SPACE = 'weft';

/** Answers that are always the same; the body of the call is not looked at. */
export const FIXED_ANSWERS: Readonly<Record<string, Answer>> = {
  'Plugin.Activate': { Implements: ['NetworkDriver', 'IpamDriver'] },
  // A global scope takes a swarm: without one, engines before 24 refuse the network. The answer to GwAllocCheck is always
  // the same, so that nobody needs to ask.
  'NetworkDriver.GetCapabilities': { Scope: 'local', ConnectivityScope: 'global', GwAllocChecker: false },
  // Also an internal tenant's gateway is reserved: the responder for names has that address.
  'NetworkDriver.GwAllocCheck': { SkipIPv4: false, SkipIPv6: false },
  // Reports of swarm about its nodes.
  'NetworkDriver.DiscoverNew': {},
  'NetworkDriver.DiscoverDelete': {},
  // Addresses are in the registry: a replayed request looks exactly like a new one with --ip.
  'IpamDriver.GetCapabilities': { RequiresMACAddress: false, RequiresRequestReplay: false },
  'IpamDriver.GetDefaultAddressSpaces': {
    LocalDefaultAddressSpace: ADDRESS_SPACE,
    GlobalDefaultAddressSpace: ADDRESS_SPACE,
  },
};

/** Reads a call, at once, and returns what carries it out. Throws CallError. */
type Method = (body: CallBody, drivers: PluginDrivers) => () => Promise<Answer>;

/**
 * All others that dockerd may call. Program- and RevokeExternalConnectivity are not among them: dockerd takes a 404 for
 * "not needed", and it needs neither, for Join answers no gateway and so leaves published ports to Docker.
 */
export const METHODS: Readonly<Record<string, Method>> = {
  'NetworkDriver.CreateNetwork': (body, { network }) => {
    const request = networkRequest(body);
    return () => network.createNetwork(request).then(nothing);
  },
  'NetworkDriver.DeleteNetwork': (body, { network }) => {
    const id = body.id('NetworkID');
    return () => network.deleteNetwork(id).then(nothing);
  },
  'NetworkDriver.CreateEndpoint': (body, { network }) => {
    const request = endpointRequest(body);
    return async () => {
      const { mac } = await network.createEndpoint(request);
      // A field that the request had makes dockerd take the endpoint back, even with the same value.
      return mac === undefined || request.mac !== undefined ? {} : { Interface: { MacAddress: mac } };
    };
  },
  'NetworkDriver.EndpointOperInfo': (body, { network }) => {
    const ids = endpointIds(body);
    return async () => ({ Value: await network.endpointInfo(ids) });
  },
  'NetworkDriver.Join': (body, { network }) => {
    const request = { ...endpointIds(body), sandbox: body.text('SandboxKey') };
    return async () => {
      const { device, prefix } = await network.join(request);
      return { InterfaceName: { SrcName: device, DstPrefix: prefix } };
    };
  },
  'NetworkDriver.Leave': (body, { network }) => {
    const ids = endpointIds(body);
    return () => network.leave(ids).then(nothing);
  },
  'NetworkDriver.DeleteEndpoint': (body, { network }) => {
    const ids = endpointIds(body);
    return () => network.deleteEndpoint(ids).then(nothing);
  },
  'IpamDriver.RequestPool': (body, { addresses }) => {
    const request = poolRequest(body);
    return async () => {
      const { poolId, pool, gateway } = await addresses.requestPool(request);
      const data = gateway === undefined ? {} : { [GATEWAY]: formatPrefix(gateway) };
      return { PoolID: poolId, Pool: formatPrefix(pool), Data: data };
    };
  },
  'IpamDriver.ReleasePool': (body, { addresses }) => {
    const pool = body.text('PoolID');
    return () => addresses.releasePool(pool).then(nothing);
  },
  'IpamDriver.RequestAddress': (body, { addresses }) => {
    const request = addressRequest(body);
    return async () => ({ Address: formatPrefix(await addresses.requestAddress(request)), Data: {} });
  },
  'IpamDriver.ReleaseAddress': (body, { addresses }) => {
    const pool = body.text('PoolID');
    const address = body.parsed('Address', AS_IP);
    return () => addresses.releaseAddress(pool, address).then(nothing);
  },
};

const nothing = (): Answer => ({});

/** Labels of moby (daemon/libnetwork/netlabel/labels.go). */
const DOCKERS_OWN = 'com.docker.';
const GENERIC = 'com.docker.network.generic';
const INTERNAL = 'com.docker.network.internal';
const GATEWAY = 'com.docker.network.gateway';
const REQUEST_TYPE = 'RequestAddressType';
const CONTAINER_NAME = 'com.docker.network.endpoint.name';

function endpointIds(body: CallBody): EndpointIds {
  return { networkId: body.id('NetworkID'), endpointId: body.id('EndpointID') };
}

function networkRequest(body: CallBody): NetworkRequest {
  const options = body.object('Options');
  return {
    networkId: body.id('NetworkID'),
    options: options.object(GENERIC).texts(),
    internal: options.flag(INTERNAL),
    pools: ([4, 6] as const).flatMap((family) =>
      body.objects(`IPv${family}Data`).map((pool) => networkPool(pool, family)),
    ),
  };
}

function networkPool(body: CallBody, family: 4 | 6): NetworkPool {
  const gateway = body.optionalParsed('Gateway', AS_PREFIX_OF[family]);
  const auxiliary = body.object('AuxAddresses').allParsed(AS_PREFIX_OF[family]);
  return {
    addressSpace: body.optionalText('AddressSpace') ?? '',
    pool: body.parsed('Pool', AS_PREFIX_OF[family]),
    ...(gateway && { gateway }),
    auxiliary: Object.fromEntries(Object.entries(auxiliary).map(([name, { address }]) => [name, address])),
  };
}

function endpointRequest(body: CallBody): EndpointRequest {
  const given = body.object('Interface');
  const mac = given.optionalParsed('MacAddress', AS_MAC);
  const addresses = [
    given.optionalParsed('Address', AS_PREFIX_OF[4]),
    given.optionalParsed('AddressIPv6', AS_PREFIX_OF[6]),
  ];
  return {
    ...endpointIds(body),
    addresses: addresses.filter((address) => address !== undefined),
    ...(mac && { mac }),
    // Those of --driver-opt stand beside Docker's own, which are of any type.
    options: body.object('Options').texts((name) => !name.startsWith(DOCKERS_OWN)),
  };
}

function poolRequest(body: CallBody): PoolRequest {
  // There is one, but a call without it is not one of dockerd's.
  body.text('AddressSpace');
  const family = body.flag('V6') ? 6 : 4;
  const pool = body.optionalParsed('Pool', AS_PREFIX_OF[family]);
  const range = body.optionalParsed('SubPool', AS_PREFIX_OF[family]);
  return {
    family,
    ...(pool && { pool }),
    ...(range && { range }),
    options: body.object('Options').texts(),
  };
}

function addressRequest(body: CallBody): AddressRequest {
  const options = body.object('Options');
  const address = body.optionalParsed('Address', AS_IP);
  const container = options.optionalText(CONTAINER_NAME);
  return {
    poolId: body.text('PoolID'),
    ...(address !== undefined && { address }),
    isGateway: options.optionalText(REQUEST_TYPE) === GATEWAY,
    ...(container !== undefined && { container }),
  };
}
