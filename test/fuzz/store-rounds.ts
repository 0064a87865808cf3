import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { AlarmAction, AlarmType } from '#src/etcd/names.ts';
import { put, range } from '../store/script.ts';
import { StoreProcess } from '../store/store-process.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import type { Random } from './random.ts';
import type { Rounds } from './target.ts';

/** Memory that the store may take whatever is sent, MB. */
const MEMORY_LIMIT = 300;
/** Memory is looked at once in so many rounds. */
const LOOK_EVERY = 20;

/** Rounds against one store in a process of its own. After each, it answers others as before. */
export async function storeRounds(
  attack: (random: Random, store: StoreProcess) => Promise<void>,
): Promise<Rounds> {
  const store = await StoreProcess.start();
  const api = new EtcdApi(store.url);
  const { maintenance } = api;
  // A round may raise NOSPACE: that is what it is for.
  const disarm = async (): Promise<void> => {
    const { header } = await api.call(maintenance, maintenance.status, {});
    const request = {
      action: AlarmAction.DEACTIVATE,
      memberID: header?.memberId ?? 0n,
      alarm: AlarmType.NOSPACE,
    };
    await api.call(maintenance, maintenance.alarm, request);
  };
  let played = 0;
  return {
    async play(random) {
      await attack(random, store);
      assert.ok(store.running, `the store ended: ${store.errors}`);
      await disarm();
      await api.call(api.kv, api.kv.put, put('sentinel', `after ${played}`));
      const { kvs } = await api.call(api.kv, api.kv.range, range('sentinel'));
      assert.equal(kvs[0]?.value.toString(), `after ${played}`);
      if (played++ % LOOK_EVERY !== 0) return;
      const memory = await store.memory();
      assert.ok(memory < MEMORY_LIMIT, `the store takes ${Math.round(memory)} MB`);
    },
    async stop() {
      api.close();
      await store.remove();
    },
  };
}

/** Ends the connection, at once or when the server has had its say. */
export async function hangUp(socket: Socket, random: Random): Promise<void> {
  socket.resume();
  if (socket.destroyed) return;
  const closed = new Promise((resolve) => socket.on('close', resolve));
  if (random.once(2)) socket.end();
  else socket.destroy();
  const timer = setTimeout(() => socket.destroy(), random.int(30));
  await closed;
  clearTimeout(timer);
}

export async function connected(socket: Socket): Promise<Socket> {
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}
