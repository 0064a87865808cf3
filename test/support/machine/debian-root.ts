import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { inRepository } from '../flanneld.ts';
import { cannotRun } from '../test-lab.ts';

/** The folder that script/debian-root makes: the disk of a clean Debian. */
export const debianRoot = (): string => folderOf('script/debian-root');

/** The folder that script/rhel-like-root makes, which lies over a clean Debian. That file says what it shows and what not. */
export const rhelLikeLayer = (): string => folderOf('script/rhel-like-root');

/** Why no clean machine can be started here; `false` when it can: the `skip` option of a test. */
export const cannotStartMachines = (): string | false =>
  cannotRun('ping', 'nft', 'iptables') || whyMissing('a clean Debian', 'script/debian-root');

/** The same for a machine that resembles a RHEL. */
export const cannotStartRhelLike = (): string | false =>
  cannotStartMachines() || whyMissing('a RHEL-like machine', 'script/rhel-like-root');

const folderOf = (script: string): string =>
  spawnSync(inRepository(script), ['--path'], { encoding: 'utf8' }).stdout.trim();

function whyMissing(what: string, script: string): string | false {
  const folder = folderOf(script);
  if (existsSync(folder)) return false;
  const reason = existsSync(`${folder}.reason`)
    ? readFileSync(`${folder}.reason`, 'utf8').trim()
    : `${script} makes it`;
  return `needs ${what}: ${reason}`;
}
