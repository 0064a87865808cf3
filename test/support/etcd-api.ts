import { once } from 'node:events';
import {
  type ChannelCredentials,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import {
  AuthService,
  ClusterService,
  KVService,
  LeaseService,
  MaintenanceService,
  type WatchCreateRequest,
  type WatchRequest,
  type WatchResponse,
  WatchService,
} from '#src/etcd/rpc.ts';
import { type ClientOf, clientOf } from './etcd-clients.ts';

type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

export type Answer<Response> = { readonly response: Response } | { readonly error: string };

/** The generated clients on one server, of either kind. */
export class EtcdApi {
  readonly kv: ClientOf<typeof KVService>;
  readonly lease: ClientOf<typeof LeaseService>;
  readonly watcher: ClientOf<typeof WatchService>;
  readonly cluster: ClientOf<typeof ClusterService>;
  readonly maintenance: ClientOf<typeof MaintenanceService>;
  readonly auth: ClientOf<typeof AuthService>;
  readonly metadata = new Metadata();

  /** `address`: host:port, or the server's URL. */
  constructor(address: string, channel: ChannelCredentials = credentials.createInsecure()) {
    const target = address.replace(/^https?:\/\//, '');
    const options = {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      // Node refuses an IP address as TLS server name; without TLS this means nothing.
      ...(/^https|^ipv4/.test(address) && { 'grpc.ssl_target_name_override': 'etcd' }),
    };
    this.kv = clientOf(KVService, target, channel, options);
    this.lease = clientOf(LeaseService, target, channel, options);
    this.watcher = clientOf(WatchService, target, channel, options);
    this.cluster = clientOf(ClusterService, target, channel, options);
    this.maintenance = clientOf(MaintenanceService, target, channel, options);
    this.auth = clientOf(AuthService, target, channel, options);
  }

  /** `api.call(api.kv, api.kv.put, request)`: rejects with gRPC's error. */
  call<Request, Response>(
    client: object,
    method: Unary<Request, Response>,
    request: Request,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + 20_000;
      method.call(client, request, this.metadata, { deadline }, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }

  /** The answer, or the error as `CODE text`. */
  async answer<Request, Response>(
    client: object,
    method: Unary<Request, Response>,
    request: Request,
  ): Promise<Answer<Response>> {
    try {
      return { response: await this.call(client, method, request) };
    } catch (error) {
      return { error: describeError(error) };
    }
  }

  watch(): WatchReader {
    return new WatchReader(this.watcher.watch(this.metadata));
  }

  /** One keep-alive, on a stream of its own: the TTL. */
  async keepAlive(ID: bigint): Promise<bigint> {
    const call = this.lease.leaseKeepAlive(this.metadata);
    call.write({ ID });
    const [{ TTL }] = (await once(call, 'data')) as [{ TTL: bigint }];
    call.end();
    return TTL;
  }

  close(): void {
    const clients = [this.kv, this.lease, this.watcher, this.cluster, this.maintenance, this.auth];
    for (const client of clients) client.close();
  }
}

export function describeError(error: unknown): string {
  const { code, details } = error as ServiceError;
  if (code === undefined) throw error;
  return `${status[code]} ${details}`;
}

/** One Watch call, read message by message. */
export class WatchReader {
  readonly call: ClientDuplexStream<WatchRequest, WatchResponse>;
  readonly #messages: AsyncIterator<WatchResponse>;

  constructor(call: ClientDuplexStream<WatchRequest, WatchResponse>) {
    this.call = call;
    this.#messages = call[Symbol.asyncIterator]();
  }

  create(fields: Partial<WatchCreateRequest>): void {
    const createRequest: WatchCreateRequest = {
      key: Buffer.alloc(0),
      rangeEnd: Buffer.alloc(0),
      startRevision: 0n,
      progressNotify: false,
      filters: [],
      prevKv: false,
      watchId: 0n,
      fragment: false,
      ...fields,
    };
    this.call.write({ requestUnion: { $case: 'createRequest', createRequest } });
  }

  cancel(watchId: bigint): void {
    this.call.write({ requestUnion: { $case: 'cancelRequest', cancelRequest: { watchId } } });
  }

  askProgress(): void {
    this.call.write({ requestUnion: { $case: 'progressRequest', progressRequest: {} } });
  }

  async next(): Promise<WatchResponse> {
    const { value, done } = await this.#messages.next();
    if (done) throw new Error('the watch ended');
    return value;
  }

  /** Reads until a message satisfies; returns all that were read. */
  async until(last: (message: WatchResponse) => boolean): Promise<WatchResponse[]> {
    const messages: WatchResponse[] = [];
    for (;;) {
      const message = await this.next();
      messages.push(message);
      if (last(message)) return messages;
    }
  }

  end(): void {
    this.call.on('error', () => {});
    this.call.cancel();
  }
}
