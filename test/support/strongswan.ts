import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { cannotRun } from './test-lab.ts';

/** Debian's place. The tests start it by its path, as the daemon finds it. */
export const CHARON = '/usr/lib/ipsec/charon';
/** What charon serves VICI with, and what it agrees on elliptic curves with. */
const PLUGINS = ['vici', 'openssl'].map((name) => `/usr/lib/ipsec/plugins/libstrongswan-${name}.so`);

/** Why a test that needs strongSwan can't run here; `false` when it can. */
export function cannotRunCharon(...programs: string[]): string | false {
  const missing = [CHARON, ...PLUGINS].find((file) => !existsSync(file));
  if (missing !== undefined)
    return `needs ${missing} (Debian packages strongswan-charon, strongswan-swanctl, libstrongswan-standard-plugins)`;
  return cannotRun('swanctl', ...programs);
}

/** A charon of the host's own: its socket is below /run, which each host has for itself. */
export async function startCharon(host: Host): Promise<Daemon> {
  const charon = await host.start('charon', [CHARON]);
  await until(async () => (await host.run(['swanctl', '--stats'])).code === 0 || undefined, {
    what: `charon on ${host.name}`,
    timeoutMs: 20_000,
  });
  return charon;
}

/** Where VICI is served, as seen from outside of the host. */
export const viciOf = (host: Host): string => host.path('/run/charon.vici');

/** The names of the connections that charon has. */
export async function connectionsOf(host: Host): Promise<string[]> {
  const text = await host.must(['swanctl', '--list-conns']);
  return Array.from(text.matchAll(/^(\S+): .*reauth/gm), ([, name = '']) => name).sort();
}

/** Why packets can't go through ESP here; `false` when they can. Some kernels take policies and no states. */
export function lacksEsp(): string | false {
  const state =
    'ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128';
  // In a network namespace that goes with its only program.
  const tried = spawnSync('unshare', ['-n', ...state.split(' ')], { encoding: 'utf8' });
  if (tried.status === 0) return false;
  return `this kernel has no ESP with AES-GCM (${tried.stderr.trim()})`;
}

/** What charon has agreed on, but for what it is at work on: on an emulated machine it would be waited for. */
export const agreementsOf = (host: Host): Promise<string> =>
  host.must(['swanctl', '--list-sas', '--noblock']);

/** Waits until both hosts have agreed on the tunnel's keys. */
export async function untilTunnel(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts)
    await until(async () => /INSTALLED, TUNNEL/.test(await agreementsOf(host)) || undefined, {
      what: `tunnel on ${host.name}`,
      timeoutMs: 30_000,
      intervalMs: 200,
    });
}
