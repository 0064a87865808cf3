import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A Docker engine with a firewall back end, as the tests run them. */
export interface Engine {
  readonly called: string;
  /** Its own dockerd, docker-proxy and runc; those in PATH without it. */
  readonly programs: string | undefined;
  /** For daemon.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Why it can't run here; `false` when it can. */
  readonly skip: string | false;
}

const SCRIPT = fileURLToPath(new URL('../../script/docker-engine', import.meta.url));

/** Debian's Docker, which has one back end, and a current engine with each of its two. */
export function dockerEngines(): { debian: Engine; iptables: Engine; nftables: Engine } {
  const folder = spawnSync(SCRIPT, ['--folder'], { encoding: 'utf8' }).stdout.trim();
  const current = { programs: folder, skip: whyMissing(folder) };
  return {
    debian: { called: 'Debian’s Docker', programs: undefined, config: {}, skip: whyNotDebian() },
    iptables: { called: 'Docker 29 with iptables', config: {}, ...current },
    nftables: {
      called: 'Docker 29 with nftables',
      config: { 'firewall-backend': 'nftables' },
      ...current,
    },
  };
}

function whyNotDebian(): string | false {
  const help = spawnSync('dockerd', ['--help'], { encoding: 'utf8' }).stdout;
  return (
    help?.includes('--bridge-accept-fwmark') && 'needs Debian’s Docker in PATH, and there is a later one'
  );
}

function whyMissing(folder: string): string | false {
  if (existsSync(`${folder}/dockerd`)) return false;
  const reason = existsSync(`${folder}.reason`)
    ? readFileSync(`${folder}.reason`, 'utf8').trim()
    : 'script/docker-engine builds it';
  return `needs a current Docker engine: ${reason}`;
}
