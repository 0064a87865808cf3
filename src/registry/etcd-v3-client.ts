import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { type ChannelCredentials, Client, type ClientOptions, credentials } from '@grpc/grpc-js';
import { authoritiesOf } from '#src/registry/authorities.ts';
import type { Endpoint } from '#src/registry/endpoints.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';
import { ConnectingSockets } from '#src/sys/connecting-sockets.ts';

/** etcd closes a connection that pings more often than every 5 s (its `--grpc-keepalive-min-time`). */
const KEEPALIVE_MS = 6_000;
const KEEPALIVE_TIMEOUT_MS = 3_000;
/** gRPC's 4 MB would refuse a page of long values, which etcd allows 1.5 MB each. */
const MAX_MESSAGE_BYTES = 64 << 20;

/** gRPC to one endpoint. */
export class EtcdClient {
  readonly #client: Client;
  /** gRPC does not end an attempt to connect when its client is closed. */
  readonly #connecting = new ConnectingSockets();

  constructor(endpoint: Endpoint, tls: TlsMaterial) {
    const address = isIP(endpoint.host) === 6 ? `[${endpoint.host}]` : endpoint.host;
    const target = isIP(endpoint.host) === 0 ? `dns:${address}` : address;
    this.#client = new Client(
      `${target}:${endpoint.port}`,
      channelCredentials(endpoint, tls),
      channelOptions(endpoint),
    );
  }

  /** Begins a call. The first one connects. */
  begin<Call>(call: (client: Client) => Call): Call {
    return this.#connecting.run(() => call(this.#client));
  }

  /** Ends all calls; nothing of it stays open. */
  close(): void {
    this.#client.close();
    this.#connecting.end();
  }
}

function channelCredentials(endpoint: Endpoint, tls: TlsMaterial): ChannelCredentials {
  if (!endpoint.secure) return credentials.createInsecure();
  const bytes = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
  return credentials.createSsl(Buffer.from(authoritiesOf(tls)), bytes(tls.key), bytes(tls.cert), {
    checkServerIdentity: (_name, certificate) => checkServerIdentity(endpoint.host, certificate),
  });
}

function channelOptions(endpoint: Endpoint): ClientOptions {
  return {
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
    // As over v2, the registry is reached directly: a proxy set for the host's downloads is not meant.
    'grpc.enable_http_proxy': 0,
    // TLS has no server name for an IP address, and Node 26 refuses one; the certificate is checked against the
    // address above all the same.
    ...(endpoint.secure && isIP(endpoint.host) !== 0 && { 'grpc.ssl_target_name_override': 'etcd' }),
  };
}
