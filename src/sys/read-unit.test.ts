import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enabledUnits, readUnit } from '#src/sys/read-unit.ts';

/** The files of a host. */
function host(texts: Readonly<Record<string, string>>) {
  return {
    files: { read: async (path: string) => texts[path] },
    folders: {
      list: async (path: string) =>
        Object.keys(texts)
          .filter((file) => file.slice(0, file.lastIndexOf('/')) === path)
          .map((file) => file.slice(path.length + 1)),
    },
  };
}

const sourcesOf = async (texts: Readonly<Record<string, string>>, name: string) =>
  (await readUnit(host(texts), name))?.texts.map(({ source }) => source);

test('the unit of the first folder counts, with the drop-ins of all of them in the order of their names', async () => {
  const texts = {
    '/usr/lib/systemd/system/flanneld.service': '[Service]\n',
    '/usr/lib/systemd/system/flanneld.service.d/20-b.conf': '[Service]\n',
    '/etc/systemd/system/flanneld.service.d/10-a.conf': '[Service]\n',
    '/etc/systemd/system/flanneld.service.d/notes.txt': '',
    '/run/systemd/system/flanneld.service.d/30-c.conf': '[Service]\n',
    '/usr/lib/systemd/system/service.d/15-all.conf': '[Service]\n',
  };
  assert.deepEqual(await sourcesOf(texts, 'flanneld.service'), [
    '/usr/lib/systemd/system/flanneld.service',
    '/etc/systemd/system/flanneld.service.d/10-a.conf',
    '/usr/lib/systemd/system/service.d/15-all.conf',
    '/usr/lib/systemd/system/flanneld.service.d/20-b.conf',
    '/run/systemd/system/flanneld.service.d/30-c.conf',
  ]);
  const own = { ...texts, '/etc/systemd/system/flanneld.service': '[Service]\n' };
  assert.equal((await sourcesOf(own, 'flanneld.service'))?.[0], '/etc/systemd/system/flanneld.service');
});

test('a drop-in hides those of its name in later folders', async () => {
  const unit = await readUnit(
    host({
      '/usr/lib/systemd/system/a.service': '[Service]\n',
      '/usr/lib/systemd/system/a.service.d/x.conf': '[Service]\nA=1\n',
      '/etc/systemd/system/a.service.d/x.conf': '',
    }),
    'a.service',
  );
  assert.deepEqual(unit?.texts.at(-1), { source: '/etc/systemd/system/a.service.d/x.conf', text: '' });
  assert.equal(unit?.texts.length, 2);
});

test('a masked unit and one that is nowhere are not there', async () => {
  const texts = {
    '/etc/systemd/system/a.service': '',
    '/usr/lib/systemd/system/a.service': '[Service]\n',
  };
  assert.equal(await sourcesOf(texts, 'a.service'), undefined);
  assert.equal(await sourcesOf(texts, 'b.service'), undefined);
});

test('a name with dashes has the drop-ins of its beginnings', async () => {
  const texts = {
    '/etc/systemd/system/flannel-docker-opts.service': '[Service]\n',
    '/etc/systemd/system/flannel-.service.d/b.conf': '[Service]\n',
    '/etc/systemd/system/flannel-docker-.service.d/a.conf': '[Service]\n',
  };
  assert.deepEqual(await sourcesOf(texts, 'flannel-docker-opts.service'), [
    '/etc/systemd/system/flannel-docker-opts.service',
    '/etc/systemd/system/flannel-docker-.service.d/a.conf',
    '/etc/systemd/system/flannel-.service.d/b.conf',
  ]);
});

test('what can’t be read counts as not there', async () => {
  const { files, folders } = host({
    '/usr/lib/systemd/system/a.service': '[Service]\n',
    '/etc/systemd/system/a.service.d/x.conf': 'a folder',
    '/etc/systemd/system/m.target.wants/a.service': 'a link',
  });
  const refused = Object.assign(new Error('not a folder'), { code: 'ENOTDIR' });
  const reader = {
    files: {
      read: async (path: string) =>
        /\/etc\//.test(path)
          ? Promise.reject(Object.assign(new Error(), { code: 'EISDIR' }))
          : files.read(path),
    },
    folders: {
      list: async (path: string) => {
        if (path === '/etc/systemd/system') return ['m.target.wants', 'file.wants'];
        return /file\.wants|^\/run/.test(path) ? Promise.reject(refused) : folders.list(path);
      },
    },
  };
  assert.deepEqual(
    (await readUnit(reader, 'a.service'))?.texts.map(({ text }) => text),
    ['[Service]\n', ''],
  );
  assert.deepEqual([...(await enabledUnits(reader))], ['a.service']);
});
