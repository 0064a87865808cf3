import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { inRepository } from '../flanneld.ts';
import { cannotRun } from '../test-lab.ts';

/** The folder that script/debian-root makes: the disk of a clean Debian. */
export const debianRoot = (): string =>
  spawnSync(inRepository('script/debian-root'), ['--path'], { encoding: 'utf8' }).stdout.trim();

/** Why no clean machine can be started here; `false` when it can: the `skip` option of a test. */
export function cannotStartMachines(): string | false {
  const skip = cannotRun('ping', 'nft', 'iptables');
  if (skip !== false) return skip;
  const root = debianRoot();
  if (existsSync(root)) return false;
  const reason = existsSync(`${root}.reason`)
    ? readFileSync(`${root}.reason`, 'utf8').trim()
    : 'script/debian-root makes it';
  return `needs a clean Debian: ${reason}`;
}
