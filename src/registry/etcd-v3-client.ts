import { type ChannelComponents, GrpcChannel } from '#src/grpc/grpc-channel.ts';
import type { Endpoint } from '#src/registry/endpoints.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';

/** etcd closes a connection that pings more often than every 5 s (its `--grpc-keepalive-min-time`). */
const PING_AFTER_MS = 6_000;
const PING_ANSWER_MS = 3_000;
/** What etcd's own client takes for connecting. */
const GREETING_MS = 20_000;
/** A page of long values, which etcd allows 1.5 MB each, is more than the 4 MB that gRPC takes by default. */
const MAX_MESSAGE_BYTES = 64 << 20;

/** gRPC to one endpoint. The registry is reached directly: a proxy set for the host's downloads is not meant. */
export const etcdChannel = (
  components: ChannelComponents,
  { host, port, secure }: Endpoint,
  tls: TlsMaterial,
): GrpcChannel =>
  new GrpcChannel(
    components,
    { host, port, ...(secure && { tls: { ...tls, protocol: 'h2' } }) },
    {
      pingAfterMs: PING_AFTER_MS,
      pingAnswerMs: PING_ANSWER_MS,
      greetingMs: GREETING_MS,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      secret: ['token'],
    },
  );
