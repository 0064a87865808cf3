import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/**
 * npm's etcd3 at the server whose URL is the argument: writes what each call gave, one line each. Numbers that a server
 * chooses (revisions, leases) are written relative to the first one, or not at all, so that two servers can be compared
 * by their output. `recipes.mjs MODULES URL [USER PASSWORD CA]`: MODULES is the folder where etcd3 is installed, CA a
 * file with the authority of the server's certificate.
 */
const [modules = '', hosts = '', username, password, ca] = process.argv.slice(2);
const { Etcd3, EtcdLockFailedError } = createRequire(join(modules, 'package.json'))('etcd3');

const say = (what, ...answers) =>
  console.log([what, ...answers.map((answer) => JSON.stringify(answer))].join(' | '));
const tls = ca === undefined ? {} : { credentials: { rootCertificate: readFileSync(ca) } };
const connect = (auth) => new Etcd3({ hosts, ...tls, ...(auth === undefined ? {} : { auth }) });
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

/** The text of the error that a call ends with. */
const errorOf = (promise) =>
  Promise.resolve(promise).then(
    () => 'no error',
    (error) => `${error.constructor.name}: ${error.message}`,
  );

/** Writes revisions as steps from the one that is current now. */
async function stepsFromNow(client) {
  const { header } = await client.get('nothing').exec();
  return (revision) => `+${BigInt(revision) - BigInt(header.revision)}`;
}

async function keys(client) {
  const step = await stepsFromNow(client);
  const put = await client.put('keys/a').value('1');
  say('put', step(put.header.revision));
  const { value, version } = await client.put('keys/a').value('2').getPrevious();
  say('previous', value.toString(), version);
  const [kv] = (await client.get('keys/a').exec()).kvs;
  say('get', kv.value.toString(), kv.version, step(kv.create_revision), step(kv.mod_revision));
  say('get of the past', await client.get('keys/a').revision(put.header.revision).string());
  say('get of nothing', await client.get('keys/none').string(), await client.get('keys/none').exists());
  for (const name of ['c', 'b', 'd']) await client.put(`keys/${name}`).value(name.repeat(3));
  await client.put(Buffer.from('keys/\x00\xff', 'latin1')).value(Buffer.from([0, 255]));
  await client.put('keys/empty').value('');
  const all = () => client.getAll().prefix('keys/');
  for (const target of ['Key', 'Version', 'Create', 'Mod', 'Value']) {
    for (const order of ['None', 'Ascend', 'Descend']) {
      say('sorted', target, order, await all().sort(target, order).keys());
    }
  }
  say('limit', await all().limit(2).strings(), (await all().limit(2).exec()).more);
  say('count', await all().count(), await client.getAll().count());
  const changed = all().minModRevision(put.header.revision).maxCreateRevision(put.header.revision);
  say('by revisions', await changed.keys());
  say('range', await client.getAll().inRange({ start: 'keys/b', end: 'keys/d' }).strings());
  await client.put('keys/b').touch();
  say('touched', (await client.get('keys/b').exec()).kvs[0].version, await client.get('keys/b').string());
  say('touch of nothing', await errorOf(client.put('keys/none').touch()));
  const [deleted] = await client.delete().key('keys/b').getPrevious();
  say('delete', deleted.value.toString(), (await client.delete().key('keys/b')).deleted);
  const inside = client.namespace('keys/');
  say('namespace', await inside.get('a').string(), await inside.getAll().keys());
  say('delete a prefix', (await client.delete().prefix('keys/')).deleted);
  say('too large', await errorOf(client.put('large').value('x'.repeat(1_600_000))));
  say('a future revision', await errorOf(client.get('large').revision(1_000_000).string()));
}

