import { ARCHITECTURES, type Architecture } from '../architectures.ts';
import type { Layer } from './layer.ts';
import type { PackageLock } from './package-lock.ts';

export interface ImageFacts {
  readonly version: string;
  /** The commit that it was made from; `undefined` outside of a checkout. */
  readonly revision: string | undefined;
  /** The commit's time: seconds since 1970. */
  readonly created: number;
}

const SECOND = 1_000_000_000;

/** What an image says of itself, for people and for registries. */
export function labelsOf(
  { version, revision, created }: ImageFacts,
  { suite }: Pick<PackageLock, 'suite'>,
): Record<string, string> {
  return {
    'org.opencontainers.image.base.name': `debian:${suite}`,
    'org.opencontainers.image.created': timeOf(created),
    'org.opencontainers.image.description': 'An overlay network for Docker hosts: a drop-in flanneld',
    'org.opencontainers.image.licenses': 'Apache-2.0',
    ...(revision !== undefined && { 'org.opencontainers.image.revision': revision }),
    'org.opencontainers.image.title': 'weft',
    'org.opencontainers.image.version': version,
  };
}

/**
 * The image's configuration, as OCI and Docker read it (image-spec 1.1, config.md). The health check is Docker's alone:
 * containerd does not look at it.
 */
export function imageConfig(
  facts: ImageFacts,
  lock: PackageLock,
  architecture: Architecture,
  [base, program]: readonly [Layer, Layer],
): Record<string, unknown> {
  return {
    created: timeOf(facts.created),
    architecture: ARCHITECTURES[architecture].debian,
    ...(architecture === 'arm64' && { variant: 'v8' }),
    os: 'linux',
    config: {
      // flannel's image has the same.
      Entrypoint: ['/opt/bin/flanneld'],
      Env: [
        'PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin',
        // Docker waits for its driver at its start, and a container of it has not started by then.
        'FLANNELD_DOCKER_DRIVER=off',
      ],
      Healthcheck: {
        Test: ['CMD', 'weft', 'status'],
        Interval: 60 * SECOND,
        Timeout: 10 * SECOND,
        StartPeriod: 60 * SECOND,
        Retries: 3,
      },
      Labels: labelsOf(facts, lock),
      StopSignal: 'SIGTERM',
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: [base.diffId, program.diffId] },
    history: [
      {
        created: timeOf(lock.date),
        created_by: `Debian ${lock.release} (${lock.suite}), packages of the lock`,
      },
      { created: timeOf(facts.created), created_by: `weft ${facts.version}` },
    ],
  };
}

/** RFC 3339. */
export const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000', '');
