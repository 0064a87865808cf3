import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inRepository } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';
import { ThrowawayRoot } from '../support/throwaway-root.ts';

/*
 * Steps of the maintainer scripts on a host whose files and disk are odd. Nothing is installed: systemctl and weft are
 * scripts that write down their words, on a root that is thrown away.
 *
 *     throw-away root   /usr/bin/systemctl, /usr/bin/weft: stand-ins     /var/lib/weft: a disk of one page
 */
const STAND_INS = `
set -e
printf '#!/bin/sh\\necho "$*" >>/run/called\\n' >/usr/bin/systemctl
printf '#!/bin/sh\\necho "#!/bin/sh"\\n' >/usr/bin/weft
chmod 755 /usr/bin/systemctl /usr/bin/weft
mkdir -p /etc/weft /var/lib/weft /var/lib/private`;
const step = (name: string): string =>
  `sh -euc '. "$1"; ${name}' sh ${inRepository('packaging/maintainer/steps.sh')}`;

test('full disks, links and files of any name', { skip: cannotRun() }, async (t) => {
  const root = await ThrowawayRoot.make(t);
  root.must(STAND_INS);

  await t.test('a removal from a full disk stops and disables all the same', () => {
    root.must(
      'mount -t tmpfs -o size=4k tmpfs /var/lib/weft; head -c 9000 /dev/zero >/var/lib/weft/data || true',
    );
    const { code, stderr } = root.run(step('leave'));
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^weft: could not write \/var\/lib\/weft\/purge\.sh: a purge will leave/m);
    const called = root.must('cat /run/called; ls /var/lib/weft');
    for (const unit of ['flanneld.service', 'weft-store.service'])
      for (const verb of ['stop', '--quiet disable']) assert.ok(called.includes(`${verb} ${unit}\n`), called);
    assert.doesNotMatch(called, /purge\.sh/);
    root.must('umount /var/lib/weft');
  });

  await t.test(
    'a purge keeps what is in the folder of the store, and takes an empty one and its link',
    () => {
      root.must(
        'mkdir /var/lib/private/weft-store; cd /var/lib; ln -s private/weft-store weft-store; echo 1 >weft-store/other.db',
      );
      const kept = root.run(step('purge'));
      assert.match(kept.stderr, /^weft: \/var\/lib\/weft-store is kept.*\n$/);
      assert.equal(root.must('cat /var/lib/weft-store/other.db; rm /var/lib/weft-store/other.db'), '1\n');
      assert.equal(root.must(step('purge')), '');
      assert.equal(
        root.must('ls -d /var/lib/private/weft-store /var/lib/weft-store 2>/dev/null || true'),
        '',
      );
    },
  );

  await t.test('settings that are a link to nothing yet stay as they are', () => {
    root.must(
      'mkdir -p /usr/share/weft /etc/weft; for it in flanneld store; do echo A=1 >/usr/share/weft/$it.conf; done',
    );
    root.must('ln -s /srv/none /etc/weft/flanneld.conf; ln -s /srv/none /etc/weft/store.conf');
    root.must(step('make_conf first'));
    assert.equal(
      root.must('readlink /etc/weft/flanneld.conf /etc/weft/store.conf; ls /srv'),
      '/srv/none\n/srv/none\n',
    );
  });
});