async function transactions(client) {
  await client.put('txn/a').value('5');
  for (const [column, operator, value] of [
    ['Value', '==', '5'],
    ['Value', '>', '4'],
    ['Value', '<', '4'],
    ['Value', '!=', '5'],
    ['Version', '==', 1],
    ['Create', '>', 0],
    ['Mod', '<', 1],
    ['Lease', '==', 0],
  ]) {
    const txn = client.if('txn/a', column, operator, value).then(client.get('txn/a'));
    const { succeeded, responses } = await txn.else(client.get('txn/none')).commit();
    say('if', column, operator, value, succeeded, responses[0].response_range.count);
  }
  const { succeeded, responses } = await client
    .if('txn/a', 'Value', '==', '5')
    .and('txn/b', 'Create', '==', 0)
    .then(
      client.put('txn/a').value('6'),
      client.put('txn/b').value('7'),
      client.get('txn/a'),
      client.delete().key('txn/none'),
    )
    .else(client.put('txn/a').value('wrong'))
    .commit();
  say(
    'txn',
    succeeded,
    responses.map(({ response }) => response),
  );
  const twice = client.if('txn/a', 'Version', '>', 0).then(client.put('txn/c').value(1), client.put('txn/c'));
  say('a key twice', await errorOf(twice.commit()));
  const many = Array.from({ length: 129 }, (_, number) => client.put(`txn/${number}`).value(1));
  say(
    '129 operations',
    await errorOf(
      client
        .if('txn/a', 'Version', '>', 0)
        .then(...many)
        .commit(),
    ),
  );

  // Amounts go from one account to another; their sum never changes. The client's default isolation finds a conflict
  // wherever the keys it writes were not all changed at once before; that is so at etcd too.
  const accounts = Array.from({ length: 5 }, (_, number) => `accounts/${number}`);
  for (const account of accounts) await client.put(account).value(100);
  const transfer = (from, to) =>
    client.stm({ retries: 100, isolation: 1 }).transact(async (tx) => {
      const [giver, taker] = [await tx.get(from).number(), await tx.get(to).number()];
      await tx.put(from).value(giver - 1);
      await tx.put(to).value(taker + 1);
    });
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      [0, 1, 2].map((n) => transfer(accounts[(n + round) % 5], accounts[(n + round + 1) % 5])),
    );
  }
  const amounts = Object.values(await client.getAll().prefix('accounts/').numbers());
  say(
    'STM',
    amounts.reduce((sum, amount) => sum + amount, 0),
  );
}

async function leases(client) {
  const lease = client.lease(100, { autoKeepAlive: false });
  const id = await lease.grant();
  await lease.put('leases/a').value('1');
  await lease.put('leases/b').value('2');
  const { TTL, grantedTTL, keys } = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  say('lease', Number(TTL) > 90, grantedTTL, keys.map(String).sort());
  say('keep-alive', (await lease.keepaliveOnce()).TTL);
  await client.put('leases/b').value('3').ignoreLease();
  say('its keys', (await client.get('leases/b').exec()).kvs[0].lease === id);
  await lease.revoke();
  say('revoked', await client.get('leases/a').exists(), await client.get('leases/b').exists());
  say('a key of no lease', await errorOf(client.put('leases/c').lease(4711).value('1')));

  const lasting = client.lease(3);
  await lasting.put('leases/lasting').value('1');
  await once(lasting, 'keepaliveSucceeded');
  say('kept alive', await client.get('leases/lasting').string());
  const lost = once(lasting, 'lost');
  await client.leaseClient.leaseRevoke({ ID: await lasting.grant() });
  say('lost', (await lost).constructor.name);

  const short = client.lease(2, { autoKeepAlive: false });
  const watcher = await client.watch().key('leases/short').only('delete').create();
  const ended = once(watcher, 'delete');
  await short.put('leases/short').value('1');
  say('a lease ends', (await ended).key.toString());
  await watcher.cancel();
}

async function locks(client) {
  const other = connect();
  const lock = await client.lock('one').acquire();
  say(
    'rival',
    await other
      .lock('one')
      .acquire()
      .catch((error) => error instanceof EtcdLockFailedError),
  );
  await lock.release();
  let inside = 0;
  let most = 0;
  let entries = 0;
  const enter = async (contender) => {
    for (;;) {
      try {
        return await contender.lock('many').do(async () => {
          most = Math.max(most, ++inside);
          await contender.put('inside').value(entries++);
          inside--;
        });
      } catch (error) {
        if (!(error instanceof EtcdLockFailedError)) throw error;
      }
    }
  };
  await Promise.all([client, other, client, other].map(enter));
  say('contended', entries, most);

  const first = client.election('chief', 10).campaign('first');
  await first.wait();
  const second = other.election('chief', 10).campaign('second');
  // The client looks for the key before its own and then watches it, without the revision of the look: what is deleted in
  // between is missed, at etcd too. Watchers of one client are made one after the other, so that this one comes later.
  await once(second, '_isWaiting');
  await (await other.watch().key('nothing').create()).cancel();
  const observer = await client.election('chief').observe();
  if (observer.leader() !== 'first') await once(observer, 'change');
  say('elected', await client.election('chief').leader());
  await first.proclaim('first still');
  if (observer.leader() !== 'first still') await once(observer, 'change');
  say('proclaimed', observer.leader());
  await first.resign();
  await second.wait();
  if (observer.leader() !== 'second') await once(observer, 'change');
  say('after the resignation', observer.leader());
  await second.resign();
  await observer.cancel();
  other.close();
}

