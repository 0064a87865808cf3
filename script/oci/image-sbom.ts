import { ARCHITECTURES, type Architecture } from '../architectures.ts';
import { serialNumberOf } from '../checksums.ts';
import { timeOf } from './image-config.ts';
import type { PackageLock } from './package-lock.ts';

/** The part of CycloneDX 1.5 that is read here; what npm writes beside it is kept. */
export interface Sbom {
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: string;
  readonly version: number;
  readonly serialNumber?: string;
  readonly metadata?: { readonly component?: Component; readonly [field: string]: unknown };
  readonly components?: readonly Component[];
  readonly dependencies?: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
}

export interface Component {
  readonly type: string;
  readonly name: string;
  readonly version?: string;
  readonly 'bom-ref'?: string;
  readonly purl?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly components?: readonly Component[];
  readonly [field: string]: unknown;
}

export interface SbomFacts {
  readonly version: string;
  readonly created: number;
  readonly architecture: Architecture;
  /** `process.versions` of the Node inside. */
  readonly node: Readonly<Record<string, string | undefined>>;
}

/** The image's bill of materials: the release's npm packages, Node and what is linked into it, Debian's packages. */
export function imageSbom(release: Sbom, lock: PackageLock, facts: SbomFacts): Sbom {
  const { architecture, created, version } = facts;
  const ref = `weft-image@${version}-${architecture}`;
  const node = nodeComponent(facts.node);
  const debian = lock.architectures[architecture].map((it) => debianComponent(it, lock));
  const program = release.metadata?.component;
  const os: Component = {
    type: 'operating-system',
    name: 'debian',
    version: lock.release,
    'bom-ref': `debian@${lock.release}`,
  };
  const components = [...(program ? [program] : []), ...(release.components ?? []), node, os, ...debian];
  const bill: Sbom = {
    ...release,
    metadata: {
      timestamp: timeOf(created),
      component: { type: 'container', name: 'weft', version, 'bom-ref': ref },
      properties: [{ name: 'architecture', value: ARCHITECTURES[architecture].debian }],
    },
    components,
    dependencies: [
      { ref, dependsOn: [program, node, os, ...debian].flatMap((it) => it?.['bom-ref'] ?? []) },
      ...(release.dependencies ?? []),
    ],
  };
  return { ...bill, serialNumber: serialNumberOf(JSON.stringify({ ...bill, serialNumber: '' })) };
}

/** Not parts of Node, but what it speaks. */
const NO_PARTS = ['node', 'modules', 'napi', 'unicode', 'cldr', 'tz'];

function nodeComponent(versions: SbomFacts['node']): Component {
  const { node = '' } = versions;
  const parts = Object.entries(versions)
    // A part that this Node was built without has an empty version.
    .filter(([name, version]) => version && !NO_PARTS.includes(name))
    .map(([name, version = '']): Component => {
      const purl = `pkg:generic/${name}@${encodeURIComponent(version)}`;
      return { type: 'library', name, version, 'bom-ref': `node@${node}|${name}`, purl };
    });
  return {
    type: 'platform',
    name: 'node',
    version: node,
    'bom-ref': `node@${node}`,
    purl: `pkg:generic/node@${node}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*`,
    components: parts,
  };
}

function debianComponent(
  { name, version, architecture, sha256 }: PackageLock['architectures']['x64'][number],
  { release }: PackageLock,
): Component {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-${release}`;
  return {
    type: 'library',
    name,
    version,
    'bom-ref': purl,
    purl,
    hashes: [{ alg: 'SHA-256', content: sha256 }],
  };
}
