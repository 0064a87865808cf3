import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../script/docker-compose', import.meta.url));

/** The compose plugin that script/docker-compose builds. */
export interface ComposePlugin {
  /** `docker compose`, with the plugin in a configuration of its own. */
  readonly command: readonly [string, ...string[]];
  /** Where it is, as `cli-plugins/docker-compose`. */
  readonly folder: string;
  /** Why it can't run here; `false` when it can. */
  readonly skip: string | false;
}

export function composePlugin(): ComposePlugin {
  const folder = spawnSync(SCRIPT, ['--folder'], { encoding: 'utf8' }).stdout.trim();
  const command = ['env', `DOCKER_CONFIG=${folder}`, 'docker', 'compose'] as const;
  return { command, folder, skip: whyMissing(folder) };
}

function whyMissing(folder: string): string | false {
  if (existsSync(folder)) return false;
  const reason = existsSync(`${folder}.reason`)
    ? readFileSync(`${folder}.reason`, 'utf8').trim()
    : 'script/docker-compose builds it';
  return `needs docker compose: ${reason}`;
}