async function watches(client) {
  const step = await stepsFromNow(client);
  const describe = (type, kv, previous) =>
    [type, kv.key, kv.value, previous?.value ?? ''].map(String).concat(kv.version, step(kv.mod_revision));
  const collect = (watcher, count) =>
    new Promise((resolve) => {
      const seen = [];
      const add = (type) => (kv, previous) => {
        seen.push(describe(type, kv, previous));
        if (seen.length === count) resolve(seen);
      };
      watcher.on('put', add('put')).on('delete', add('delete'));
    });
  const { header } = await client.put('watch/a').value('1');
  const live = await client.watch().prefix('watch/').withPreviousKV().create();
  const events = collect(live, 5);
  const past = client.watch().prefix('watch/').startRevision(header.revision).watcher();
  const history = collect(past, 6);
  const deletionWatch = await client.watch().prefix('watch/').only('delete').create();
  const deletions = collect(deletionWatch, 2);
  await client.put('watch/a').value('2');
  await client.put('elsewhere').value('1');
  await client.put('watch/b').value('1');
  const both = [client.put('watch/a').value('3'), client.delete().key('watch/b')];
  await client
    .if('watch/a', 'Version', '>', 0)
    .then(...both)
    .commit();
  await client.delete().key('watch/a');
  say('events', await events);
  say('from a revision', await history);
  say('only deletions', await deletions);
  for (const watcher of [live, past, deletionWatch]) await watcher.cancel();

  const many = await Promise.all(
    Array.from({ length: 200 }, (_, number) => client.watch().key(`many/${number}`).create()),
  );
  const firsts = many.map((watcher) => once(watcher, 'put'));
  await Promise.all(many.map((_, number) => client.put(`many/${number}`).value(number)));
  const values = (await Promise.all(firsts)).map(({ value }) => Number(value));
  say(
    '200 watchers',
    values.reduce((sum, value) => sum + value, 0),
  );
  await Promise.all(many.map((watcher) => watcher.cancel()));

  const { header: last } = await client.put('watch/a').value('6');
  await client.kv.compact({ revision: last.revision });
  const late = client.watch().key('watch/a').startRevision(header.revision).watcher();
  say('compacted', (await once(late, 'error')).message);
  say('compacted already', await errorOf(client.kv.compact({ revision: last.revision })));
}

async function server(client) {
  say('status', (await client.maintenance.status()).leader !== '0');
  const { members } = await client.cluster.memberList({});
  say('members', members.length, members[0].clientURLs.length === 1);
  say('alarms', (await client.maintenance.alarm({})).alarms ?? []);
  await client.maintenance.defragment();
  const hashes = [await client.maintenance.hash(), await client.maintenance.hash()];
  say('hash', hashes[0].hash === hashes[1].hash);
}

/** With users: what a client without a login, with a wrong one and with a good one gets. */
async function logins() {
  const stranger = connect();
  say('no login', await errorOf(stranger.put('a').value('1')));
  const wrong = connect({ username, password: `${password}!` });
  say('a wrong password', await errorOf(wrong.put('a').value('1')));
  const client = connect({ username, password });
  const watcher = await client.watch().key('a').create();
  const seen = once(watcher, 'put');
  const lease = client.lease(100);
  await lease.put('a').value('1');
  say('a login', (await seen).value.toString(), await client.get('a').string());
  await lease.revoke();
  for (const open of [stranger, wrong, client]) open.close();
}

if (username !== undefined) {
  await logins();
} else {
  const client = connect();
  for (const recipe of [keys, transactions, leases, locks, watches, server]) await recipe(client);
  client.close();
}
process.exit(); // Watch streams that it gave up are no reason to stay.
