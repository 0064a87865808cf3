import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type Metadata,
  makeGenericClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';

interface Method<Request, Answer> {
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(request: Request): Buffer;
  responseDeserialize(bytes: Buffer): Answer;
}

type Unary<Request, Answer> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, answer: Answer) => void,
) => ClientUnaryCall;

type CallOf<M> =
  M extends Method<infer Request, infer Answer>
    ? M extends { readonly requestStream: true }
      ? (metadata?: Metadata) => ClientDuplexStream<Request, Answer>
      : M extends { readonly responseStream: true }
        ? (request: Request, metadata?: Metadata) => ClientReadableStream<Answer>
        : Unary<Request, Answer>
    : never;

/** gRPC's own client of a generated service: not the product's, so that a test has another opinion. */
export type ClientOf<Service> = Client & { [Name in keyof Service]: CallOf<Service[Name]> };

export function clientOf<Service extends ServiceDefinition>(
  service: Service,
  address: string,
  channel: ChannelCredentials,
  options: ClientOptions,
): ClientOf<Service> {
  const Made = makeGenericClientConstructor(service, 'etcd');
  return new Made(address, channel, options) as unknown as ClientOf<Service>;
}
