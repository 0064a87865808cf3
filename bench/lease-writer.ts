import { Agent, request } from 'node:http';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { KVService, LeaseGrantRequest, LeaseService, RequestOp, TxnRequest } from '#src/etcd/rpc.ts';

export type Api = 'v2' | 'v3';

/** Writes a peer's lease, or another record, as its own flanneld would, and knows nothing else: the other end of a measurement. */
export interface LeaseWriter {
  put(name: string, value: string): Promise<void>;
  /** Many leases, as fast as the store takes them; `sent` is called as each goes out. */
  fill(
    leases: Iterable<readonly [name: string, value: string]>,
    sent?: (name: string) => void,
  ): Promise<void>;
  remove(name: string): Promise<void>;
  close(): void;
}

const TTL_SECONDS = 86_400;
/** Requests under way at a time. */
const WIDTH = 32;
/** etcd's default --max-txn-ops. */
const TXN_OPS = 128;

/** `folder`: where the keys are. */
export const openWriter = (api: Api, url: string, folder: string): Promise<LeaseWriter> =>
  api === 'v2' ? Promise.resolve(v2Writer(url, folder)) : v3Writer(url, folder);

function v2Writer(url: string, folder: string): LeaseWriter {
  const agent = new Agent({ keepAlive: true, maxSockets: WIDTH });
  const call = (method: string, name: string, form?: string) =>
    new Promise<void>((resolve, reject) => {
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const target = `${url}/v2/keys${folder}/${name}`;
      const sent = request(target, { method, agent, headers }, (response) => {
        response.resume();
        response.once('end', () => {
          if ((response.statusCode ?? 500) < 300) resolve();
          else reject(new Error(`${method} ${target}: HTTP status ${response.statusCode}`));
        });
      });
      sent.once('error', reject);
      sent.end(form);
    });
  const put = (name: string, value: string) =>
    call('PUT', name, new URLSearchParams({ value, ttl: String(TTL_SECONDS) }).toString());
  return {
    put,
    remove: (name) => call('DELETE', name),
    async fill(leases, sent) {
      const left = Iterator.from(leases);
      const writer = async () => {
        for (const [name, value] of left) {
          sent?.(name);
          await put(name, value);
        }
      };
      await Promise.all(Array.from({ length: WIDTH }, writer));
    },
    close: () => agent.destroy(),
  };
}

/** All leases of a writer hang on one lease of etcd's. */
async function v3Writer(url: string, folder: string): Promise<LeaseWriter> {
  const client = new Client(new URL(url).host, credentials.createInsecure());
  const call = <Request, Answer>(
    method: {
      readonly path: string;
      requestSerialize(request: Request): Buffer;
      responseDeserialize(bytes: Buffer): Answer;
    },
    message: Request,
  ) =>
    new Promise<Answer>((resolve, reject) => {
      const settle = (error: ServiceError | null, answer?: Answer) =>
        error === null && answer !== undefined ? resolve(answer) : reject(error);
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        message,
        settle,
      );
    });
  const keyOf = (name: string) => Buffer.from(`${folder}/${name}`);
  const grant = await call(LeaseService.leaseGrant, LeaseGrantRequest.create({ TTL: BigInt(TTL_SECONDS) }));
  const putRequest = (name: string, value: string) => ({
    key: keyOf(name),
    value: Buffer.from(value),
    lease: grant.ID,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  });
  return {
    async put(name, value) {
      await call(KVService.put, putRequest(name, value));
    },
    async remove(name) {
      await call(KVService.deleteRange, { key: keyOf(name), rangeEnd: Buffer.alloc(0), prevKv: false });
    },
    async fill(leases, sent) {
      const all = [...leases];
      const puts = all.map(([name, value]) =>
        RequestOp.create({ request: { $case: 'requestPut', requestPut: putRequest(name, value) } }),
      );
      for (let at = 0; at < puts.length; at += TXN_OPS) {
        const success = puts.slice(at, at + TXN_OPS);
        for (const [name] of all.slice(at, at + TXN_OPS)) sent?.(name);
        await call(KVService.txn, TxnRequest.create({ success }));
      }
    },
    close: () => client.close(),
  };
}
