import { assertFound } from '#src/registry/etcd-v2-answers.ts';
import type { EtcdV2Http, V2Answer } from '#src/registry/etcd-v2-http.ts';

/** The parameters of the read of one key, as flannel v0.9.1 sends them. */
export const ONE = '?quorum=true&recursive=false&sorted=false';

/** Reads a key, or a folder with what is in it. That there is none is an answer, without a node. */
export async function getV2(
  http: EtcdV2Http,
  key: string,
  query: string,
  what: string,
  signal: AbortSignal,
): Promise<V2Answer> {
  const answer = await http.call({ method: 'GET', key, query }, { what, repeatable: true }, signal);
  assertFound(what, answer.body);
  return answer;
}
